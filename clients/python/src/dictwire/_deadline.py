"""Timeouts."""

from __future__ import annotations

import time
from typing import Optional


class Deadline:
    """The end of a timeout in seconds; a timeout of None never ends."""

    __slots__ = ('_at', 'timeout')

    def __init__(self, timeout: Optional[float]) -> None:
        self.timeout = timeout or 0.0
        self._at = None if timeout is None else time.monotonic() + timeout

    def left(self) -> Optional[float]:
        """Returns the remaining seconds, 0 after the end, or None if there is no timeout."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())
