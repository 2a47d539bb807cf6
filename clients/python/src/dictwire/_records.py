"""What a reader yields."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Optional, Union

from . import _cbor, _core
from ._core import Batch, advanced
from ._errors import DamagedError, Error, LossError, ProtocolError, SkippedError, remote
from ._values import decode

if TYPE_CHECKING:
    from collections.abc import Iterator
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


def records(batch: Batch) -> Iterator[Union[Record, LossError]]:
    """Yields the records of a batch, and what keeps one from being read in its place."""
    source = _Source(batch)
    for i, record in enumerate(batch.records):
        try:
            data = decode(record, batch.format)
        except ValueError as e:
            at, after = source.position(i), source.position(i + 1)
            yield LossError(f'the record at {at}, topic {batch.topic}: {e}; ask for the next record to go on after it',
                            position=at, after=after)
        else:
            yield Record(data, source, i)


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
        self._queue: Iterator[Union[Record, LossError]] = iter(())
        self._current: Optional[Record] = None

    def connect(self, now: float, attempt: int) -> bytes:
        """Begins a connection, and returns the greeting. What an interrupted call had not taken comes again."""
        self.core.position = self._fed
        return self.core.connect(now, attempt)

    def feed(self, data: bytes, now: float) -> None:
        """Takes what came."""
        try:
            self._events += self.core.receive_data(data, now)
        except ProtocolError as e:
            self.failed = e
        self._fed = self.core.position

    def ask(self) -> None:
        """Says that the next record is asked for: the one before may be committed."""
        if self._current is not None:
            if self.core.has_cursor:
                self.core.commit(self._current.after)
            self._current = None

    def take(self) -> Optional[Record]:
        """Returns the next record, or None where more is to be received first, or nothing comes any more."""
        while True:
            for record in self._queue:
                if isinstance(record, LossError):
                    self._reached = record.after
                    raise record
                self._current = self._reached = record
                return record
            if not self._events or self.broken is not None:
                if self.failed is not None:
                    raise self.failed
                return None
            event = self._events.popleft()
            if isinstance(event, Batch):
                self._queue = records(event)
            elif isinstance(event, _core.Progress):
                self._commit(event.next)
            elif isinstance(event, _core.End):
                self._commit(event.next)
                self.ended = True
            elif isinstance(event, _core.Skipped):
                self._reached = event.next
                raise SkippedError(event.start, event.end, event.topic)
            elif isinstance(event, _core.Damaged):
                self._reached = event.next
                raise DamagedError(event.start, event.end, event.topic, event.error)
            elif isinstance(event, _core.Ended):
                if event.stop:
                    self.failed = remote(event.code, event.text)
                self.broken = event.retry

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

    def _commit(self, position: str) -> None:
        if self.core.has_cursor:
            self.core.commit(position)
