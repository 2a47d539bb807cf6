"""Which of several servers is tried next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Servers:
    """Servers of which any will do, as those of one store: who uses them stays with the one that works.

    Args:
        count: how many there are.
        first: which of them is tried first. At random, clients spread over the servers.
    """

    def __init__(self, count: int, first: int = 0) -> None:
        self.count = count
        self._turn = first % count

    def turns(self) -> Iterator[int]:
        """Yields each server once, in the order in which they are to be tried."""
        first = self._turn
        for turn in range(first, first + self.count):
            yield turn % self.count

    def answered(self, server: int) -> None:
        """Says that a server was reached: it is tried first from now on."""
        self._turn = server

    def ended(self, server: int, served: bool, retry: float) -> None:
        """Says that a connection ended, and whether the server did anything in it.

        One that did not, or that asks to come again after some seconds, is left for the next one. Who comes from
        a server that others have left already changes nothing.
        """
        if (retry > 0 or not served) and self._turn == server:
            self._turn = (server + 1) % self.count
