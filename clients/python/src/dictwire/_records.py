"""What a reader yields."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Optional

from . import _cbor, _core
from ._core import Batch, advanced
from ._errors import DamagedError, SkippedError, remote
from ._values import decode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime


class Record:
    """A dictionary that was read, and where it came from.

    Attributes:
        data: the dictionary.
        topic: whose record it is.
        position: where it stands in the store.
        after: the position after it: where reading goes on.
        producer: who numbered it, or None.
        number: its number, or None.
    """

    __slots__ = ('_time', 'after', 'data', 'number', 'position', 'producer', 'topic')

    def __init__(self, data: dict[Any, Any], topic: str, position: str, after: str, time: str,
                 producer: Optional[str], number: Optional[int]) -> None:
        self.data, self.topic, self.position, self.after = data, topic, position, after
        self.producer, self.number, self._time = producer, number, time

    @property
    def time(self) -> datetime:
        """When the server took it, in UTC."""
        when: datetime = _cbor._datetime(self._time)
        return when

    def __repr__(self) -> str:
        return f'<{self.topic} {self.position}: {self.data!r}>'


def records(batch: Batch) -> Iterator[Record]:
    """Yields the records of a batch."""
    last = len(batch.records) - 1
    for i, record in enumerate(batch.records):
        yield Record(
            decode(record, batch.format), batch.topic, advanced(batch.at, i) if i else batch.at,
            batch.next if i == last else advanced(batch.at, i + 1), batch.time,
            batch.producer, None if batch.first is None else batch.first + i)


class Feed:
    """What both readers are but for their connection: the next record, and what is to be committed.

    Attributes:
        ended: there is no more.
        broken: the server ended the connection; seconds to wait before the next one. None while it is of use.
        reached: the position after what was returned last.
    """

    def __init__(self, core: _core.Reader) -> None:
        self.core, self.ended = core, False
        self.broken: Optional[float] = None
        self.reached: Optional[str] = None
        self._events: deque[Any] = deque()
        self._queue: Iterator[Record] = iter(())
        self._current: Optional[Record] = None

    def feed(self, data: bytes, now: float) -> None:
        """Takes what came."""
        self._events += self.core.receive_data(data, now)

    def ask(self) -> None:
        """Says that the next record is asked for: the one before may be committed."""
        if self._current is not None:
            self._commit(self._current.after)
            self._current = None

    def take(self) -> Optional[Record]:
        """Returns the next record, or None where more is to be received first, or nothing comes any more."""
        while True:
            for record in self._queue:
                self._current, self.reached = record, record.after
                return record
            if not self._events or self.broken is not None:
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
                self.reached = event.next
                raise SkippedError(event.start, event.end, event.topic)
            elif isinstance(event, _core.Damaged):
                self.reached = event.next
                raise DamagedError(event.start, event.end, event.topic, event.error)
            elif isinstance(event, _core.Ended):
                if event.stop:
                    self.ended = True
                    raise remote(event.code, event.text)
                self.broken = event.retry

    def commit(self) -> bool:
        """Asks for the cursor to be moved after what was returned last, if anything was."""
        position = self._current.after if self._current is not None else self.reached
        if position is not None:
            self.core.commit(position)
        return position is not None

    def check(self) -> None:
        """Raises what the server said against the session, if that was the last thing it said."""
        for event in self._events:
            if isinstance(event, _core.Ended) and event.stop:
                raise remote(event.code, event.text)

    def _commit(self, position: str) -> None:
        if self.core.has_cursor:
            self.core.commit(position)
