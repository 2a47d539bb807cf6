"""Records as a reader returns them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from . import _cbor
from ._core import advanced

if TYPE_CHECKING:
    from datetime import datetime

    from ._core import Batch


class Source:
    """What the records of one batch have in common."""

    __slots__ = ('at', 'first', 'last', 'next', 'principal', 'producer', 'time', 'topic')

    def __init__(self, batch: Batch) -> None:
        self.at, self.next, self.last = batch.at, batch.next, len(batch.records) - 1
        self.topic, self.principal, self.producer = batch.topic, batch.principal, batch.producer
        self.first, self.time = batch.first, batch.time

    def position(self, index: int) -> str:
        """Returns the position of a record, or, one past the last, the position after the batch."""
        if index == 0:
            return self.at
        return advanced(self.at, index) if index <= self.last else self.next


class Record:
    """A dictionary that was read, and its metadata.

    Attributes:
        data: the dictionary.
    """

    __slots__ = ('_index', '_source', 'data')

    def __init__(self, data: dict[Any, Any], source: Source, index: int) -> None:
        self.data, self._source, self._index = data, source, index

    @property
    def topic(self) -> str:
        """The topic of the record."""
        return self._source.topic

    @property
    def position(self) -> str:
        """The position of the record: reading from there returns this record first."""
        return self._source.position(self._index)

    @property
    def after(self) -> str:
        """The position after the record: reading from there returns the next one first."""
        return self._source.position(self._index + 1)

    @property
    def time(self) -> datetime:
        """When the server received the record, in UTC."""
        when: datetime = _cbor._datetime(self._source.time)
        return when

    @property
    def principal(self) -> Optional[str]:
        """The authenticated sender, or None if it was anonymous."""
        return self._source.principal

    @property
    def producer(self) -> Optional[str]:
        """The producer name that the record was sent under, or None."""
        return self._source.producer

    @property
    def number(self) -> Optional[int]:
        """The number of the record in its producer's sequence, or None."""
        return None if self._source.first is None else self._source.first + self._index

    def __repr__(self) -> str:
        return f'<{self.topic} {self.position}: {self.data!r}>'
