"""Reading without I/O."""

from __future__ import annotations

from collections import deque
from typing import Any, Optional, Union

from . import _core
from ._core import Batch
from ._errors import DamagedError, Error, LossError, SkippedError, remote
from ._records import Record, Source
from ._values import decode


class Feed:
    """The state of a reader: the next record, what to commit, and when to connect again.

    Attributes:
        ended: there are no more records.
        failed: the error that ended the reader, or None.
        broken: None while the connection is usable, else the least seconds to wait before the next one.
    """

    def __init__(self, core: _core.Reader, servers: _core.Servers) -> None:
        self.core, self.ended = core, False
        self.failed: Optional[Error] = None
        self.broken: Optional[float] = None
        self._retry, self._server = _core.Retry(servers), -1
        self._retry_at: Optional[float] = None
        self._reached: Union[Record, str, None] = None  # the record returned last, or the position after it
        self._events: deque[_core.Event] = deque()
        self._fed: Optional[str] = None  # everything below this position was returned, or is in _events
        self._batch: Optional[Batch] = None  # the first of _events, while its records are returned
        self._index = 0  # of its next record
        self._source: Any = None
        self._current: Optional[Record] = None

    # The connection

    def pause(self, now: float) -> float:
        """Returns the seconds to wait before the next attempt to connect, or 0."""
        if self.broken is None:
            return 0.0
        if self._retry_at is None:
            self._retry_at = now + self._retry.delay(self.core, None if self._server < 0 else self._server, self.broken)
        if now >= self._retry_at:
            self.broken, self._retry_at, self._server = None, None, -1
            return 0.0
        return self._retry_at - now

    def connect(self, server: int, now: float, attempt: int) -> bytes:
        """Begins a connection to a server. Returns the greeting. Events that were not handled are received again."""
        self._server, self.core.position = server, self._fed
        return self.core.connect(now, attempt)

    def patience(self, now: float, left: Optional[float]) -> float:
        """Returns how many seconds to wait for data, at most `left`, before calling `silent`."""
        until = max(0.001, self.core.deadline() - now)
        return until if left is None else max(0.001, min(left, until))

    def feed(self, data: bytes, now: float) -> None:
        """Handles received bytes; none means that the connection was closed."""
        if not data:
            self.lost()
            return
        self._events += self.core.receive_data(data, now)
        self._fed = self.core.position

    def silent(self, now: float) -> None:
        """Handles a time-out: a connection on which nothing arrives for long is dead."""
        if self.core.dead(now):
            self.lost()

    def lost(self) -> None:
        """Handles a connection that broke, or could not be made."""
        self.broken = 0.0

    # The records

    def fail(self, error: Error) -> None:
        """Ends the reader. Records that were not returned yet are dropped."""
        self._events.clear()
        self._batch, self._current, self.failed = None, None, error

    def ask(self) -> None:
        """Begins a request for the next record, which commits the one before."""
        if self._current is not None:
            if self.core.has_cursor:
                self.core.commit(self._current.after)
            self._current = None

    def take(self) -> Optional[Record]:
        """Returns the next record, or None if more data is needed or there are no more records.

        An event is removed only once it has been handled, so that a call interrupted by Ctrl-C loses nothing. For the
        same reason this is not a generator, which an exception would end.
        """
        while True:
            if self._batch is not None:
                if self._index <= self._source.last:
                    return self._record(self._batch)
                if self._events and self._events[0] is self._batch:
                    self._events.popleft()
                self._batch = None
            if not self._events or self.broken is not None:
                if self.failed is not None:
                    raise self.failed
                return None
            event = self._events[0]
            if isinstance(event, Batch):
                self._source, self._index = Source(event), 0
                self._batch = event
                continue
            error: Optional[Error] = None
            if isinstance(event, _core.Progress):
                self._commit(event.next)
            elif isinstance(event, _core.End):
                self._commit(event.next)
                self.ended = True
            elif isinstance(event, _core.Skipped):
                self._reached = event.next
                error = SkippedError(event.start, event.end, event.topic)
            elif isinstance(event, _core.Damaged):
                self._reached = event.next
                error = DamagedError(event.start, event.end, event.topic, event.error)
            elif isinstance(event, _core.Ended):
                if event.stop:
                    self.failed = remote(event.code, event.text)
                self.broken = event.retry
            elif isinstance(event, _core.Broken):
                self.failed = event.error
            self._events.popleft()
            if error is not None:
                raise error

    def _record(self, batch: Batch) -> Record:
        """Returns the next record of a batch, or raises LossError if it can't be decoded."""
        index, source = self._index, self._source
        try:
            record = Record(decode(batch.records[index], batch.format), source, index)
        except ValueError as e:
            at, after = source.position(index), source.position(index + 1)
            self._index, self._reached = index + 1, after
            raise LossError(f'the record at {at}, topic {batch.topic}: {e}; the next call continues after it',
                            position=at, after=after) from None
        self._index = index + 1
        self._current = self._reached = record
        return record

    @property
    def position(self) -> Optional[str]:
        """The position after the record that was returned last."""
        return self._reached.after if isinstance(self._reached, Record) else self._reached

    def commit(self) -> bool:
        """Requests a commit of the record that was returned last. Returns False if there is none."""
        position = self.position
        if position is not None:
            self.core.commit(position)
        return position is not None

    def check(self) -> None:
        """Raises the error with which the server ended the session, even if records before it were not returned."""
        if self.failed is not None:
            raise self.failed
        for event in self._events:
            if isinstance(event, _core.Ended) and event.stop:
                raise remote(event.code, event.text)
            if isinstance(event, _core.Broken):
                raise event.error

    def _commit(self, position: str) -> None:
        if self.core.has_cursor:
            self.core.commit(position)
