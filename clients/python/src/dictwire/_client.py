"""The client for threads."""

from __future__ import annotations

import atexit
import os
import re
import secrets
import selectors
import socket
import ssl
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Optional, Union

from . import _core
from ._address import TLS, Address, attempt, pauses
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
from ._values import FORMATS, Default, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

READ_SIZE = 256 << 10
IDLE = 60.0  # seconds after which a topic's connection is closed when all is settled
EXIT = 10.0  # seconds that a program's end waits for what is not settled


class Receipt:
    """A record on its way.

    Attributes:
        topic, producer, number: the record's own, for ever.
    """

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

    def wait(self, timeout: Optional[float] = None) -> Receipt:
        """Returns when the record is stored: durable in its topic.

        Raises:
            RejectedError: it is durable in `_rejected` instead.
            Timeout: it is not known yet; it is sent all the same.
            LostError, ConflictError, FencedError, …: the topic can't go on.
        """
        self._topic.wait(self.number, timeout)
        return self

    def __repr__(self) -> str:
        return f'<record {self.number} of {self.topic}: {"settled" if self.settled else "on its way"}>'


class Client:
    """Sends dictionaries to a server and reads them back. Any number of threads may use it.

    Each record is stored once, whatever happens to the network and the server, as long as this process lives. It
    is made by `connect`, and is a context manager: leaving the block flushes.

    Attributes:
        producer: the name under which its records are numbered.
    """

    def __init__(self, addr: Optional[str] = None, *, token: Optional[str] = None, tls: TLS = None,
                 wait: float = 0.0, producer: str = 'python', window_records: int = 65536,
                 window_bytes: int = 16 << 20, accept_lost: bool = False, default: Optional[Default] = None) -> None:
        self.producer = f'{producer}.{secrets.token_hex(8)}'
        self._prefix = producer
        self._address = Address(addr, tls)
        self._token = token or os.environ.get('DICTWIRE_TOKEN')
        self._default, self._accept_lost = default, accept_lost
        self._window_records, self._window_bytes = window_records, window_bytes
        self._closed = False
        self._spare: Optional[socket.socket] = None
        self._reset()
        self._greet(wait)
        _clients.add(self)

    def _reset(self) -> None:
        self._lock = threading.Condition(threading.Lock())
        self._topics: dict[str, _Topic] = {}
        self._records = self._bytes = 0  # that are not settled; guarded by _lock

    def _greet(self, wait: float) -> None:
        deadline = time.monotonic() + wait
        for pause in pauses():
            try:
                self._spare = self._address.connect()
                return
            except Unavailable:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise
                time.sleep(min(pause, left))

    def _connect(self) -> socket.socket:
        spare, self._spare = self._spare, None
        return spare or self._address.connect()

    # Sending

    def send(self, dictionary: Mapping[Any, Any], topic: str = 'default', *, timeout: Optional[float] = None,
             default: Optional[Default] = None) -> Receipt:
        """Takes a dictionary to be sent, and returns its receipt without waiting for the server.

        While the window is full it waits, up to timeout seconds, and raises `Timeout` without sending.

        Raises:
            TypeError: dictwire can't carry a value; nothing is sent.
            Timeout, LostError, ConflictError, FencedError, …: it is not sent.
        """
        record = encode(dictionary, default or self._default)
        t = self._topic(topic)
        return Receipt(t, t.send(record, timeout))

    def send_many(self, dictionaries: Iterable[Mapping[Any, Any]], topic: str = 'default', *,
                  timeout: Optional[float] = None, default: Optional[Default] = None) -> int:
        """Sends any number of dictionaries, and returns how many when all are settled.

        timeout bounds each wait for the server. Records that are rejected are raised as one error at the end;
        the others are stored.

        Raises:
            TypeError: dictwire can't carry a value; what came before it is sent.
            RejectedError: of the first one that was rejected; notes name the others.
        """
        default = default or self._default
        t = self._topic(topic)
        begin: Optional[int] = None
        count, size, number = 0, 0, 0
        chunk: list[bytes] = []
        try:
            for dictionary in dictionaries:
                record = encode(dictionary, default)
                chunk.append(record)
                size += len(record)
                if len(chunk) >= 512 or size >= 128 << 10:
                    number = t.send_all(chunk, size, timeout)
                    begin = begin or number - len(chunk) + 1
                    count += len(chunk)
                    chunk, size = [], 0
        finally:
            if chunk:
                number = t.send_all(chunk, size, timeout)
                begin = begin or number - len(chunk) + 1
                count += len(chunk)
        if begin is not None:
            t.wait_range(begin, number, timeout)
        return count

    def ask(self, dictionary: Mapping[Any, Any], topic: str = 'default', *, timeout: Optional[float] = None,
            default: Optional[Default] = None) -> dict[Any, Any]:
        """Sends a dictionary and returns what the server's handler replies to it.

        Raises:
            RejectedError: the handler rejected it.
            NoReply: it is settled, and nothing was replied, or the reply was lost with a connection.
            Timeout: nothing is known yet; the record is sent all the same.
        """
        record = encode(dictionary, default or self._default)
        t = self._topic(topic)
        return t.ask(record, timeout)

    def flush(self, timeout: Optional[float] = None) -> None:
        """Returns when everything that was sent is settled.

        Raises:
            RejectedError: of the first record that was rejected since the last flush and whose receipt nobody
                waited on. All are settled all the same.
            Timeout: some records are not settled; they are sent all the same.
            LostError, ConflictError, …: a topic can't go on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        errors: list[Exception] = []
        for t in list(self._topics.values()):
            try:
                t.flush(None if deadline is None else max(0.0, deadline - time.monotonic()))
            except Error as e:
                errors.append(e)
        if errors:
            raise errors[0]

    # Reading

    def read(self, topics: Union[str, list[str]] = '*', *, cursor: Optional[str] = None, start: str = 'earliest',
             follow: bool = False, timeout: Optional[float] = None) -> Reader:
        """Returns an iterator over records: see `Reader`.

        Args:
            topics: a topic, all below one as 'orders.*', '*' for all, or a list of them.
            cursor: the name of a saved position. Asking for the next record commits the one before.
            start: where to begin without a saved position: 'earliest', 'latest', a position, an RFC 3339 time, or
                an age as '10m' or '7d'.
            follow: wait for more at the end.
            timeout: seconds to wait for the next record, after which `Timeout` is raised; asking again goes on.
        """
        self._check_open()
        return Reader(self, _core.Reader(
            topics, cursor=cursor, start=start, follow=follow, accept=FORMATS, token=self._token), timeout)

    # The end

    def close(self, timeout: Optional[float] = None) -> None:
        """Ends the client, without waiting for what is not settled unless timeout says how long.

        Raises:
            NotSettled: some records are not known to be stored.
        """
        if self._closed:
            return
        failure: Optional[Exception] = None
        if timeout is not None:
            try:
                self.flush(timeout)
            except Error as e:
                failure = e
        self._closed = True
        left = 0
        for t in list(self._topics.values()):
            left += t.close()
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()
        with self._lock:
            self._lock.notify_all()
        if left:
            raise NotSettled(left, str(failure or 'the client was closed'))
        if failure is not None:
            raise failure

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is None:
            try:
                self.flush()
            finally:
                self.close()
            return
        try:  # what was sent is settled, if that is quickly done; the exception is what is told
            self.close(timeout=EXIT)
        except Error:
            pass

    def __repr__(self) -> str:
        return f'<dictwire client of {self._address.text}: {self._records} records on their way>'

    def _check_open(self) -> None:
        if self._closed:
            raise Error('the client is closed')

    def _topic(self, name: str) -> _Topic:
        t = self._topics.get(name)
        if t is None or t.closed:
            self._check_open()
            check_topic(name)
            with self._lock:
                t = self._topics.get(name)
                if t is None:
                    t = self._topics[name] = _Topic(self, name)
        return t

    def _forked(self) -> None:
        """Makes the client a new one in a forked child: what its parent holds is the parent's to send."""
        for t in self._topics.values():
            t.abandon()
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()
        self._reset()
        self.producer = f'{self._prefix}.{secrets.token_hex(8)}'


_TOPIC = re.compile(r'[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*')


def check_topic(name: str) -> None:
    """Raises ValueError where no client may write to a topic of that name."""
    if not isinstance(name, str) or len(name) > 200 or not _TOPIC.fullmatch(name):
        raise ValueError(f'topic {name!r:.80}: want words of A-Z, a-z, 0-9, _ and - with dots between, '
                         'at most 200 bytes')
    if name[0] == '_' and name != '_rejected':
        raise ValueError(f'topic {name!r}: names that begin with _ are the server\'s own')


class _Topic:
    """A topic's records and the thread that carries them. The client's lock guards it."""

    def __init__(self, client: Client, name: str) -> None:
        self.client, self.name, self.closed = client, name, False
        self.core = _core.Writer(
            name, client.producer, format='json+pickle', accept=FORMATS, token=client._token,
            accept_lost=client._accept_lost)
        self.lock = client._lock
        self.failed: Optional[Error] = None  # why the topic can't go on
        self.rejected: dict[int, RejectedError] = {}  # that nobody was told of
        self.asked: dict[int, Any] = {}  # replies that are waited for
        self._asleep = False  # the thread waits for its socket, or for work
        self._wake, self._woken = socket.socketpair()
        for s in (self._wake, self._woken):
            s.setblocking(False)
        self._sock: Optional[socket.socket] = None
        self._thread = threading.Thread(target=self._run, name=f'dictwire {name}', daemon=True)
        self._thread.start()

    # Called by any thread

    def send(self, record: bytes, timeout: Optional[float]) -> int:
        return self.send_all([record], len(record), timeout)

    def send_all(self, chunk: list[bytes], size: int, timeout: Optional[float]) -> int:
        """Takes records, all or none, and returns the last one's number."""
        c = self.client
        with self.lock:
            self._room(len(chunk), size, timeout)
            for record in chunk:
                number = self.core.send(record)
            c._records += len(chunk)
            c._bytes += size
            wake, self._asleep = self._asleep, False
        if wake:
            self.wake()
        return number

    def _room(self, count: int, size: int, timeout: Optional[float]) -> None:
        c = self.client
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            if self.failed is not None:
                raise self.failed
            c._check_open()
            if c._records == 0 or (c._records + count <= c._window_records and c._bytes + size <= c._window_bytes):
                return
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise Timeout(f'the window is full for {timeout:g} s ({c._records} records not settled): not sent')
            self.lock.wait(left)

    def ask(self, record: bytes, timeout: Optional[float]) -> dict[Any, Any]:
        with self.lock:
            self._room(1, len(record), timeout)
            number = self.core.send(record)
            self.client._records += 1
            self.client._bytes += len(record)
            self.asked[number] = None
            self._asleep = False
        self.wake()
        try:
            self.wait(number, timeout)
            reply = self.asked[number]
        finally:
            with self.lock:
                del self.asked[number]
        if isinstance(reply, Exception):
            raise reply
        if reply is None:
            raise NoReply(f'record {number} of topic {self.name} is settled, and the server replied nothing to it')
        return reply  # type: ignore[no-any-return]

    def wait(self, number: int, timeout: Optional[float]) -> None:
        self.wait_range(number, number, timeout)

    def wait_range(self, begin: int, end: int, timeout: Optional[float]) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.lock:
            while self.core.acked < end:
                if self.failed is not None:
                    raise self.failed
                self.client._check_open()
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise Timeout(f'{end - self.core.acked} records of topic {self.name} are not settled after '
                                  f'{timeout:g} s; they are sent all the same')
                self.lock.wait(left)
            if begin == end:
                error = self.rejected.pop(begin, None)
            else:
                mine = [n for n in self.rejected if begin <= n <= end]
                errors = [self.rejected.pop(n) for n in mine]
                error = errors[0] if errors else None
                if error is not None and len(errors) > 1 and hasattr(error, 'add_note'):
                    for more in errors[1:10]:
                        error.add_note(str(more))
        if error is not None:
            raise error

    def flush(self, timeout: Optional[float]) -> None:
        with self.lock:
            last = self.core.last
        if last:
            self.wait_range(1, last, timeout)

    def close(self) -> int:
        """Ends the thread, and returns how many records are not settled."""
        with self.lock:
            self.closed = True
        self.wake()
        self._thread.join()
        self._wake.close()
        self._woken.close()
        return self.core.pending

    def abandon(self) -> None:
        """Drops all in a forked child, where the thread does not exist."""
        self.closed = True
        for s in (self._wake, self._woken, self._sock):
            if s is not None:
                s.close()

    def wake(self) -> None:
        try:
            self._wake.send(b'.')
        except (BlockingIOError, OSError):
            pass

    # The thread

    def _run(self) -> None:
        pause = pauses()
        while True:
            with self.lock:
                idle = not self.core.pending
                self._asleep = idle
            if idle:
                self._sleep(None)
            if self.closed or self.failed is not None:
                return
            try:
                self._sock = self.client._connect()
                if self._session(self._sock):
                    pause = pauses()
            except (OSError, Error):
                pass
            finally:
                sock, self._sock = self._sock, None
                if sock is not None:
                    sock.close()
            if self.core.pending and not self.closed and self.failed is None:
                self._sleep(max(next(pause), self._retry))

    _retry = 0.0  # seconds that the server asked for

    def _sleep(self, timeout: Optional[float]) -> None:
        """Waits until something is to be done, or the topic is closed."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with selectors.DefaultSelector() as s:
            s.register(self._woken, selectors.EVENT_READ)
            while not self.closed:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return
                s.select(left)
                self._drain()
                if deadline is None and (self.core.pending or self.closed):
                    return

    def _drain(self) -> None:
        try:
            while self._woken.recv(4096):
                pass
        except (BlockingIOError, OSError):
            pass

    def _session(self, sock: socket.socket) -> bool:
        """Carries records over one connection until it ends. Returns whether it was welcomed."""
        core, self._retry = self.core, 0.0
        sock.setblocking(False)
        with self.lock:
            out = memoryview(core.connect(time.monotonic(), attempt()))
        idle_since: Optional[float] = None
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            selector.register(sock, selectors.EVENT_READ)
            watched = selectors.EVENT_READ
            while True:
                with self.lock:
                    if self.closed:
                        return core.welcomed
                    if not out:
                        out = memoryview(core.data_to_send())
                    self._asleep = not out
                    idle = not core.pending
                wrote = bool(out)
                out = _write(sock, out)
                now = time.monotonic()
                idle_since = (idle_since or now) if idle else None
                until = core.deadline() if idle_since is None else min(core.deadline(), idle_since + IDLE)
                if now >= until:
                    return core.welcomed
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if out else 0)
                if wanted != watched:
                    selector.modify(sock, wanted)
                    watched = wanted
                for key, events in selector.select(0 if wrote and not out else until - now):
                    if key.fileobj is self._woken:
                        self._drain()
                    elif events & selectors.EVENT_READ and not self._read(sock):
                        return core.welcomed

    def _read(self, sock: socket.socket) -> bool:
        """Takes what came, and returns whether the session goes on."""
        while True:
            try:
                data = sock.recv(READ_SIZE)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return True
            if not data or not self._receive(data):
                return False
            if not isinstance(sock, ssl.SSLSocket) or not sock.pending():
                return True

    def _receive(self, data: bytes) -> bool:
        core, client = self.core, self.client
        with self.lock:
            records, size = core.pending, core.size
            try:
                events = core.receive_data(data, time.monotonic())
            except ProtocolError as e:
                self._fail(e)
                return False
            client._records -= records - core.pending
            client._bytes -= size - core.size
            goes_on = True
            for event in events:
                if isinstance(event, _core.Rejected):
                    error = RejectedError(event.text, event.code, event.number, self.name)
                    self.rejected.setdefault(event.number, error)
                elif isinstance(event, _core.Reply):
                    if event.number in self.asked:
                        self.asked[event.number] = reply_of(event)
                elif isinstance(event, _core.Ended):
                    goes_on, self._retry = False, event.retry
                    if event.stop:
                        self._fail(remote(event.code, event.text))
            self.lock.notify_all()
            return goes_on

    def _fail(self, error: Error) -> None:
        self.failed = error
        self.lock.notify_all()


def reply_of(event: _core.Reply) -> Any:
    """Returns the dictionary that is replied, or the exception why there is none."""
    if event.data is None:
        return NoReply(f'the reply can\'t be sent: {event.error}')
    try:
        return decode(event.data, 'json' if event.data[:1] == b'{' else 'cbor')
    except ValueError as e:
        return NoReply(f'the reply can\'t be read: {e}')


def _write(sock: socket.socket, data: memoryview) -> memoryview:
    """Writes what the socket takes, and returns the rest."""
    while data:
        try:
            n = sock.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return data
        data = data[n:]
    return data


class Reader:
    """An iterator over the records of a subscription, for one thread.

    Asking for the next record commits the one before, where there is a cursor; `break` and exceptions do not, so
    that it comes again. A connection that breaks is made again, and reading goes on where it was.

    Raises, when the next record is asked for:
        SkippedError, DamagedError: records are gone; asking again goes on after them.
        Timeout: nothing came in time; asking again goes on.
        LostError, FencedError, LossError, …: it can't go on.
    """

    def __init__(self, client: Client, core: _core.Reader, timeout: Optional[float]) -> None:
        self._client, self._core, self._timeout = client, core, timeout
        self._feed = Feed(core)
        self._sock: Optional[socket.socket] = None
        self._pauses = pauses()

    @property
    def position(self) -> Optional[str]:
        """The position after the last record that was returned, or None before the first."""
        return self._feed.reached

    def __iter__(self) -> Reader:
        return self

    def __next__(self) -> Record:
        self._feed.ask()
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while True:
            record = self._feed.take()
            if record is not None:
                return record
            if self._feed.ended:
                self.close()
                raise StopIteration
            self._more(deadline)

    def commit(self, timeout: Optional[float] = 15.0) -> None:
        """Moves the cursor after the record that was returned last, and returns when that is durable.

        Raises `Timeout` where the server does not answer.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._feed.commit():
            while self._core.uncommitted:
                self._more(deadline)
                self._feed.check()

    def close(self) -> None:
        """Ends the reading. What was asked to be committed before is committed."""
        try:
            deadline = time.monotonic() + 5
            while self._sock is not None and self._core.uncommitted:
                self._more(deadline)
                self._feed.check()
        except Error:
            pass
        finally:
            self._feed.ended = True
            self._disconnect()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # at the interpreter's end anything may be gone
            pass

    def _disconnect(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def _pause(self, least: float, deadline: Optional[float]) -> None:
        pause = max(least, next(self._pauses))
        if deadline is not None:
            pause = min(pause, max(0.0, deadline - time.monotonic()))
        time.sleep(pause)

    def _more(self, deadline: Optional[float]) -> None:
        """Waits for events, over a new connection where there is none."""
        self._client._check_open()
        now = time.monotonic()
        if deadline is not None and now >= deadline:
            raise Timeout('nothing came in time; asking again goes on')
        if self._feed.broken is not None:
            self._disconnect()
            self._pause(self._feed.broken, deadline)
            self._feed.broken = None
        until = self._core.deadline() if deadline is None else min(deadline, self._core.deadline())
        try:
            if self._sock is None:
                self._sock = self._client._connect()
                self._sock.sendall(self._core.connect(now, attempt()))
                until = max(until, now + 0.001)
            self._sock.settimeout(max(0.001, until - now))
            self._sock.sendall(self._core.data_to_send())
            data = self._sock.recv(READ_SIZE)
        except socket.timeout:  # TimeoutError from Python 3.10 on
            if self._core.dead(time.monotonic()):
                self._disconnect()
            return
        except (OSError, Unavailable):
            data = b''
        if data:
            self._pauses = pauses()
            self._feed.feed(data, time.monotonic())
        else:
            self._feed.broken = 0.0


_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def _flush_all() -> None:
    for client in list(_clients):
        try:
            client.close(timeout=EXIT)
        except Exception as e:  # nobody is left to raise it to
            import sys
            print(f'dictwire: at the end of the program: {e}', file=sys.stderr)


def _forked() -> None:
    for client in list(_clients):
        client._forked()


atexit.register(_flush_all)
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forked)
