"""Waiting for a change."""

from __future__ import annotations

import threading
from typing import Optional


class Waiters:
    """The threads that wait for a change of a client's state. The client's lock guards it.

    It does the work of a threading.Condition, but waits without holding a lock, so that Ctrl-C neither leaves a lock
    held nor releases it twice. The client's lock is a plain Lock for the same reason: Condition.__enter__ can be
    interrupted after it has acquired its lock.
    """

    def __init__(self) -> None:
        self._waiters: list[threading.Lock] = []

    def add(self) -> threading.Lock:
        """Returns a lock that can be acquired after the next change."""
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters.append(waiter)
        return waiter

    def notify_all(self) -> None:
        """Wakes all waiters."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.release()


def wait(waiter: threading.Lock, timeout: Optional[float]) -> None:
    """Returns after the next change, or after timeout seconds."""
    waiter.acquire(timeout=-1 if timeout is None else min(timeout, threading.TIMEOUT_MAX))
