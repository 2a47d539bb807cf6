"""A thread that carries the records of one topic."""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any, Optional

from .._address import attempt
from .._base import READ_SIZE, BaseTopic
from .._deadline import Deadline
from .._errors import Error, Timeout, Unavailable
from ._waiters import wait

if TYPE_CHECKING:
    from .._sending import Chunk
    from ._client import Client


class Topic(BaseTopic):
    """A client's log of one topic and the thread that sends it. The client's lock guards the log."""

    def __init__(self, client: Client, name: str) -> None:
        super().__init__(client, name)
        self.client, self.closed = client, False
        self.lock, self.waiters = client._lock, client._waiters
        self._asleep = False  # whether the thread waits for its socket or for records
        self._out = memoryview(b'')  # what the socket has not accepted yet; belongs to the thread unless it is asleep
        self._retry_after = 0.0  # seconds that the server asked to wait
        self._wake, self._woken = socket.socketpair()
        for s in (self._wake, self._woken):
            s.setblocking(False)
        self._sock: Optional[socket.socket] = None
        self._thread = threading.Thread(target=self._run, name=f'dictwire {name}', daemon=True)
        try:
            self._thread.start()
        except RuntimeError as e:
            self._release()
            raise Error(f'can\'t start a thread for topic {name}: {e}') from None

    # Called by any thread

    def send(self, chunk: Chunk, timeout: Optional[float], asked: bool = False) -> int:
        """Adds records, all or none, and returns the last one's number."""
        window, deadline = self.client._window, None
        while True:
            with self.lock:
                self.check()
                if window.has_room(len(chunk.records), chunk.size):
                    number = self.log.take(chunk)
                    if asked:
                        self.log.asked[number] = None
                    if self._asleep and not self._write_now(len(chunk.records)):
                        self.wake()
                        self._asleep = False
                    return number
                deadline = deadline or Deadline(timeout)
                left = deadline.left()
                if left == 0:
                    raise Timeout(window.full(deadline.timeout))
                waiter = self.waiters.add()
                self.wake()  # in case an earlier call was interrupted before it did
            wait(waiter, left)

    def _write_now(self, count: int) -> bool:
        """Writes the newest records from the calling thread if nothing else is pending, which saves a thread switch.

        Returns whether everything was written. The caller holds the lock, and the topic's thread is asleep.
        """
        core, sock = self.log.core, self._sock
        if core.pending > count or not core.ready or sock is None or isinstance(sock, ssl.SSLSocket):
            return False
        try:
            self._out = memoryview(core.data_to_send())
            self._out = _write(sock, self._out)
        except OSError:
            return False  # the thread will see it, too
        except BaseException:  # how much was written is unknown: a new connection continues where the server is
            core.ready = False
            sock.shutdown(socket.SHUT_RDWR)
            raise
        return not self._out and not core.unsent

    def ask(self, chunk: Chunk, timeout: Optional[float]) -> dict[Any, Any]:
        """Sends a record and returns the reply to it."""
        number = self.send(chunk, timeout, asked=True)
        try:
            self.wait(number, number, timeout)
            return self.log.reply(number)
        finally:
            self.log.asked.pop(number, None)

    def wait(self, begin: int, end: int, timeout: Optional[float]) -> None:
        """Returns when all records from begin to end are stored. Raises RejectedError if any was rejected."""
        self.settle(end, Deadline(timeout))
        with self.lock:
            error = self.log.outcome(begin, end)
        if error is not None:
            raise error

    def settle(self, number: int, deadline: Deadline) -> None:
        """Returns when all records up to a number are settled."""
        core = self.log.core
        while True:
            with self.lock:
                if core.acked >= number:
                    return
                left = self.left(number, deadline)
                waiter = self.waiters.add()
                if self._asleep and core.pending:
                    self.wake()  # in case an earlier call was interrupted before it did
            wait(waiter, left)

    def close(self) -> None:
        """Tells the thread to end."""
        with self.lock:
            self.closed = True
            self.waiters.notify_all()
        self.wake()

    def join(self, deadline: Deadline) -> int:
        """Waits for the thread to end, and returns how many records are not settled."""
        self._thread.join(deadline.left())
        return self.log.core.pending

    def abandon(self) -> None:
        """Ends the topic in a forked child, which does not have the thread."""
        self.lock = threading.Lock()
        self.log.failed = self.log.failed or Error('the record was sent before the fork: the parent process sends it')
        self.closed = True
        self._release()

    def _release(self) -> None:
        for s in (self._wake, self._woken, self._sock):
            if s is not None:
                s.close()

    def wake(self) -> None:
        """Wakes the thread."""
        try:
            self._wake.send(b'.')
        except OSError:  # the pipe is full, or the thread has ended
            pass

    # The thread

    def _run(self) -> None:
        try:
            self._carry()
        except Exception as e:
            with self.lock:
                self.crash(e)
                self.waiters.notify_all()
        finally:
            self._release()

    def _carry(self) -> None:
        log = self.log
        while True:
            with self.lock:
                idle = self._asleep = not log.core.pending
            if idle:
                self._sleep(None)
            if self.closed or log.failed is not None:
                return
            server, self._retry_after = None, 0.0
            try:
                self._sock, server = self.client._connect()
                self._session(self._sock)
            except (OSError, Unavailable) as e:
                log.trouble = str(e)
            finally:
                sock, self._sock = self._sock, None
                if sock is not None:
                    sock.close()
            if log.core.pending and not self.closed and log.failed is None:
                self._sleep(self.retry.delay(log.core, server, self._retry_after))

    def _sleep(self, timeout: Optional[float]) -> None:
        """Waits for timeout seconds, or, if that is None, for records; at most until the topic is closed."""
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

    def _session(self, sock: socket.socket) -> None:
        """Sends records over one connection until it ends."""
        log, core = self.log, self.log.core
        sock.setblocking(False)
        with self.lock:
            self._out = memoryview(log.connect(time.monotonic(), attempt()))
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            selector.register(sock, selectors.EVENT_READ)
            watched = selectors.EVENT_READ
            while True:
                with self.lock:
                    if self.closed:
                        return
                    if not self._out:
                        self._out = memoryview(core.data_to_send())
                    wrote = bool(self._out)
                    self._asleep = not wrote
                now = time.monotonic()
                until = log.expires(now)
                if now >= until:
                    return
                if wrote:
                    self._out = _write(sock, self._out)
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
                if wanted != watched:
                    selector.modify(sock, wanted)
                    watched = wanted
                for key, events in selector.select(0 if wrote and not self._out else until - now):
                    if key.fileobj is self._woken:
                        self._drain()
                    elif events & selectors.EVENT_READ and not self._read(sock):
                        return

    def _read(self, sock: socket.socket) -> bool:
        """Reads what has arrived, and returns whether the session continues."""
        while True:
            try:
                data = sock.recv(READ_SIZE)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return True
            if not data:
                return False
            with self.lock:
                end = self.log.receive(data, time.monotonic())
                self.waiters.notify_all()
            if end is not None:
                self._retry_after = end.retry
                return False
            if not isinstance(sock, ssl.SSLSocket) or not sock.pending():
                return True


def _write(sock: socket.socket, data: memoryview) -> memoryview:
    """Writes as much as the socket accepts, and returns the rest."""
    while data:
        try:
            n = sock.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return data
        data = data[n:]
    return data
