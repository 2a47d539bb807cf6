"""A task that carries the records of one topic."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import TYPE_CHECKING, Optional

from .._address import attempt
from .._base import BaseTopic
from .._deadline import Deadline
from .._errors import Error, Unavailable
from ._connect import connect

if TYPE_CHECKING:
    from .._sending import Chunk
    from ._client import Client


class Topic(BaseTopic):
    """A client's log of one topic and the task that connects for it."""

    def __init__(self, client: Client, name: str) -> None:
        super().__init__(client, name)
        self.client = client
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []  # a heap by record number
        self._count = itertools.count()
        self._work = asyncio.Event()
        self._session: Optional[_Session] = None
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f'dictwire {name}')
        self._task.add_done_callback(self._done)

    async def send(self, chunk: Chunk, timeout: Optional[float]) -> int:
        """Adds records, all or none, and returns the last one's number."""
        self.check()
        turns = self.client._turns
        if not turns.has_room(chunk):
            await turns.wait(self, chunk, Deadline(timeout))
        number = self.log.take(chunk)
        self._work.set()
        if self._session is not None:
            self._session.write_soon()
        return number

    async def wait(self, begin: int, end: int, timeout: Optional[float]) -> None:
        """Returns when all records from begin to end are stored. Raises RejectedError if any was rejected."""
        await self.settle(end, Deadline(timeout))
        error = self.log.outcome(begin, end)
        if error is not None:
            raise error

    async def settle(self, number: int, deadline: Deadline) -> None:
        """Returns when all records up to a number are settled."""
        while self.log.core.acked < number:
            left = self.left(number, deadline)
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (number, next(self._count), turn))
            try:
                await asyncio.wait([turn], timeout=left)
            finally:
                turn.cancel()  # unless it is done

    def close(self) -> int:
        """Ends the task, and returns how many records are not settled."""
        self._task.cancel()
        self.notify()
        return self.log.core.pending

    def notify(self) -> None:
        """Wakes the calls whose records are settled, or all if the topic has ended."""
        over = self.log.failed is not None or self.client._closed
        while self._waiting and (over or self._waiting[0][0] <= self.log.core.acked):
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
        self.client._turns.grant()

    async def _run(self) -> None:
        try:
            await self._carry()
        except Exception as e:
            self.crash(e)
            self.notify()

    def _done(self, task: asyncio.Task[None]) -> None:
        """Ends the topic if somebody else cancels the task, as when a program cancels all tasks."""
        if task.cancelled() and not self.client._closed:
            self.log.fail(Error(f'the task of topic {self.log.topic} was cancelled'))
            self.notify()

    async def _carry(self) -> None:
        log = self.log
        while log.failed is None:
            if not log.core.pending:
                self._work.clear()
                await self._work.wait()
            server, retry_after = None, 0.0
            try:
                _, session, server = await connect(self.client._address, lambda: _Session(self))
                self._session = session
                try:
                    await session.ended
                finally:
                    self._session = None
                    session.close()
                retry_after = session.retry_after
            except Unavailable as e:
                log.trouble = str(e)
            if log.core.pending and log.failed is None:
                await asyncio.sleep(self.retry.delay(log.core, server, retry_after))


class _Session(asyncio.Protocol):
    """One connection of a topic."""

    def __init__(self, topic: Topic) -> None:
        self.topic, self.retry_after = topic, 0.0
        self.loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self.loop.create_future()
        self._transport: Optional[asyncio.Transport] = None
        self._paused = self._scheduled = False
        self._timer: Optional[asyncio.TimerHandle] = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self.topic.log.connect(time.monotonic(), attempt()))
        self._check()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._end()

    def data_received(self, data: bytes) -> None:
        end = self.topic.log.receive(data, time.monotonic())
        self.topic.notify()
        if end is not None:
            self.retry_after = end.retry
            self._end()
        self.write_soon()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.write_soon()

    def write_soon(self) -> None:
        """Writes records in the next iteration of the event loop."""
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._write)

    def _write(self) -> None:
        self._scheduled = False
        while not self._paused and not self.ended.done() and self._transport is not None:
            data = self.topic.log.core.data_to_send()
            if not data:
                return
            self._transport.write(data)

    def _check(self) -> None:
        """Ends a connection that is dead or idle; otherwise, checks again later."""
        now = time.monotonic()
        until = self.topic.log.expires(now)
        if now >= until:
            self._end()
        else:
            self._timer = self.loop.call_later(min(5.0, max(0.01, until - now)), self._check)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended.done():
            self.ended.set_result(None)

    def close(self) -> None:
        """Closes the connection at once."""
        self._end()
        if self._transport is not None:
            self._transport.abort()
