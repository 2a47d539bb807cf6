"""The blocking reader."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Optional

from .._address import attempt
from .._base import COMMIT, READ_SIZE, BaseReader
from .._deadline import Deadline
from .._errors import Error, Unavailable

if TYPE_CHECKING:
    from .._feed import Feed
    from .._records import Record
    from ._client import Client

CLOSE = 1.0  # seconds to wait for a commit when the reader is not closed by itself, but with its client


class Reader(BaseReader):
    """An iterator over the records of a subscription, for one thread at a time.

    With a cursor, asking for the next record commits the one before. `break` and exceptions do not, so the record is
    read again. If a connection is lost, the reader connects again and continues where it was.

    Raises, when the next record is requested:
        SkippedError, DamagedError: records are missing; the next call continues after them.
        LossError: a record can't be decoded; if the error has a position, the next call continues after it.
        Timeout: nothing arrived in time; the next call continues to wait.
        LostError, FencedError, ForbiddenError, …: the reader can't continue.
    """

    def __init__(self, client: Client, feed: Feed, timeout: Optional[float]) -> None:
        super().__init__(client, feed, timeout)
        self._sock: Optional[socket.socket] = None
        self._user: Optional[int] = None  # the thread whose call is running, or was interrupted

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
                    self._finish(COMMIT)
                    raise StopIteration
                deadline = deadline or Deadline(self._timeout)
                self._more(deadline)
        finally:
            self._user = None

    def commit(self, timeout: Optional[float] = 15.0) -> None:
        """Moves the cursor past the record that was returned last, and returns when that is durable.

        Raises:
            Timeout: the server did not answer within timeout seconds.
            ValueError: the reader has no cursor.
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
        """Closes the reader, after waiting up to 5 seconds for a commit that was requested."""
        self._close(COMMIT)

    def _close(self, seconds: float) -> None:
        self._begin()
        try:
            self._finish(seconds)
        finally:
            self._user = None

    def _begin(self) -> None:
        if self._user not in (None, threading.get_ident()):
            raise Error('another thread is using the reader: give each thread its own')
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
        """Closes the reader with its client. If another thread is waiting in it, that call is interrupted."""
        if self._user in (None, threading.get_ident()):
            self._close(CLOSE)
            return
        sock = self._sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _abandon(self) -> None:
        """Ends the reader in a forked child, without using its connection."""
        self._user = None
        self._feed.fail(Error('the reader was made before the fork: make a new one with read()'))
        self._disconnect()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self._close(CLOSE)
        except Exception:  # at interpreter exit, anything may be gone
            pass

    def _disconnect(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def _more(self, deadline: Deadline) -> None:
        """Waits for data, or for the next attempt to connect."""
        complete = False
        try:
            self._receive(self._left(deadline))
            complete = True
        finally:
            if not complete:  # interrupted: data may be lost
                self._disconnect()

    def _receive(self, left: Optional[float]) -> None:
        feed = self._feed
        if feed.broken is not None:
            self._disconnect()
        pause = feed.pause(time.monotonic())
        if pause > 0:
            time.sleep(pause if left is None else min(pause, left))
            return
        try:
            sock = self._sock
            if sock is None:
                sock, server = self._client._connect()
                self._sock = sock
                _send(sock, feed.connect(server, time.monotonic(), attempt()), left)
            now = time.monotonic()
            _send(sock, self._core.data_to_send(now), left)
            sock.settimeout(feed.patience(now, left))
            data = sock.recv(READ_SIZE)
        except socket.timeout:  # an alias of TimeoutError since Python 3.10
            feed.silent(time.monotonic())
        except (OSError, Unavailable):
            feed.lost()
        else:
            feed.feed(data, time.monotonic())


def _send(sock: socket.socket, data: bytes, timeout: Optional[float]) -> None:
    if data:
        sock.settimeout(timeout)
        try:
            sock.sendall(data)
        except socket.timeout:
            raise ConnectionError('the server reads nothing') from None  # an unknown part was sent
