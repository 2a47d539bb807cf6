"""Waiting for room in the window of a client."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from .._errors import Timeout

if TYPE_CHECKING:
    from .._base import BaseTopic
    from .._deadline import Deadline
    from .._sending import Chunk, Window


class Turns:
    """Gives room in a window to calls in their order.

    Attributes:
        closed: calls no longer wait.
        granted: how many calls were given room that they have not used yet.
    """

    def __init__(self, window: Window) -> None:
        self.closed, self.granted = False, 0
        self._window = window
        self._waiting: deque[_Turn] = deque()

    def has_room(self, chunk: Chunk) -> bool:
        """Returns whether there is room for a chunk, and nobody waits for room."""
        return not self._waiting and not self.granted and self._window.has_room(len(chunk.records), chunk.size)

    async def wait(self, topic: BaseTopic, chunk: Chunk, deadline: Deadline) -> None:
        """Returns when it is the chunk's turn. The caller must add it to the log before it awaits anything."""
        turn = _Turn(topic, chunk)
        self._waiting.append(turn)
        try:
            await asyncio.wait([turn.granted], timeout=deadline.left())
            if not turn.granted.done():
                raise Timeout(self._window.full(deadline.timeout))
            topic.check()
        finally:
            if turn.granted.done():
                self.granted -= 1
                self._window.records -= len(chunk.records)
                self._window.size -= chunk.size
            else:
                self._waiting.remove(turn)
            asyncio.get_running_loop().call_soon(self.grant)  # after the caller has added the records

    def grant(self) -> None:
        """Gives room to waiting calls as far as there is any, and reserves it until they use it."""
        while self._waiting:
            turn = self._waiting[0]
            count, size = len(turn.chunk.records), turn.chunk.size
            if not turn.topic.log.failed and not self.closed and not self._window.has_room(count, size):
                return
            self._waiting.popleft()
            self.granted += 1
            self._window.records += count
            self._window.size += size
            turn.granted.set_result(None)


class _Turn:
    """A call that waits for room."""

    def __init__(self, topic: BaseTopic, chunk: Chunk) -> None:
        self.topic, self.chunk = topic, chunk
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
