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
import os
import secrets
import time
from collections import deque
from collections.abc import AsyncIterable, Coroutine, Generator, Iterable, Iterator, Mapping
from typing import Any, Optional, Union

from . import _core
from ._address import CONNECT_TIMEOUT, TLS, Address, attempt, pauses
from ._client import EXIT, IDLE, check_topic, reply_of
from ._errors import (
    Error,
    NoReply,
    NotSettled,
    ProtocolError,
    RejectedError,
    Timeout,
    Unavailable,
    remote,
)
from ._records import Feed, Record
from ._values import FORMATS, Default, encode

__all__ = ['Client', 'Reader', 'Receipt', 'connect']

_Dictionaries = Union[Iterable[Mapping[Any, Any]], AsyncIterable[Mapping[Any, Any]]]


def connect(addr: Optional[str] = None, **options: Any) -> Client:
    """Returns a client, to be entered with `async with`; its options are those of `dictwire.connect`."""
    return Client(addr, **options)


class Receipt:
    """A record on its way. Awaiting it returns when the record is stored, or raises `RejectedError`."""

    __slots__ = ('_topic', 'number')

    def __init__(self, topic: _Topic, number: int) -> None:
        self._topic, self.number = topic, number

    @property
    def topic(self) -> str:
        return self._topic.name

    @property
    def producer(self) -> str:
        return self._topic.core.producer

    @property
    def settled(self) -> bool:
        """Whether it is known to be stored, or rejected."""
        return self._topic.core.acked >= self.number

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
                 window_bytes: int = 16 << 20, accept_lost: bool = False, default: Optional[Default] = None) -> None:
        self.producer = f'{producer}.{secrets.token_hex(8)}'
        self._address = Address(addr, tls)
        self._token = token or os.environ.get('DICTWIRE_TOKEN')
        self._default, self._accept_lost, self._wait = default, accept_lost, wait
        self._window_records, self._window_bytes = window_records, window_bytes
        self._topics: dict[str, _Topic] = {}
        self._records = self._bytes = 0
        self._room: deque[asyncio.Future[None]] = deque()  # who waits for room in the window, in order
        self._closed = False

    async def __aenter__(self) -> Client:
        deadline = time.monotonic() + self._wait
        for pause in pauses():
            try:
                transport, _ = await self._open(asyncio.Protocol)
                transport.close()
                return self
            except Unavailable:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise
                await asyncio.sleep(min(pause, left))
        return self

    async def __aexit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is None:
            try:
                await self.flush()
            finally:
                await self.close()
            return
        try:  # what was sent is settled, if that is quickly done; the exception is what is told
            await self.close(timeout=EXIT)
        except Error:
            pass

    async def _open(self, protocol: Any) -> tuple[asyncio.Transport, Any]:
        loop, reasons = asyncio.get_running_loop(), []
        for text, where, context in self._address.turns():
            try:
                if isinstance(where, str):
                    opening: Coroutine[Any, Any, Any] = loop.create_unix_connection(protocol, where)
                else:
                    opening = loop.create_connection(protocol, where[0], where[1], ssl=context)
                transport, p = await asyncio.wait_for(opening, CONNECT_TIMEOUT)
                return transport, p
            except (OSError, asyncio.TimeoutError) as e:
                reasons.append(f'{text}: {getattr(e, "strerror", None) or e or "no answer"}')
                self._address.failed()
        raise self._address.unreachable(reasons)

    # Sending

    async def send(self, dictionary: Mapping[Any, Any], topic: str = 'default', *, timeout: Optional[float] = None,
                   default: Optional[Default] = None) -> Receipt:
        """Takes a dictionary to be sent, and returns its receipt when the record has its number."""
        record = encode(dictionary, default or self._default)
        t = self._topic(topic)
        await self._take_room(t, 1, len(record), timeout)
        return Receipt(t, t.send([record], len(record)))

    async def send_many(self, dictionaries: _Dictionaries, topic: str = 'default', *, timeout: Optional[float] = None,
                        default: Optional[Default] = None) -> int:
        """Sends any number of dictionaries, and returns how many when all are settled."""
        default = default or self._default
        t = self._topic(topic)
        begin, number, count, size = 0, 0, 0, 0
        chunk: list[bytes] = []

        async def out() -> None:
            nonlocal begin, number, count, size, chunk
            if chunk:
                await self._take_room(t, len(chunk), size, timeout)
                number = t.send(chunk, size)
                begin = begin or number - len(chunk) + 1
                count += len(chunk)
                chunk, size = [], 0

        try:
            if isinstance(dictionaries, AsyncIterable):
                async for dictionary in dictionaries:
                    record = encode(dictionary, default)
                    chunk.append(record)
                    size += len(record)
                    await out()
            else:
                for dictionary in dictionaries:
                    record = encode(dictionary, default)
                    chunk.append(record)
                    size += len(record)
                    if len(chunk) >= 512 or size >= 128 << 10:
                        await out()
                        await asyncio.sleep(0)
        except BaseException:
            await out()
            raise
        await out()
        if count:
            await t.wait(begin, number, timeout)
        return count

    async def ask(self, dictionary: Mapping[Any, Any], topic: str = 'default', *, timeout: Optional[float] = None,
                  default: Optional[Default] = None) -> dict[Any, Any]:
        """Sends a dictionary and returns what the server's handler replies to it."""
        record = encode(dictionary, default or self._default)
        t = self._topic(topic)
        await self._take_room(t, 1, len(record), timeout)
        number = t.send([record], len(record))
        t.asked[number] = None
        try:
            await t.wait(number, number, timeout)
            reply = t.asked[number]
        finally:
            del t.asked[number]
        if isinstance(reply, Exception):
            raise reply
        if reply is None:
            raise NoReply(f'record {number} of topic {topic} is settled, and the server replied nothing to it')
        return reply  # type: ignore[no-any-return]

    async def flush(self, timeout: Optional[float] = None) -> None:
        """Returns when everything that was sent is settled: see `dictwire.Client.flush`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        errors: list[Exception] = []
        for t in list(self._topics.values()):
            try:
                if t.core.last:
                    await t.wait(1, t.core.last, None if deadline is None else max(0.0, deadline - time.monotonic()))
            except Error as e:
                errors.append(e)
        if errors:
            raise errors[0]

    async def close(self, timeout: Optional[float] = None) -> None:
        """Ends the client: see `dictwire.Client.close`."""
        if self._closed:
            return
        failure: Optional[Exception] = None
        if timeout is not None:
            try:
                await self.flush(timeout)
            except Error as e:
                failure = e
        self._closed = True
        left = 0
        for t in list(self._topics.values()):
            left += await t.close()
        self._wake_room()
        if left:
            raise NotSettled(left, str(failure or 'the client was closed'))
        if failure is not None:
            raise failure

    def read(self, topics: Union[str, list[str]] = '*', *, cursor: Optional[str] = None, start: str = 'earliest',
             follow: bool = False, timeout: Optional[float] = None) -> Reader:
        """Returns an asynchronous iterator over records: see `dictwire.Client.read`."""
        self._check_open()
        return Reader(self, _core.Reader(
            topics, cursor=cursor, start=start, follow=follow, accept=FORMATS, token=self._token), timeout)

    def _check_open(self) -> None:
        if self._closed:
            raise Error('the client is closed')

    def _topic(self, name: str) -> _Topic:
        t = self._topics.get(name)
        if t is None:
            self._check_open()
            check_topic(name)
            t = self._topics[name] = _Topic(self, name)
        return t

    async def _take_room(self, t: _Topic, count: int, size: int, timeout: Optional[float]) -> None:
        """Waits until the window has room, and takes it."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            if t.failed is not None:
                raise t.failed
            self._check_open()
            if self._records == 0 or (self._records + count <= self._window_records \
                    and self._bytes + size <= self._window_bytes):
                self._records += count
                self._bytes += size
                return
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise Timeout(f'the window is full for {timeout:g} s ({self._records} records not settled): not sent')
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._room.append(turn)
            try:
                await asyncio.wait_for(turn, left)
            except asyncio.TimeoutError:
                pass

    def _wake_room(self) -> None:
        while self._room:
            turn = self._room.popleft()
            if not turn.done():
                turn.set_result(None)

    def __repr__(self) -> str:
        return f'<dictwire client of {self._address.text}: {self._records} records on their way>'


class _Topic:
    """A topic's records and the task that connects for them."""

    def __init__(self, client: Client, name: str) -> None:
        self.client, self.name = client, name
        self.core = _core.Writer(
            name, client.producer, format='json+pickle', accept=FORMATS, token=client._token,
            accept_lost=client._accept_lost)
        self.failed: Optional[Error] = None
        self.rejected: dict[int, RejectedError] = {}
        self.asked: dict[int, Any] = {}
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._work = asyncio.Event()
        self._session: Optional[_Session] = None
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f'dictwire {name}')

    def send(self, chunk: list[bytes], size: int) -> int:
        for record in chunk:
            number = self.core.send(record)
        self._work.set()
        if self._session is not None:
            self._session.write_soon()
        return number

    async def wait(self, begin: int, end: int, timeout: Optional[float]) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.core.acked < end:
            if self.failed is not None:
                raise self.failed
            self.client._check_open()
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise Timeout(f'{end - self.core.acked} records of topic {self.name} are not settled after '
                              f'{timeout:g} s; they are sent all the same')
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((end, turn))
            try:
                await asyncio.wait_for(turn, left)
            except asyncio.TimeoutError:
                pass
        errors = [self.rejected.pop(n) for n in list(self.rejected) if begin <= n <= end]
        if errors:
            if hasattr(errors[0], 'add_note'):
                for more in errors[1:10]:
                    errors[0].add_note(str(more))
            raise errors[0]

    async def close(self) -> int:
        self._task.cancel()
        try:
            await self._task
        except asyncio.CancelledError:
            pass
        self.tell()
        return self.core.pending

    def tell(self) -> None:
        """Wakes those who wait for what is settled now."""
        done = self.core.acked
        over = self.failed is not None or self.client._closed
        still = []
        for number, turn in self._waiting:
            if over or number <= done:
                if not turn.done():
                    turn.set_result(None)
            elif not turn.done():
                still.append((number, turn))
        self._waiting = still
        self.client._wake_room()

    async def _run(self) -> None:
        pause = pauses()
        while self.failed is None:
            if not self.core.pending:
                self._work.clear()
                await self._work.wait()
            retry = 0.0
            try:
                _, session = await self.client._open(lambda: _Session(self))
                self._session = session
                try:
                    await session.ended
                finally:
                    self._session = None
                    session.close()
                retry = session.retry
                if self.core.welcomed:
                    pause = pauses()
            except Unavailable:
                pass
            if self.core.pending and self.failed is None:
                await asyncio.sleep(max(next(pause), retry))

    def receive(self, data: bytes) -> Iterator[_core.Ended]:
        """Takes what came, and yields how the session ends."""
        core, client = self.core, self.client
        records_, size = core.pending, core.size
        try:
            events = core.receive_data(data, time.monotonic())
        except ProtocolError as e:
            self.failed = e
            self.tell()
            yield _core.Ended('internal', str(e), stop=True)
            return
        client._records -= records_ - core.pending
        client._bytes -= size - core.size
        for event in events:
            if isinstance(event, _core.Rejected):
                self.rejected.setdefault(event.number, RejectedError(event.text, event.code, event.number, self.name))
            elif isinstance(event, _core.Reply):
                if event.number in self.asked:
                    self.asked[event.number] = reply_of(event)
            elif isinstance(event, _core.Ended):
                if event.stop:
                    self.failed = remote(event.code, event.text)
                yield event
        self.tell()


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
        transport.write(self.topic.core.connect(time.monotonic(), attempt()))
        self._check()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._end()

    def data_received(self, data: bytes) -> None:
        for end in self.topic.receive(data):
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
            data = self.topic.core.data_to_send()
            if not data:
                return
            self._transport.write(data)

    def _check(self) -> None:
        """Ends a connection that is dead, or idle."""
        now, core = time.monotonic(), self.topic.core
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


class Reader:
    """An asynchronous iterator over the records of a subscription: see `dictwire.Reader`."""

    def __init__(self, client: Client, core: _core.Reader, timeout: Optional[float]) -> None:
        self._client, self._core, self._timeout = client, core, timeout
        self._feed = Feed(core)
        self._streams: Optional[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = None
        self._pauses = pauses()

    @property
    def position(self) -> Optional[str]:
        """The position after the last record that was returned, or None before the first."""
        return self._feed.reached

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> Record:
        self._feed.ask()
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while True:
            record = self._feed.take()
            if record is not None:
                return record
            if self._feed.ended:
                await self.close()
                raise StopAsyncIteration
            await self._more(deadline)

    async def commit(self, timeout: Optional[float] = 15.0) -> None:
        """Moves the cursor after the record that was returned last, and returns when that is durable.

        Raises `Timeout` where the server does not answer.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._feed.commit():
            while self._core.uncommitted:
                await self._more(deadline)
                self._feed.check()

    async def close(self) -> None:
        """Ends the reading. What was asked to be committed before is committed."""
        try:
            deadline = time.monotonic() + 5
            while self._streams is not None and self._core.uncommitted:
                await self._more(deadline)
                self._feed.check()
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
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].transport.abort()

    async def _pause(self, least: float, deadline: Optional[float]) -> None:
        pause = max(least, next(self._pauses))
        if deadline is not None:
            pause = min(pause, max(0.0, deadline - time.monotonic()))
        await asyncio.sleep(pause)

    async def _more(self, deadline: Optional[float]) -> None:
        """Waits for events, over a new connection where there is none."""
        self._client._check_open()
        now = time.monotonic()
        if deadline is not None and now >= deadline:
            raise Timeout('nothing came in time; asking again goes on')
        if self._feed.broken is not None:
            self._disconnect()
            await self._pause(self._feed.broken, deadline)
            self._feed.broken = None
        if self._streams is None:
            loop = asyncio.get_running_loop()
            reader = asyncio.StreamReader(limit=1 << 20)
            try:
                transport, protocol = await self._client._open(lambda: asyncio.StreamReaderProtocol(reader))
            except Unavailable:
                await self._pause(0.0, deadline)
                return
            self._streams = reader, asyncio.StreamWriter(transport, protocol, reader, loop)
            self._streams[1].write(self._core.connect(now, attempt()))
        self._streams[1].write(self._core.data_to_send())
        until = self._core.deadline() if deadline is None else min(deadline, self._core.deadline())
        try:
            data = await asyncio.wait_for(self._streams[0].read(256 << 10), max(0.001, until - now))
        except asyncio.TimeoutError:
            if self._core.dead(time.monotonic()):
                self._disconnect()
            return
        except OSError:
            data = b''
        if data:
            self._pauses = pauses()
            self._feed.feed(data, time.monotonic())
        else:
            self._feed.broken = 0.0
