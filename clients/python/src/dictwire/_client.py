"""The client for threads."""

from __future__ import annotations

import atexit
import os
import secrets
import selectors
import socket
import ssl
import sys
import threading
import time
import warnings
import weakref
from typing import TYPE_CHECKING, Any, Optional, Union

from . import _core
from ._address import TLS, Address, Pauses, attempt
from ._errors import Error, NotSettled, Timeout, Unavailable
from ._records import Feed, Record
from ._sending import CLOSE, EXIT, IDLE, Chunk, Deadline, Log, Window, check_topic, chunks, flushed
from ._values import FORMATS, Default, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime, timedelta

READ_SIZE = 256 << 10
JOIN = 1.0  # seconds that the end of a client waits for what ends by itself, such as a thread that connects


class Receipt:
    """A record on its way.

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
        """Whether it is known to be stored, or rejected: `wait` says which, and does not wait."""
        return self._topic.log.core.acked >= self.number

    def wait(self, timeout: Optional[float] = None) -> Receipt:
        """Returns when the record is stored: durable in its topic.

        Args:
            timeout: seconds; None waits as long as it takes.

        Raises:
            RejectedError: it is durable in `_rejected` instead.
            Timeout: it is not known yet; it is sent all the same.
            LostError, ConflictError, FencedError, …: the topic can't go on.
        """
        self._topic.wait(self.number, self.number, timeout)
        return self

    def __repr__(self) -> str:
        return f'<record {self.number} of {self.topic}: {"settled" if self.settled else "on its way"}>'


class Client:
    """Sends dictionaries to a server and reads them back. Any number of threads may use it.

    Each record is stored once, whatever happens to the network and the server, as long as this process lives. It
    is made by `connect`, and is a context manager: leaving the block waits for what was sent. Its methods are not
    for signal handlers and `__del__`, which may run in the middle of one.

    A forked child has a producer of its own: what its parent holds, and the receipts and readers that the parent
    made, are the parent's.

    Attributes:
        producer: the name under which its records are numbered.
    """

    def __init__(self, addr: Optional[str] = None, *, token: Optional[str] = None, tls: TLS = None,
                 wait: float = 0.0, producer: str = 'python', window_records: int = 65536,
                 window_bytes: int = 16 << 20, close_timeout: float = CLOSE, accept_lost: bool = False,
                 default: Optional[Default] = None) -> None:
        self.producer = f'{producer}.{secrets.token_hex(8)}'
        self._prefix = producer
        self._address = Address(addr, tls)
        self._token = token or os.environ.get('DICTWIRE_TOKEN')
        self._default, self._accept_lost, self._close_timeout = default, accept_lost, close_timeout
        self._window_records, self._window_bytes = window_records, window_bytes
        self._spare: Optional[tuple[socket.socket, int]] = None
        self._reset()
        self._greet(wait)
        _clients.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._news = _News()
        self._closed = False
        self._topics: dict[str, _Topic] = {}
        self._readers: weakref.WeakSet[Reader] = weakref.WeakSet()
        self._window = Window(self._window_records, self._window_bytes)

    def _greet(self, wait: float) -> None:
        deadline = Deadline(wait)
        for pause in Pauses():
            try:
                self._spare = self._address.connect()
                return
            except Unavailable:
                left = deadline.left()
                if not left:
                    raise
                time.sleep(min(pause, left))

    def _connect(self) -> tuple[socket.socket, int]:
        """Returns a connection, and with which server it is."""
        with self._lock:
            spare, self._spare = self._spare, None
        return spare or self._address.connect()

    # Sending

    def send(self, dictionary: Mapping[Any, Any], topic: str = 'default', *, timeout: Optional[float] = None,
             default: Optional[Default] = None) -> Receipt:
        """Takes a dictionary to be sent, and returns its receipt without waiting for the server.

        Args:
            dictionary: see `dictwire.plain` for what it may hold.
            topic: words of letters, digits, _ and - with dots between.
            timeout: seconds to wait while the window is full; None waits as long as it takes.
            default: is called with what dictwire can't carry, and returns what it can.

        Raises:
            TypeError: dictwire can't carry a value; the text has the path that leads to it. Nothing is sent.
            ValueError: that is no topic to write to.
            Timeout: the window was full all the time; it is not sent.
            LostError, ConflictError, FencedError, …: the topic can't go on; it is not sent.
        """
        t, chunk = self._topic(topic), Chunk()
        chunk.add(encode(dictionary, default or self._default))
        return Receipt(t, t.send(chunk, timeout))

    def send_many(self, dictionaries: Iterable[Mapping[Any, Any]], topic: str = 'default', *,
                  timeout: Optional[float] = None, default: Optional[Default] = None) -> int:
        """Sends any number of dictionaries, and returns how many when all are settled.

        Args:
            timeout: seconds of each wait, for room in the window and for the last record.

        Raises:
            TypeError, or what the iterable raises: what came before it is sent.
            RejectedError: of the first record that was rejected; its `others` are those of the rest. What is not
                named there is stored.
            Timeout: the window was full, and the rest is not sent; or the last records are not settled yet.
        """
        t, begin, number, count = self._topic(topic), 0, 0, 0
        for chunk in chunks(dictionaries, default or self._default):
            number = t.send(chunk, timeout)
            begin = begin or number - len(chunk.records) + 1
            count += len(chunk.records)
        if count:
            t.wait(begin, number, timeout)
        return count

    def ask(self, dictionary: Mapping[Any, Any], topic: str = 'default', *, timeout: Optional[float] = None,
            default: Optional[Default] = None) -> dict[Any, Any]:
        """Sends a dictionary and returns what the server's handler replies to it.

        Raises:
            RejectedError: the handler rejected it.
            NoReply: it is settled, and nothing was replied, or the reply was lost with a connection.
            Timeout: nothing is known yet; the record is sent all the same.
        """
        t, chunk = self._topic(topic), Chunk()
        chunk.add(encode(dictionary, default or self._default))
        return t.ask(chunk, timeout)

    def flush(self, timeout: Optional[float] = None) -> None:
        """Returns when everything that was sent is settled.

        Args:
            timeout: seconds; None waits as long as it takes.

        Raises:
            RejectedError: of the first record that was rejected and that no call has raised; its `others` are those
                of the rest. All are settled.
            Timeout: some records are not settled; they are sent all the same.
            LostError, ConflictError, …: a topic can't go on.
        """
        deadline, failures = Deadline(timeout), []
        topics = list(self._topics.values())
        for t in topics:
            try:
                t.flush(deadline.left())
            except Error as e:
                failures.append(e)
        with self._lock:
            flushed([t.log for t in topics], failures)

    # Reading

    def read(self, topics: Union[str, list[str]] = '*', *, cursor: Optional[str] = None,
             start: Union[str, datetime, timedelta] = 'earliest', follow: bool = False,
             timeout: Optional[float] = None) -> Reader:
        """Returns an iterator over records: see `Reader`.

        Args:
            topics: a topic, all below one as 'orders.*', '*' for all, or a list of them.
            cursor: the name of a saved position. Asking for the next record commits the one before.
            start: where to begin without a saved position: 'earliest', 'latest', a position, a time (a datetime, or
                RFC 3339), or an age (a timedelta, or as '10m' or '7d').
            follow: wait for more at the end.
            timeout: seconds to wait for the next record, after which `Timeout` is raised; asking again goes on.
        """
        self._check_open()
        reader = Reader(self, _core.Reader(topics, cursor=cursor, start=_core.start(start), follow=follow,
                                           accept=FORMATS, token=self._token), timeout)
        self._readers.add(reader)
        return reader

    # The end

    def close(self, timeout: Optional[float] = None) -> None:
        """Waits until everything that was sent is settled, and ends the client and its readers.

        Args:
            timeout: seconds to wait; None is the client's close_timeout.

        Raises:
            NotSettled: some records are not known to be stored.
            RejectedError: as `flush` does.
        """
        if self._closed:
            return
        failure: Optional[Error] = None
        try:
            self.flush(self._close_timeout if timeout is None else timeout)
        except Error as e:
            failure = e
        finally:
            with self._lock:
                self._closed = True
                topics = list(self._topics.values())
                spare, self._spare = self._spare, None
                self._news.tell()
            if spare is not None:
                spare[0].close()
            for reader in list(self._readers):
                reader._end()
            for t in topics:
                t.close()
            deadline = Deadline(JOIN)
            left = sum([t.join(deadline) for t in topics])
        if left:
            raise NotSettled(left, str(failure or 'they were sent while the client was closed')) from failure
        if failure is not None:
            raise failure

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is None:
            self.close()
            return
        try:  # what was sent is settled, if that is quickly done; the exception is what is told
            self.close(min(EXIT, self._close_timeout))
        except Error as e:
            besides(value, e)

    def __repr__(self) -> str:
        return (f'<dictwire client of {self._address.text}: '
                f'{"closed" if self._closed else f"{self._window.records} records on their way"}>')

    def _check_open(self) -> None:
        if self._closed:
            raise Error('the client is closed: make another by connect')

    def _topic(self, name: str) -> _Topic:
        t = self._topics.get(name)
        if t is None:
            check_topic(name)
            global _closes_at_end
            if _closes_at_end != os.getpid():
                _closes_at_end = os.getpid()
                at_end(_flush_all, 0)
            with self._lock:
                self._check_open()
                t = self._topics.get(name)
                if t is None:
                    t = self._topics[name] = _Topic(self, name)
        return t

    def _forked(self) -> None:
        """Makes the client a new one in a forked child: what its parent holds is the parent's to send."""
        closed, spare, self._spare = self._closed, self._spare, None
        for t in self._topics.values():
            t.abandon()
        for reader in self._readers:
            reader._abandon()
        if spare is not None:
            spare[0].close()
        self._reset()
        self._closed = closed
        self.producer = f'{self._prefix}.{secrets.token_hex(8)}'


def besides(exception: BaseException, error: Error) -> None:
    """Tells an error that came while a block was left by an exception."""
    if hasattr(exception, 'add_note'):
        exception.add_note(f'dictwire: {error}')
    else:
        warnings.warn(f'dictwire: {error}', RuntimeWarning, stacklevel=3)


class _News:
    """Wakes those who wait for something to change. The client's lock guards it.

    It is a threading.Condition whose waits hold no lock, so that Ctrl-C leaves none held, or released twice. The lock
    is a plain one for the same reason: Condition's own __enter__ can be interrupted when it has it.
    """

    def __init__(self) -> None:
        self._waiters: list[threading.Lock] = []

    def waiter(self) -> threading.Lock:
        """Returns a lock that can be acquired when there are news."""
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters.append(waiter)
        return waiter

    def tell(self) -> None:
        """Wakes all."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.release()


def _wait(waiter: threading.Lock, left: Optional[float]) -> None:
    waiter.acquire(timeout=-1 if left is None else min(left, threading.TIMEOUT_MAX))


class _Topic:
    """A topic's records and the thread that carries them. The client's lock guards them."""

    def __init__(self, client: Client, name: str) -> None:
        self.client, self.closed = client, False
        self.log = Log(name, client.producer, client._window, token=client._token, accept_lost=client._accept_lost)
        self.lock, self.news = client._lock, client._news
        self._asleep = False  # the thread waits for its socket, or for work
        self._out = memoryview(b'')  # what the socket has not taken yet; the thread's own unless it is asleep
        self._retry = 0.0  # seconds that the server asked for
        self._wake, self._woken = socket.socketpair()
        for s in (self._wake, self._woken):
            s.setblocking(False)
        self._sock: Optional[socket.socket] = None
        self._thread = threading.Thread(target=self._run, name=f'dictwire {name}', daemon=True)
        try:
            self._thread.start()
        except RuntimeError as e:
            self._release()
            raise Error(f'no thread can be started for topic {name}: {e}') from None

    # Called by any thread

    def send(self, chunk: Chunk, timeout: Optional[float], asked: bool = False) -> int:
        """Takes records, all or none, and returns the last one's number."""
        window, deadline = self.client._window, None
        while True:
            with self.lock:
                self._check()
                if window.has_room(len(chunk.records), chunk.size):
                    number = self.log.take(chunk)
                    if asked:
                        self.log.asked[number] = None
                    if self._asleep and not self._sent_alone(len(chunk.records)):
                        self.wake()
                        self._asleep = False
                    return number
                deadline = deadline or Deadline(timeout)
                left = deadline.left()
                if left == 0:
                    raise Timeout(window.full(deadline.timeout))
                waiter = self.news.waiter()
                self.wake()  # for an earlier call that was interrupted before it did
            _wait(waiter, left)

    def _sent_alone(self, count: int) -> bool:
        """Writes what was just taken, where nothing else is on its way: that saves a turn of the thread, which sleeps.

        It reports whether all is written. The lock is held.
        """
        core, sock = self.log.core, self._sock
        if core.pending > count or not core.ready or sock is None or isinstance(sock, ssl.SSLSocket):
            return False
        try:
            self._out = memoryview(core.data_to_send())
            self._out = _write(sock, self._out)
        except OSError:
            return False  # the thread sees it, too
        except BaseException:  # how much was written is not known: another connection goes on where the server is
            self.log.core.ready = False
            sock.shutdown(socket.SHUT_RDWR)
            raise
        return not self._out and not core.unsent

    def _check(self) -> None:
        if self.log.failed is not None:
            raise self.log.failed
        self.client._check_open()

    def ask(self, chunk: Chunk, timeout: Optional[float]) -> dict[Any, Any]:
        number = self.send(chunk, timeout, asked=True)
        try:
            self.wait(number, number, timeout)
            return self.log.reply(number)
        finally:
            self.log.asked.pop(number, None)

    def wait(self, begin: int, end: int, timeout: Optional[float]) -> None:
        """Returns when records are stored, or raises why not."""
        self._settled(end, timeout)
        with self.lock:
            error = self.log.outcome(begin, end)
        if error is not None:
            raise error

    def flush(self, timeout: Optional[float]) -> None:
        """Returns when all records are settled."""
        with self.lock:
            last = self.log.core.last
        self._settled(last, timeout)

    def _settled(self, number: int, timeout: Optional[float]) -> None:
        """Returns when all records up to a number are settled."""
        core, deadline = self.log.core, Deadline(timeout)
        while True:
            with self.lock:
                if core.acked >= number:
                    return
                self._check()
                left = deadline.left()
                if left == 0:
                    raise Timeout(self.log.late(number, deadline.timeout))
                waiter = self.news.waiter()
                if self._asleep and core.pending:
                    self.wake()  # for an earlier call that was interrupted before it did
            _wait(waiter, left)

    def close(self) -> None:
        """Has the thread end."""
        with self.lock:
            self.closed = True
            self.news.tell()
        self.wake()

    def join(self, deadline: Deadline) -> int:
        """Waits for the thread's end, and returns how many records are not settled."""
        self._thread.join(deadline.left())
        return self.log.core.pending

    def abandon(self) -> None:
        """Drops all in a forked child, where the thread does not exist."""
        self.lock = threading.Lock()
        self.log.failed = self.log.failed or Error('the record was sent before the fork: it is the parent\'s to settle')
        self.closed = True
        self._release()

    def _release(self) -> None:
        for s in (self._wake, self._woken, self._sock):
            if s is not None:
                s.close()

    def wake(self) -> None:
        try:
            self._wake.send(b'.')
        except OSError:  # it is woken already, or has ended
            pass

    # The thread

    def _run(self) -> None:
        try:
            self._carry()
        except Exception as e:  # nobody else would tell those who wait
            with self.lock:
                self.log.fail(Error(f'topic {self.log.topic} can\'t go on: {type(e).__name__}: {e}'))
                self.news.tell()
        finally:
            self._release()

    def _carry(self) -> None:
        log, pause = self.log, Pauses()
        while True:
            with self.lock:
                idle = self._asleep = not log.core.pending
            if idle:
                self._sleep(None)
            if self.closed or log.failed is not None:
                return
            server: Optional[int] = None
            try:
                self._sock, server = self.client._connect()
                if self._session(self._sock):
                    pause = Pauses()
            except (OSError, Unavailable):
                pass
            finally:
                sock, self._sock = self._sock, None
                if sock is not None:
                    sock.close()
            if log.core.pending and not self.closed and log.failed is None:
                if server is not None:
                    self.client._address.servers.ended(server, log.core.served, self._retry)
                self._sleep(max(next(pause), self._retry))

    def _sleep(self, timeout: Optional[float]) -> None:
        """Waits so many seconds, or until there is something to send; or until the topic is closed."""
        deadline = Deadline(timeout)
        with selectors.DefaultSelector() as s:
            s.register(self._woken, selectors.EVENT_READ)
            while not self.closed:
                left = deadline.left()
                if left == 0:
                    return
                s.select(left)
                self._drain()
                if left is None and self.log.core.pending:
                    return

    def _drain(self) -> None:
        try:
            while self._woken.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _session(self, sock: socket.socket) -> bool:
        """Carries records over one connection until it ends. Returns whether it was welcomed."""
        core, self._retry = self.log.core, 0.0
        sock.setblocking(False)
        with self.lock:
            self._out = memoryview(core.connect(time.monotonic(), attempt()))
        idle_since: Optional[float] = None
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            selector.register(sock, selectors.EVENT_READ)
            watched = selectors.EVENT_READ
            while True:
                with self.lock:
                    if self.closed:
                        return core.welcomed
                    if not self._out:
                        self._out = memoryview(core.data_to_send())
                    wrote = bool(self._out)
                    self._asleep = not wrote
                    idle = not core.pending
                if wrote:
                    self._out = _write(sock, self._out)
                now = time.monotonic()
                idle_since = (idle_since or now) if idle else None
                until = core.deadline() if idle_since is None else min(core.deadline(), idle_since + IDLE)
                if now >= until:
                    return core.welcomed
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
                if wanted != watched:
                    selector.modify(sock, wanted)
                    watched = wanted
                for key, events in selector.select(0 if wrote and not self._out else until - now):
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
            if not data:
                return False
            with self.lock:
                end = self.log.receive(data, time.monotonic())
                self.news.tell()
            if end is not None:
                self._retry = end.retry
                return False
            if not isinstance(sock, ssl.SSLSocket) or not sock.pending():
                return True


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
    """An iterator over the records of a subscription, for one thread at a time.

    Asking for the next record commits the one before, where there is a cursor; `break` and exceptions do not, so
    that it comes again. A connection that breaks is made again, and reading goes on where it was.

    Raises, when the next record is asked for:
        SkippedError, DamagedError: records are gone; asking again goes on after them.
        LossError: a record can't be read; asking again goes on after it, where the error has a position.
        Timeout: nothing came in time; asking again goes on.
        LostError, FencedError, ForbiddenError, …: it can't go on.
    """

    def __init__(self, client: Client, core: _core.Reader, timeout: Optional[float]) -> None:
        self._client, self._core, self._timeout = client, core, timeout
        self._feed = Feed(core)
        self._sock: Optional[socket.socket] = None
        self._server = 0  # with which it is
        self._pauses = Pauses()
        self._until: Optional[float] = None  # when the next connection is tried
        self._user: Optional[int] = None  # the thread whose call is under way, or was interrupted
        self._closing = False

    @property
    def position(self) -> Optional[str]:
        """The position after the last record that was returned, or None before the first."""
        return self._feed.position

    def __iter__(self) -> Reader:
        return self

    def __next__(self) -> Record:
        self._begin()
        try:
            self._feed.ask()
            deadline = None
            while True:
                record = self._feed.take()
                if record is not None:
                    return record
                if self._feed.ended:
                    self._finish(5.0)
                    raise StopIteration
                deadline = deadline or Deadline(self._timeout)
                self._more(deadline)
        finally:
            self._user = None

    def commit(self, timeout: Optional[float] = 15.0) -> None:
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
                    self._more(deadline)
                    self._feed.check()
        finally:
            self._user = None

    def close(self) -> None:
        """Ends the reading. What was asked to be committed before is committed, if that takes no more than 5 s."""
        self._close(5.0)

    def _close(self, seconds: float) -> None:
        self._begin()
        try:
            self._finish(seconds)
        finally:
            self._user = None

    def _begin(self) -> None:
        if self._user not in (None, threading.get_ident()):
            raise Error('another thread uses the reader: make one for each')
        self._user = threading.get_ident()

    def _finish(self, seconds: float) -> None:
        deadline, self._closing = Deadline(seconds), True
        try:
            while self._core.uncommitted and self._feed.failed is None:
                self._more(deadline)
        except Error:
            pass
        finally:
            self._feed.ended = True
            self._disconnect()

    def _end(self) -> None:
        """Ends the reading with its client: at once where another thread waits in it."""
        if self._user in (None, threading.get_ident()):
            self._close(JOIN)
            return
        sock = self._sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _abandon(self) -> None:
        """Ends the reading in a forked child, without a word to the server."""
        self._user = None
        self._feed.fail(Error('the reader was made before the fork: make another by read'))
        self._disconnect()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self._close(JOIN)
        except Exception:  # at the interpreter's end anything may be gone
            pass

    def __repr__(self) -> str:
        return f'<dictwire reader of {self._core.subscribe}: at {self.position or "its start"}>'

    def _disconnect(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def _more(self, deadline: Deadline) -> None:
        """Waits for events, over a new connection where there is none."""
        whole = False  # whether all that the socket gave was taken
        try:
            self._receive(deadline)
            whole = True
        finally:
            if not whole:
                self._disconnect()

    def _receive(self, deadline: Deadline) -> None:
        if not self._closing:
            self._client._check_open()
        left = deadline.left()
        if left == 0:
            raise Timeout(f'nothing came for {deadline.timeout:g} s; asking again goes on')
        feed, core = self._feed, self._core
        if feed.broken is not None:
            if self._sock is not None:
                self._client._address.servers.ended(self._server, core.served, feed.broken)
            self._disconnect()
            if self._until is None:
                self._until = time.monotonic() + max(feed.broken, next(self._pauses))
            pause = self._until - time.monotonic()
            if pause > 0:
                time.sleep(pause if left is None else min(pause, left))
                return
            feed.broken = self._until = None
        now = time.monotonic()
        try:
            if self._sock is None:
                self._sock, self._server = self._client._connect()
                self._send(feed.connect(now, attempt()), left)
            self._send(core.data_to_send(now), left)
            until = max(0.001, core.deadline() - now)
            self._sock.settimeout(until if left is None else max(0.001, min(left, until)))
            data = self._sock.recv(READ_SIZE)
        except socket.timeout:  # TimeoutError from Python 3.10 on
            if core.dead(time.monotonic()):
                self._client._address.servers.ended(self._server, core.served, 0.0)
                self._disconnect()
            return
        except (OSError, Unavailable):
            data = b''
        if data:
            self._pauses = Pauses()
            feed.feed(data, time.monotonic())
        else:
            feed.broken = 0.0

    def _send(self, data: bytes, timeout: Optional[float]) -> None:
        if data and self._sock is not None:
            self._sock.settimeout(timeout)
            try:
                self._sock.sendall(data)
            except socket.timeout:
                raise ConnectionError('it takes nothing') from None  # part of it may have gone out


_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def _flush_all() -> None:
    deadline = Deadline(EXIT)
    for client in list(_clients):
        try:
            client.close(deadline.left())
        except Exception as e:  # nobody is left to raise it to
            print(f'dictwire: at the end of the program: {e}', file=sys.stderr)


def _forked() -> None:
    for client in list(_clients):
        client._forked()


_closes_at_end = 0  # the process that does


def at_end(call: Callable[[], None], priority: int) -> None:
    """Has a child of multiprocessing call at its end what atexit would: such a child ends without it."""
    finalize = getattr(sys.modules.get('multiprocessing.util'), 'Finalize', None)
    if finalize is not None:
        finalize(None, call, exitpriority=priority)


atexit.register(_flush_all)
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forked)
