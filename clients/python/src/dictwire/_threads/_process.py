"""What happens to clients when the interpreter exits or the process forks."""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from typing import TYPE_CHECKING

from .._deadline import Deadline
from .._sending import EXIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._client import Client

clients: weakref.WeakSet[Client] = weakref.WeakSet()
_registered = 0  # the process whose exit close_at_exit has prepared for


def close_at_exit() -> None:
    """Has clients closed at the end of this process, even if it is a child of multiprocessing."""
    global _registered
    if _registered != os.getpid():
        _registered = os.getpid()
        finalize(_close_all, 0)


def finalize(call: Callable[[], None], priority: int) -> None:
    """Registers a call for the exit of a multiprocessing child, which does not run atexit functions."""
    register = getattr(sys.modules.get('multiprocessing.util'), 'Finalize', None)
    if register is not None:
        register(None, call, exitpriority=priority)


def _close_all() -> None:
    deadline = Deadline(EXIT)
    for client in list(clients):
        try:
            client.close(deadline.left())
        except Exception as e:  # there is no caller to raise it to
            print(f'dictwire: at exit: {e}', file=sys.stderr)


def _after_fork() -> None:
    for client in list(clients):
        client._after_fork()


atexit.register(_close_all)
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_after_fork)
