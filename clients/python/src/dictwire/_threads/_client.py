"""The blocking client."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Optional, Union

from .. import _core
from .._base import BaseClient, BaseReceipt, note
from .._deadline import Deadline
from .._errors import Error, Unavailable
from .._sending import EXIT, chunks, flushed
from . import _process
from ._reader import Reader
from ._topic import Topic
from ._waiters import Waiters

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    from .._values import Default

JOIN = 1.0  # seconds that close() waits for threads, which end by themselves


class Receipt(BaseReceipt):
    """A record that was sent.

    Attributes:
        number: its number in the producer's sequence for the topic, starting at 1.
    """

    __slots__ = ()

    def wait(self, timeout: Optional[float] = None) -> Receipt:
        """Returns when the record is stored: durable in its topic.

        Args:
            timeout: seconds to wait. Defaults to no limit.

        Raises:
            RejectedError: the record is durable in `_rejected` instead.
            Timeout: the outcome is not known yet; sending continues.
            LostError, ConflictError, FencedError, …: the topic can't continue.
        """
        self._topic.wait(self.number, self.number, timeout)
        return self


class Client(BaseClient):
    """Sends dictionaries to a server and reads them back. Any number of threads may share it.

    Each record is stored exactly once, despite failures of the network and the server, as long as the process lives.
    Made by `connect`. It is a context manager, which waits for pending records when the block ends. Don't call its
    methods from signal handlers or `__del__`, which may interrupt one of them.

    A forked child gets its own producer: the parent's pending records, receipts and readers stay with the parent.

    Attributes:
        producer: the name under which its records are numbered.
    """

    def _reset(self) -> None:
        super()._reset()
        self._lock = threading.Lock()
        self._waiters = Waiters()
        self._topics: dict[str, Topic] = {}
        self._readers: weakref.WeakSet[Reader] = weakref.WeakSet()
        self._spare: Optional[tuple[socket.socket, int]] = None  # the constructor's connection, until it is used

    def _start(self) -> None:
        deadline = Deadline(self._wait)
        for delay in _core.Backoff():
            try:
                self._spare = self._address.connect()
                break
            except Unavailable:
                left = deadline.left()
                if not left:
                    raise
                time.sleep(min(delay, left))
        _process.clients.add(self)

    def _connect(self) -> tuple[socket.socket, int]:
        """Returns a connection, and the index of its server."""
        with self._lock:
            spare, self._spare = self._spare, None
        return spare or self._address.connect()

    # Sending

    def send(self, dictionary: Mapping[Any, Any], topic: str = 'default', *, timeout: Optional[float] = None,
             default: Optional[Default] = None) -> Receipt:
        """Queues a dictionary to be sent, and returns its receipt without waiting for the server.

        Args:
            dictionary: see `dictwire.plain` for supported values.
            topic: words of letters, digits, _ and -, separated by dots.
            timeout: seconds to wait while the window is full. Defaults to no limit.
            default: a function that is called with each unsupported value, and returns a supported one.

        Raises:
            TypeError: a value is not supported; the message contains its path. Nothing is sent.
            ValueError: the topic's name is invalid.
            Timeout: the window stayed full. Nothing is sent.
            LostError, ConflictError, FencedError, …: the topic can't continue. Nothing is sent.
        """
        t, chunk = self._topic(topic), self._encode(dictionary, default)
        return Receipt(t, t.send(chunk, timeout))

    def send_many(self, dictionaries: Iterable[Mapping[Any, Any]], topic: str = 'default', *,
                  timeout: Optional[float] = None, default: Optional[Default] = None) -> int:
        """Sends any number of dictionaries, and returns how many when all are settled.

        Args:
            timeout: seconds for each wait: for room in the window, and for the last records to be settled.

        Raises:
            TypeError, or what the iterable raises: the dictionaries before that are sent.
            RejectedError: the first record that was rejected, with the rest in `others`. All other records are stored.
            Timeout: the window stayed full, and the rest is not sent; or the last records are not settled yet.
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
        """Sends a dictionary and returns the reply of the server's handler.

        Raises:
            RejectedError: the handler rejected the record.
            NoReply: the record is settled without a reply, or the reply was lost with a connection.
            Timeout: the outcome is not known yet; sending continues.
        """
        t, chunk = self._topic(topic), self._encode(dictionary, default)
        return t.ask(chunk, timeout)

    def flush(self, timeout: Optional[float] = None) -> None:
        """Returns when everything that was sent is settled.

        Args:
            timeout: seconds to wait. Defaults to no limit.

        Raises:
            RejectedError: the first rejected record that no other call has raised, with the rest in `others`. All
                records are settled.
            Timeout: some records are not settled; sending continues.
            LostError, ConflictError, …: a topic can't continue.
        """
        deadline, failures = Deadline(timeout), []
        with self._lock:
            pending = [(t, t.log.core.last) for t in self._topics.values()]
        for t, last in pending:
            try:
                t.settle(last, deadline)
            except Error as e:
                failures.append(e)
        with self._lock:
            flushed([t.log for t, _ in pending], failures)

    # Reading

    def read(self, topics: Union[str, list[str]] = '*', *, cursor: Optional[str] = None,
             start: Union[str, datetime, timedelta] = 'earliest', follow: bool = False,
             timeout: Optional[float] = None) -> Reader:
        """Returns an iterator over records: see `Reader`.

        Args:
            topics: a topic, a pattern such as 'orders.*' or '*', or a list of them.
            cursor: the name of a position that the server saves. Asking for the next record commits the one before.
            start: where to start without a saved position: 'earliest', 'latest', a position, a time (a datetime, or
                RFC 3339), or an age (a timedelta, or a string such as '10m' or '7d').
            follow: at the end, wait for new records.
            timeout: seconds to wait for each record before raising `Timeout`. Defaults to no limit.
        """
        reader = Reader(self, self._subscription(topics, cursor, start, follow), timeout)
        self._readers.add(reader)
        return reader

    # Closing

    def close(self, timeout: Optional[float] = None) -> None:
        """Waits until everything that was sent is settled, then closes the client and its readers.

        Args:
            timeout: seconds to wait. Defaults to the client's close_timeout.

        Raises:
            NotSettled: some records may not be stored.
            RejectedError: as for `flush`.
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
                self._waiters.notify_all()
            if spare is not None:
                spare[0].close()
            for reader in list(self._readers):
                reader._end()
            for t in topics:
                t.close()
            deadline = Deadline(JOIN)
            left = sum([t.join(deadline) for t in topics])
        self._finish(left, failure)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is None:
            self.close()
            return
        try:  # the exception that left the block matters more than waiting
            self.close(min(EXIT, self._close_timeout))
        except Error as e:
            note(value, e)

    def _topic(self, name: str) -> Topic:
        t = self._topics.get(name)
        if t is None:
            _process.close_at_exit()
            with self._lock:
                self._check_open()
                t = self._topics.get(name)
                if t is None:
                    t = self._topics[name] = Topic(self, name)
        return t

    def _after_fork(self) -> None:
        """Makes the client a new one in a forked child: the parent sends its own records."""
        closed, spare = self._closed, self._spare
        for t in self._topics.values():
            t.abandon()
        for reader in self._readers:
            reader._abandon()
        if spare is not None:
            spare[0].close()
        self._reset()
        self._closed = closed
