"""The client for asyncio: `dictwire.aio.connect`.

    async with dictwire.aio.connect() as c:
        receipt = await c.send(order, topic='orders')     # it has its number
        await receipt                                     # it is stored
        async for r in c.read('orders'):
            print(r.data)

It has the methods of `dictwire.Client`, awaited, and the same exceptions. A call that is cancelled before it returns
has sent nothing; after that, cancelling means nothing to the record.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
import secrets
import time
import weakref
from collections import deque
from collections.abc import AsyncIterable, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union

from . import _core
from ._address import TLS, Address, Pauses, attempt, reason, refuse_self
from ._client import READ_SIZE, besides
from ._errors import Error, NotSettled, Timeout, Unavailable
from ._records import Feed, Record
from ._sending import CLOSE, EXIT, IDLE, Chunk, Deadline, Log, Window, check_topic, chunks, flushed
from ._values import FORMATS, Default, encode

if TYPE_CHECKING:
    from datetime import datetime, timedelta

__all__ = ['Client', 'Reader', 'Receipt', 'connect']

_P = TypeVar('_P', bound=asyncio.Protocol)
_Dictionaries = Union[Iterable[Mapping[Any, Any]], AsyncIterable[Mapping[Any, Any]]]


class Receipt:
    """A record on its way. Awaiting it returns when the record is stored, or raises `RejectedError`.

    Attributes:
        number: its number among those of its producer in its topic, from 1 on.
    """

    __slots__ = ('_topic', 'number')

    def __init__(self, topic: _Topic, number: int) -> None:
        self._topic, self.number = topic, number

    @property
    def topic(self) -> str:
        """Where the record goes."""
        return self._topic.log.topic

    @property
    def producer(self) -> str:
        """The name under which it is numbered."""
        return self._topic.log.core.producer

    @property
    def settled(self) -> bool:
        """Whether it is known to be stored, or rejected: awaiting it says which, and does not wait."""
        return self._topic.log.core.acked >= self.number

    async def wait(self, timeout: Optional[float] = None) -> Receipt:
        """Returns when the record is stored: see `dictwire.Receipt.wait`."""
        await self._topic.wait(self.number, self.number, timeout)
        return self

    def __await__(self) -> Generator[Any, None, Receipt]:
        return self.wait().__await__()

    def __repr__(self) -> str:
        return f'<record {self.number} of {self.topic}: {"settled" if self.settled else "on its way"}>'


class Client:
    """Sends dictionaries to a server and reads them back, in one event loop. See `dictwire.Client`."""

    def __init__(self, addr: Optional[str] = None, *, token: Optional[str] = None, tls: TLS = None,
                 wait: float = 0.0, producer: str = 'python', window_records: int = 65536,
                 window_bytes: int = 16 << 20, close_timeout: float = CLOSE, accept_lost: bool = False,
                 default: Optional[Default] = None) -> None:
        self.producer = f'{producer}.{secrets.token_hex(8)}'
        self._address = Address(addr, tls)
        self._token = token or os.environ.get('DICTWIRE_TOKEN')
        self._default, self._accept_lost, self._wait = default, accept_lost, wait
        self._close_timeout = close_timeout
        self._topics: dict[str, _Topic] = {}
        self._window = Window(window_records, window_bytes)
        self._queue: deque[_Turn] = deque()  # who waits for room in the window, in order
        self._granted = 0  # how many have room, and have not taken it yet
        self._readers: weakref.WeakSet[Reader] = weakref.WeakSet()
        self._closed = False

    async def __aenter__(self) -> Client:
        deadline = Deadline(self._wait)
        for pause in Pauses():
            try:
                transport, _, _ = await self._open(asyncio.Protocol)
                transport.close()
                break
            except Unavailable:
                left = deadline.left()
                if not left:
                    raise
                await asyncio.sleep(min(pause, left))
        return self

    async def __aexit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is None:
            await self.close()
            return
        try:  # what was sent is settled, if that is quickly done; the exception is what is told
            await self.close(min(EXIT, self._close_timeout))
        except Error as e:
            besides(value, e)

    async def _open(self, protocol: Callable[[], _P]) -> tuple[asyncio.Transport, _P, int]:
        """Connects, and returns with which server that is, too."""
        loop, reasons = asyncio.get_running_loop(), []
        for server, text, where, context in self._address.turns():
            if isinstance(where, str):
                opening: asyncio.Task[Any] = loop.create_task(loop.create_unix_connection(protocol, where))
            else:
                opening = loop.create_task(loop.create_connection(protocol, where[0], where[1], ssl=context))
            used = False
            try:
                await asyncio.wait([opening], timeout=self._address.timeout)
                if opening.done():
                    transport, made = opening.result()
                    refuse_self(transport.get_extra_info('socket'))
                    self._address.servers.answered(server)
                    used = True
                    return transport, made, server
                reasons.append(f'{text}: no answer')
            except (OSError, UnicodeError) as e:
                reasons.append(reason(text, e))
            finally:
                if not used:
                    opening.cancel()
                    opening.add_done_callback(_drop)
        raise self._address.unreachable(reasons)

    # Sending

    async def send(self, dictionary: Mapping[Any, Any], topic: str = 'default', *, timeout: Optional[float] = None,
                   default: Optional[Default] = None) -> Receipt:
        """Takes a dictionary to be sent, and returns its receipt when the record has its number."""
        t, chunk = self._topic(topic), Chunk()
        chunk.add(encode(dictionary, default or self._default))
        return Receipt(t, await self._send(t, chunk, timeout))

    async def send_many(self, dictionaries: _Dictionaries, topic: str = 'default', *, timeout: Optional[float] = None,
                        default: Optional[Default] = None) -> int:
        """Sends any number of dictionaries, and returns how many when all are settled.

        What comes from an asynchronous iterable is sent as it comes.
        """
        default = default or self._default
        t, begin, number, count = self._topic(topic), 0, 0, 0
        if isinstance(dictionaries, AsyncIterable):
            async for dictionary in dictionaries:
                number = (await self.send(dictionary, topic, timeout=timeout, default=default)).number
                begin = begin or number
                count += 1
        else:
            for chunk in chunks(dictionaries, default):
                number = await self._send(t, chunk, timeout)
                begin = begin or number - len(chunk.records) + 1
                count += len(chunk.records)
                await asyncio.sleep(0)
        if count:
            await t.wait(begin, number, timeout)
        return count

    async def ask(self, dictionary: Mapping[Any, Any], topic: str = 'default', *, timeout: Optional[float] = None,
                  default: Optional[Default] = None) -> dict[Any, Any]:
        """Sends a dictionary and returns what the server's handler replies to it."""
        t, chunk = self._topic(topic), Chunk()
        chunk.add(encode(dictionary, default or self._default))
        number = await self._send(t, chunk, timeout)
        t.log.asked[number] = None
        try:
            await t.wait(number, number, timeout)
            return t.log.reply(number)
        finally:
            del t.log.asked[number]

    async def flush(self, timeout: Optional[float] = None) -> None:
        """Returns when everything that was sent is settled: see `dictwire.Client.flush`."""
        deadline, failures = Deadline(timeout), []
        topics = list(self._topics.values())
        for t in topics:
            try:
                await t.settled(t.log.core.last, Deadline(deadline.left()))
            except Error as e:
                failures.append(e)
        flushed([t.log for t in topics], failures)

    async def close(self, timeout: Optional[float] = None) -> None:
        """Ends the client: see `dictwire.Client.close`. A reader that a task waits in ends, too."""
        if self._closed:
            return
        failure: Optional[Error] = None
        try:
            await self.flush(self._close_timeout if timeout is None else timeout)
        except Error as e:
            failure = e
        finally:
            self._closed = True
            left = sum([t.close() for t in self._topics.values()])
            self._grant()
            for reader in list(self._readers):
                await reader._end()
        if left:
            raise NotSettled(left, str(failure or 'they were sent while the client was closed')) from failure
        if failure is not None:
            raise failure

    def read(self, topics: Union[str, list[str]] = '*', *, cursor: Optional[str] = None,
             start: Union[str, datetime, timedelta] = 'earliest', follow: bool = False,
             timeout: Optional[float] = None) -> Reader:
        """Returns an asynchronous iterator over records: see `dictwire.Client.read`."""
        self._check_open()
        reader = Reader(self, _core.Reader(topics, cursor=cursor, start=_core.start(start), follow=follow,
                                           accept=FORMATS, token=self._token), timeout)
        self._readers.add(reader)
        return reader

    def _check_open(self) -> None:
        if self._closed:
            raise Error('the client is closed: make another by connect')

    def _topic(self, name: str) -> _Topic:
        t = self._topics.get(name)
        if t is None:
            check_topic(name)
            self._check_open()
            t = self._topics[name] = _Topic(self, name)
        return t

    async def _send(self, t: _Topic, chunk: Chunk, timeout: Optional[float]) -> int:
        """Takes records when the window has room, in the order of the calls, and returns the last one's number."""
        t.check()
        if self._queue or self._granted or not self._window.has_room(len(chunk.records), chunk.size):
            await self._wait_for_room(t, chunk, Deadline(timeout))
        return t.take(chunk)

    async def _wait_for_room(self, t: _Topic, chunk: Chunk, deadline: Deadline) -> None:
        turn = _Turn(t, chunk)
        self._queue.append(turn)
        try:
            await asyncio.wait([turn.granted], timeout=deadline.left())
            if not turn.granted.done():
                raise Timeout(self._window.full(deadline.timeout))
            t.check()
        finally:
            if turn.granted.done():
                self._granted -= 1
                self._window.records -= len(chunk.records)
                self._window.size -= chunk.size
            else:
                self._queue.remove(turn)
            asyncio.get_running_loop().call_soon(self._grant)  # after the records were taken

    def _grant(self) -> None:
        """Gives room to those who wait, as far as there is any: they hold it until they take it."""
        while self._queue:
            turn = self._queue[0]
            count, size = len(turn.chunk.records), turn.chunk.size
            if not turn.topic.log.failed and not self._closed and not self._window.has_room(count, size):
                return
            self._queue.popleft()
            self._granted += 1
            self._window.records += count
            self._window.size += size
            turn.granted.set_result(None)

    def __repr__(self) -> str:
        return (f'<dictwire client of {self._address.text}: '
                f'{"closed" if self._closed else f"{self._window.records} records on their way"}>')


class _Turn:
    """Records that wait for room in the window."""

    def __init__(self, topic: _Topic, chunk: Chunk) -> None:
        self.topic, self.chunk = topic, chunk
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()


def _drop(opening: asyncio.Task[Any]) -> None:
    """Closes the connection of an attempt that nobody waits for any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].abort()


class _Topic:
    """A topic's records and the task that connects for them."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.log = Log(name, client.producer, client._window, token=client._token, accept_lost=client._accept_lost)
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []  # a heap: what for, a count, who
        self._count = itertools.count()
        self._work = asyncio.Event()
        self._session: Optional[_Session] = None
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f'dictwire {name}')

    def check(self) -> None:
        """Raises why nothing can be sent."""
        if self.log.failed is not None:
            raise self.log.failed
        self.client._check_open()

    def take(self, chunk: Chunk) -> int:
        number = self.log.take(chunk)
        self._work.set()
        if self._session is not None:
            self._session.write_soon()
        return number

    async def wait(self, begin: int, end: int, timeout: Optional[float]) -> None:
        """Returns when records are stored, or raises why not."""
        await self.settled(end, Deadline(timeout))
        error = self.log.outcome(begin, end)
        if error is not None:
            raise error

    async def settled(self, number: int, deadline: Deadline) -> None:
        """Returns when all records up to a number are settled."""
        while self.log.core.acked < number:
            self.check()
            left = deadline.left()
            if left == 0:
                raise Timeout(self.log.late(number, deadline.timeout))
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (number, next(self._count), turn))
            try:
                await asyncio.wait([turn], timeout=left)
            finally:
                turn.cancel()  # where it is not done: nobody waits any more

    def close(self) -> int:
        """Ends the task, and returns how many records are not settled."""
        self._task.cancel()
        self.tell()
        return self.log.core.pending

    def tell(self) -> None:
        """Wakes those who wait for what is known now."""
        over = self.log.failed is not None or self.client._closed
        while self._waiting and (over or self._waiting[0][0] <= self.log.core.acked):
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
        self.client._grant()

    async def _run(self) -> None:
        try:
            await self._carry()
        except Exception as e:  # nobody else would tell those who wait
            self.log.fail(Error(f'topic {self.log.topic} can\'t go on: {type(e).__name__}: {e}'))
            self.tell()

    async def _carry(self) -> None:
        log, pause = self.log, Pauses()
        while log.failed is None:
            if not log.core.pending:
                self._work.clear()
                await self._work.wait()
            retry = 0.0
            server: Optional[int] = None
            try:
                _, session, server = await self.client._open(lambda: _Session(self))
                self._session = session
                try:
                    await session.ended
                finally:
                    self._session = None
                    session.close()
                retry = session.retry
                if log.core.welcomed:
                    pause = Pauses()
            except Unavailable:
                pass
            if log.core.pending and log.failed is None:
                if server is not None:
                    self.client._address.servers.ended(server, log.core.served, retry)
                await asyncio.sleep(max(next(pause), retry))


class _Session(asyncio.Protocol):
    """One connection of a topic."""

    def __init__(self, topic: _Topic) -> None:
        self.topic, self.retry = topic, 0.0
        self.loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self.loop.create_future()
        self._transport: Optional[asyncio.Transport] = None
        self._paused = self._scheduled = False
        self._timer: Optional[asyncio.TimerHandle] = None
        self._idle_since: Optional[float] = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self.topic.log.core.connect(time.monotonic(), attempt()))
        self._check()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._end()

    def data_received(self, data: bytes) -> None:
        end = self.topic.log.receive(data, time.monotonic())
        self.topic.tell()
        if end is not None:
            self.retry = end.retry
            self._end()
        self.write_soon()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.write_soon()

    def write_soon(self) -> None:
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
        """Ends a connection that is dead, or idle."""
        now, core = time.monotonic(), self.topic.log.core
        self._idle_since = None if core.pending else self._idle_since or now
        if core.dead(now) or (self._idle_since is not None and now - self._idle_since >= IDLE):
            self._end()
            return
        self._timer = self.loop.call_later(min(5.0, max(0.01, core.deadline() - now)), self._check)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended.done():
            self.ended.set_result(None)

    def close(self) -> None:
        self._end()
        if self._transport is not None:
            self._transport.abort()


class _Stream(asyncio.Protocol):
    """A connection that is read piece by piece: a wait that is cancelled loses none."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport: Optional[asyncio.Transport] = None
        self._pieces: list[bytes] = []
        self._size, self._ended = 0, False
        self._news: Optional[asyncio.Future[None]] = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= READ_SIZE and self.transport is not None:
            self.transport.pause_reading()
        self._tell()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def read(self, timeout: float) -> Optional[bytes]:
        """Returns what has come, b'' after the end, or None where nothing came in so many seconds."""
        if not self._pieces and not self._ended:
            self._news = self.loop.create_future()
            await asyncio.wait([self._news], timeout=timeout)
            if not self._news.done():
                return None
        data, self._pieces = b''.join(self._pieces), []
        if self._size >= READ_SIZE and self.transport is not None and not self._ended:
            self.transport.resume_reading()
        self._size = 0
        return data


    def leave(self, last: bytes) -> None:
        """Says a last thing, and ends the connection."""
        if self.transport is not None and not self._ended:
            self.transport.write(last)
            self.transport.close()


class Reader:
    """An asynchronous iterator over the records of a subscription, for one task: see `dictwire.Reader`."""

    def __init__(self, client: Client, core: _core.Reader, timeout: Optional[float]) -> None:
        self._client, self._core, self._timeout = client, core, timeout
        self._feed = Feed(core)
        self._stream: Optional[_Stream] = None
        self._server = 0  # with which it is
        self._pauses = Pauses()
        self._until: Optional[float] = None  # when the next connection is tried
        self._busy = self._closing = False

    @property
    def position(self) -> Optional[str]:
        """The position after the last record that was returned, or None before the first."""
        return self._feed.position

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
        """Moves the cursor after the record that was returned last, and returns when that is durable.

        Raises:
            Timeout: the server did not answer within so many seconds.
            ValueError: there is no cursor.
        """
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
        """Ends the reading. What was asked to be committed before is committed, if that takes no more than 5 s."""
        self._begin()
        try:
            await self._finish()
        finally:
            self._busy = False

    def _begin(self) -> None:
        if self._busy:
            raise Error('another task uses the reader: make one for each')
        self._busy = True

    async def _end(self) -> None:
        """Ends the reading with its client: at once where another task waits in it."""
        if not self._busy:
            await self.close()
        elif self._stream is not None and self._stream.transport is not None:
            self._stream.transport.abort()

    def __del__(self) -> None:
        """Says what is to be committed, without waiting, and closes the connection: the loop would keep it."""
        stream, self._stream = self._stream, None
        if stream is not None and stream.transport is not None:
            try:
                stream.loop.call_soon_threadsafe(stream.leave, self._core.data_to_send(time.monotonic()))
            except RuntimeError:  # the loop has ended
                pass

    async def _finish(self) -> None:
        deadline, self._closing = Deadline(5.0), True
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

    def __repr__(self) -> str:
        return f'<dictwire reader of {self._core.subscribe}: at {self.position or "its start"}>'

    def _disconnect(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None and stream.transport is not None:
            stream.transport.abort()

    async def _more(self, deadline: Deadline) -> None:
        """Waits for events, over a new connection where there is none."""
        if not self._closing:
            self._client._check_open()
        left = deadline.left()
        if left == 0:
            raise Timeout(f'nothing came for {deadline.timeout:g} s; asking again goes on')
        feed, core = self._feed, self._core
        if feed.broken is not None:
            if self._stream is not None:
                self._client._address.servers.ended(self._server, core.served, feed.broken)
            self._disconnect()
            if self._until is None:
                self._until = time.monotonic() + max(feed.broken, next(self._pauses))
            pause = self._until - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause if left is None else min(pause, left))
                return
            feed.broken = self._until = None
        if self._stream is None:
            try:
                _, self._stream, self._server = await self._client._open(_Stream)
            except Unavailable:
                feed.broken = 0.0
                return
            self._write(feed.connect(time.monotonic(), attempt()))
        now = time.monotonic()
        self._write(core.data_to_send(now))
        until = max(0.001, core.deadline() - now)
        data = await self._stream.read(until if left is None else min(left, until))
        if data is None:
            if core.dead(time.monotonic()):
                self._client._address.servers.ended(self._server, core.served, 0.0)
                self._disconnect()
        elif data:
            self._pauses = Pauses()
            feed.feed(data, time.monotonic())
        else:
            feed.broken = 0.0

    def _write(self, data: bytes) -> None:
        if data and self._stream is not None and self._stream.transport is not None:
            self._stream.transport.write(data)


def connect(addr: Optional[str] = None, *, token: Optional[str] = None, tls: TLS = None, wait: float = 0.0,
            producer: str = 'python', window_records: int = 65536, window_bytes: int = 16 << 20,
            close_timeout: float = CLOSE, accept_lost: bool = False, default: Optional[Default] = None) -> Client:
    """Returns a client, to be entered with `async with`. The arguments and errors are those of `dictwire.connect`."""
    return Client(addr, token=token, tls=tls, wait=wait, producer=producer, window_records=window_records,
                  window_bytes=window_bytes, close_timeout=close_timeout, accept_lost=accept_lost, default=default)
