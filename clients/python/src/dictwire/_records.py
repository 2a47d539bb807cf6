"""What a reader yields."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Optional, Union

from . import _cbor, _core
from ._core import Batch, advanced
from ._errors import DamagedError, Error, LossError, SkippedError, remote
from ._values import decode

if TYPE_CHECKING:
    from datetime import datetime


class _Source:
    """What the records of a batch share."""

    __slots__ = ('at', 'first', 'last', 'next', 'principal', 'producer', 'time', 'topic')

    def __init__(self, batch: Batch) -> None:
        self.at, self.next, self.last = batch.at, batch.next, len(batch.records) - 1
        self.topic, self.principal, self.producer = batch.topic, batch.principal, batch.producer
        self.first, self.time = batch.first, batch.time

    def position(self, index: int) -> str:
        """Returns where a record stands, or the position after the last."""
        if index == 0:
            return self.at
        return advanced(self.at, index) if index <= self.last else self.next


class Record:
    """A dictionary that was read, and where it came from.

    Attributes:
        data: the dictionary.
    """

    __slots__ = ('_index', '_source', 'data')

    def __init__(self, data: dict[Any, Any], source: _Source, index: int) -> None:
        self.data, self._source, self._index = data, source, index

    @property
    def topic(self) -> str:
        """Whose record it is."""
        return self._source.topic

    @property
    def position(self) -> str:
        """Where it stands in the store: reading that starts there begins with this record."""
        return self._source.position(self._index)

    @property
    def after(self) -> str:
        """The position after it: where reading goes on."""
        return self._source.position(self._index + 1)

    @property
    def time(self) -> datetime:
        """When the server took it, in UTC."""
        when: datetime = _cbor._datetime(self._source.time)
        return when

    @property
    def principal(self) -> Optional[str]:
        """Who sent it, as the server knows him, or None where that is anonymous."""
        return self._source.principal

    @property
    def producer(self) -> Optional[str]:
        """The name under which its sender numbers records, or None."""
        return self._source.producer

    @property
    def number(self) -> Optional[int]:
        """Its number among those of its producer, or None."""
        return None if self._source.first is None else self._source.first + self._index

    def __repr__(self) -> str:
        return f'<{self.topic} {self.position}: {self.data!r}>'


class Feed:
    """What both readers are but for their connection: the next record, and what is to be committed.

    Attributes:
        ended: there is no more.
        failed: why it can't go on.
        broken: the server ended the connection; seconds to wait before the next one. None while it is of use.
    """

    def __init__(self, core: _core.Reader) -> None:
        self.core, self.ended = core, False
        self.failed: Optional[Error] = None
        self.broken: Optional[float] = None
        self._reached: Union[Record, str, None] = None  # what was returned last, or the position after it
        self._events: deque[Any] = deque()
        self._fed: Optional[str] = None  # everything below it is in _events, or was returned
        self._batch: Optional[Batch] = None  # the first of _events, while its records are returned
        self._index = 0  # of the next one
        self._source: Any = None
        self._current: Optional[Record] = None

    def connect(self, now: float, attempt: int) -> bytes:
        """Begins a connection, and returns the greeting. What an interrupted call had not taken comes again."""
        self.core.position = self._fed
        return self.core.connect(now, attempt)

    def feed(self, data: bytes, now: float) -> None:
        """Takes what came."""
        self._events += self.core.receive_data(data, now)
        self._fed = self.core.position

    def fail(self, error: Error) -> None:
        """Drops what was not returned yet: it can't go on."""
        self._events.clear()
        self._batch, self._current, self.failed = None, None, error

    def ask(self) -> None:
        """Says that the next record is asked for: the one before may be committed."""
        if self._current is not None:
            if self.core.has_cursor:
                self.core.commit(self._current.after)
            self._current = None

    def take(self) -> Optional[Record]:
        """Returns the next record, or None where more is to be received first, or nothing comes any more.

        An event is dropped when it is done with, and there is no generator that an interrupt would end: what a call
        that was interrupted had not returned comes with the next one.
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
                self._source, self._index = _Source(event), 0
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
        """Returns the next record of a batch. Raises LossError where it can't be read."""
        index, source = self._index, self._source
        try:
            record = Record(decode(batch.records[index], batch.format), source, index)
        except ValueError as e:
            at, after = source.position(index), source.position(index + 1)
            self._index, self._reached = index + 1, after
            raise LossError(f'the record at {at}, topic {batch.topic}: {e}; ask for the next record to go on after it',
                            position=at, after=after) from None
        self._index = index + 1
        self._current = self._reached = record
        return record

    @property
    def position(self) -> Optional[str]:
        """The position after what was returned last."""
        return self._reached.after if isinstance(self._reached, Record) else self._reached

    def commit(self) -> bool:
        """Asks for the cursor to be moved after what was returned last, if anything was."""
        position = self.position
        if position is not None:
            self.core.commit(position)
        return position is not None

    def check(self) -> None:
        """Raises what the server said against the session, if that was the last thing it said."""
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
