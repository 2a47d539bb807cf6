"""Which server the next connection is made to, and when."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._session import Session


class Servers:
    """Interchangeable servers, such as those in front of one store. A client stays with the one that works.

    Args:
        count: the number of servers.
        first: the one to try first. A random choice spreads clients over the servers.
    """

    def __init__(self, count: int, first: int = 0) -> None:
        self.count = count
        self._turn = first % count

    def turns(self) -> Iterator[int]:
        """Yields each server once, in the order in which to try them."""
        first = self._turn
        for turn in range(first, first + self.count):
            yield turn % self.count

    def answered(self, server: int) -> None:
        """Makes a server that was reached the first to try."""
        self._turn = server

    def ended(self, server: int, served: bool, retry: float) -> None:
        """Records that a connection ended, and whether the server made progress in it.

        If it did not, or if it asked the client to come back later, the next server is tried first. Nothing changes
        if another connection has already moved on from this server.
        """
        if (retry > 0 or not served) and self._turn == server:
            self._turn = (server + 1) % self.count


class Backoff:
    """Iterates over the delays between attempts to connect: exponential with jitter, from 50 ms to 5 s."""

    def __init__(self) -> None:
        self._next = 0.05

    def __iter__(self) -> Backoff:
        return self

    def __next__(self) -> float:
        delay, self._next = self._next, min(2 * self._next, 5.0)
        return delay * (0.5 + random.random() / 2)


class Retry:
    """When a session connects again. The delay grows until a server accepts the greeting."""

    def __init__(self, servers: Servers) -> None:
        self._servers, self._backoff = servers, Backoff()

    def delay(self, session: Session, server: Optional[int], retry: float) -> float:
        """Returns the seconds to wait before the next attempt.

        Args:
            session: the session whose connection ended.
            server: the server it was connected to, or None if none was reached.
            retry: the least delay, as the server asked for.
        """
        if server is not None:
            self._servers.ended(server, session.served, retry)
            if session.welcomed:
                self._backoff = Backoff()
        return max(next(self._backoff), retry)
