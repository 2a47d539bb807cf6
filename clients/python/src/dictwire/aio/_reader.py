"""The reader in an event loop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Optional

from .._address import attempt
from .._base import COMMIT, READ_SIZE, BaseReader
from .._deadline import Deadline
from .._errors import Error, Unavailable
from ._connect import connect

if TYPE_CHECKING:
    from .._feed import Feed
    from .._records import Record
    from ._client import Client


class _Stream(asyncio.Protocol):
    """A connection to read from. Cancelling a read loses no data."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport: Optional[asyncio.Transport] = None
        self._pieces: list[bytes] = []
        self._size, self._ended = 0, False
        self._arrival: Optional[asyncio.Future[None]] = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= READ_SIZE and self.transport is not None:
            self.transport.pause_reading()
        self._notify()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._ended = True
        self._notify()

    def _notify(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def read(self, timeout: float) -> Optional[bytes]:
        """Returns what has arrived, b'' after the end, or None if nothing arrives within timeout seconds."""
        if not self._pieces and not self._ended:
            self._arrival = self.loop.create_future()
            await asyncio.wait([self._arrival], timeout=timeout)
            if not self._arrival.done():
                return None
        data, self._pieces = b''.join(self._pieces), []
        if self._size >= READ_SIZE and self.transport is not None and not self._ended:
            self.transport.resume_reading()
        self._size = 0
        return data

    def write(self, data: bytes) -> None:
        if data and self.transport is not None:
            self.transport.write(data)

    def abort(self) -> None:
        """Closes the connection at once."""
        if self.transport is not None:
            self.transport.abort()

    def close(self, last: bytes) -> None:
        """Closes the connection after writing some last bytes."""
        if self.transport is not None and not self._ended:
            self.transport.write(last)
            self.transport.close()


class Reader(BaseReader):
    """An asynchronous iterator over the records of a subscription, for one task at a time: see `dictwire.Reader`."""

    def __init__(self, client: Client, feed: Feed, timeout: Optional[float]) -> None:
        super().__init__(client, feed, timeout)
        self._stream: Optional[_Stream] = None
        self._busy = False

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> Record:
        self._begin()
        try:
            self._feed.ask()
            deadline = None
            while True:
                record = self._feed.take()
                if record is not None:
                    return record
                if self._feed.ended:
                    await self._finish()
                    raise StopAsyncIteration
                deadline = deadline or Deadline(self._timeout)
                await self._more(deadline)
        finally:
            self._busy = False

    async def commit(self, timeout: Optional[float] = 15.0) -> None:
        """Moves the cursor past the record that was returned last: see `dictwire.Reader.commit`."""
        deadline = Deadline(timeout)
        self._begin()
        try:
            if self._feed.commit():
                while self._core.uncommitted:
                    await self._more(deadline)
                    self._feed.check()
        finally:
            self._busy = False

    async def close(self) -> None:
        """Closes the reader, after waiting up to 5 seconds for a commit that was requested."""
        self._begin()
        try:
            await self._finish()
        finally:
            self._busy = False

    def _begin(self) -> None:
        if self._busy:
            raise Error('another task is using the reader: give each task its own')
        self._busy = True

    async def _end(self) -> None:
        """Closes the reader with its client. If another task is waiting in it, that call is interrupted."""
        if not self._busy:
            await self.close()
        elif self._stream is not None:
            self._stream.abort()

    def __del__(self) -> None:
        """Sends the last commit without waiting for it, and closes the connection, which the event loop would keep."""
        stream, self._stream = self._stream, None
        if stream is not None:
            try:
                stream.loop.call_soon_threadsafe(stream.close, self._core.data_to_send(time.monotonic()))
            except RuntimeError:  # the event loop is closed
                pass

    async def _finish(self) -> None:
        deadline, self._closing = Deadline(COMMIT), True
        try:
            while self._core.uncommitted and self._feed.failed is None:
                await self._more(deadline)
        except Error:
            pass
        finally:
            self._feed.ended = True
            self._disconnect()

    async def __aenter__(self) -> Reader:
        return self

    async def __aexit__(self, kind: Any, value: Any, trace: Any) -> None:
        await self.close()

    def _disconnect(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abort()

    async def _more(self, deadline: Deadline) -> None:
        """Waits for data, or for the next attempt to connect."""
        left, feed = self._left(deadline), self._feed
        if feed.broken is not None:
            self._disconnect()
        pause = feed.pause(time.monotonic())
        if pause > 0:
            await asyncio.sleep(pause if left is None else min(pause, left))
            return
        if self._stream is None:
            try:
                _, self._stream, server = await connect(self._client._address, _Stream)
            except Unavailable:
                feed.lost()
                return
            self._stream.write(feed.connect(server, time.monotonic(), attempt()))
        now = time.monotonic()
        self._stream.write(self._core.data_to_send(now))
        data = await self._stream.read(feed.patience(now, left))
        if data is None:
            feed.silent(time.monotonic())
        else:
            feed.feed(data, time.monotonic())
