"""A subscription: docs/protocol.md, section 4."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Optional, Union

from .._errors import ProtocolError
from ._messages import (
    MAX_BYTES,
    SILENCE,
    VERSION,
    Batch,
    Committed,
    Damaged,
    End,
    Event,
    Lines,
    Progress,
    Skipped,
    Welcomed,
    check_welcome,
    ended,
    line,
    number,
    text,
)
from ._session import Session


def _place(position: str) -> tuple[str, int, int]:
    tag, _, rest = position.partition('.')
    block, _, index = rest.partition('.')
    try:
        return tag, int(block), int(index)
    except ValueError:
        raise ProtocolError(f'the server sent the position {position!r}, want tag.number.number') from None


def start(where: Union[str, datetime, timedelta]) -> str:
    """Returns the start of a subscription in the form of the protocol."""
    if isinstance(where, datetime):
        return where.astimezone(timezone.utc).isoformat().replace('+00:00', 'Z')
    if isinstance(where, timedelta):
        age = where // timedelta(milliseconds=1)
        return f'{age}ms' if age > 0 else 'latest'
    return where


def advanced(position: str, by: int) -> str:
    """Returns the position of the record `by` records later in the same batch."""
    tag, block, index = _place(position)
    return f'{tag}.{block}.{index + by}'


def follows(position: str, other: str) -> bool:
    """Returns whether position is at or after other, in the same store."""
    a, b = _place(position), _place(other)
    return a[0] == b[0] and a[1:] >= b[1:]


class Reader(Session):
    """The state of one subscription, across connections.

    A connection goes through the states closed → greeted → open → closed; the position remains.
    It is not thread-safe.

    Args:
        subscribe: a topic, a pattern, or a list of them.
        cursor: the name of the saved position, or None.
        start: where to start without a saved position.
        follow: at the end, wait for new records.
        format: the format of all records; None for the format in which each is stored.
        accept: acceptable formats of records, preferred first.
        token: the access token.
    """

    def __init__(self, subscribe: Union[str, list[str]], *, cursor: Optional[str] = None, start: str = 'earliest',
                 follow: bool = False, format: Optional[str] = None, accept: Optional[list[str]] = None,
                 token: Optional[str] = None) -> None:
        super().__init__()
        self.position: Optional[str] = None  #: everything before it was returned
        self.committed: Optional[str] = None  #: the saved position, as the server last reported it
        self.subscribe, self._cursor, self._start, self._follow = subscribe, cursor, start, follow
        self._format, self._accept, self._token = format, accept, token
        self._batch: Optional[tuple[dict[str, Any], list[int]]] = None  # the batch whose records are incomplete
        self._wanted: Optional[str] = None  # the newest position to commit
        self._told: Optional[str] = None  # the position up to which this connection has delivered everything
        self._asked: Optional[str] = None  # the commit that awaits its answer in this connection
        self._asked_at = 0.0

    def connect(self, now: float, attempt: int) -> bytes:
        """Begins a connection, and returns the greeting. Each attempt must be greater than the last."""
        self._lines, self._batch, self._heard, self.welcomed = Lines(), None, now, False
        self._asked = self._told = None
        self._state = self._greeted
        return line({
            'dictwire': VERSION, 'subscribe': self.subscribe, 'cursor': self._cursor,
            'from': (self.position if self._cursor is None else None) or self._start,
            'attempt': attempt if self._cursor is not None else None,
            'follow': self._follow, 'format': self._format, 'accept': self._accept, 'token': self._token,
        })

    def commit(self, position: str) -> None:
        """Requests a commit, which `data_to_send` returns."""
        if self._cursor is None:
            raise ValueError('the reader has no cursor: pass cursor= to read()')
        self._wanted = position

    @property
    def served(self) -> bool:
        """Whether the greeting of this connection was answered."""
        return self._told is not None

    @property
    def has_cursor(self) -> bool:
        """Whether there is a saved position."""
        return self._cursor is not None

    @property
    def uncommitted(self) -> bool:
        """Whether a commit is pending."""
        return self._wanted is not None and self._wanted != self.committed

    def data_to_send(self, now: float) -> bytes:
        """Returns the bytes to write now. At most one commit awaits its answer.

        A commit waits until this connection has delivered the records it covers, which a new one delivers again first.
        """
        wanted = self._wanted
        if not self.welcomed or self._asked is not None or wanted is None or wanted == self.committed:
            return b''
        if self._told is None or not follows(self._told, wanted):
            return b''
        self._asked, self._asked_at = wanted, now
        return line({'commit': wanted})

    def _body(self, events: list[Event]) -> bool:
        if self._batch is not None:
            message, lengths = self._batch
            joined = self._lines.take(sum(lengths))
            if joined is None:
                return False
            self._batch = None
            events += self._records(message, lengths, joined)
        return True

    def dead(self, now: float) -> bool:
        """Returns whether the connection is dead: the server is silent, or does not answer a commit."""
        return now >= self.deadline()

    def deadline(self) -> float:
        """Returns the time at which the connection is dead unless data arrives."""
        return (self._heard if self._asked is None else min(self._heard, self._asked_at)) + SILENCE

    # States

    def _greeted(self, message: dict[str, Any]) -> list[Event]:
        if 'error' in message:
            self._state = self._closed
            return [ended(message, False)]
        check_welcome(message)
        begin = text(message, 'next')
        _place(begin)
        if self._cursor is not None:
            self.committed = begin
            if self._wanted is not None and follows(begin, self._wanted):
                self._wanted = None  # it was committed, but the answer was lost
        if self.position is None:
            self.position = begin
        self._told = begin
        self._state, self.welcomed = self._open, True
        return [Welcomed(begin)]

    def _open(self, message: dict[str, Any]) -> list[Event]:
        if 'lengths' in message:
            lengths = message['lengths']
            if not isinstance(lengths, list) or not all(type(n) is int and n > 0 for n in lengths) \
                    or not 0 < sum(lengths) <= MAX_BYTES:
                raise ProtocolError(f'the server sent lengths: {lengths!r:.80}, want a list of integers')
            self._batch = message, lengths
            return []
        if 'committed' in message:
            self.committed, self._asked = text(message, 'committed'), None
            if self._wanted == self.committed:
                self._wanted = None
            return [Committed(self.committed)]
        if 'end' in message:
            return [End(self._done(text(message, 'end')))]
        if 'skipped' in message:
            hole = self._hole(message, 'skipped')
            return [Skipped(text(hole, 'from'), text(hole, 'to'), text(hole, 'topic'),
                            self._done(text(message, 'next')))]
        if 'damaged' in message:
            hole = self._hole(message, 'damaged')
            topic = hole.get('topic')
            return [Damaged(text(hole, 'from'), text(hole, 'to'), topic if isinstance(topic, str) else None,
                            text(hole, 'error'), self._done(text(message, 'next')))]
        if 'error' in message:
            self._state = self._closed
            return [ended(message, True)]
        if 'next' in message:
            return [Progress(self._done(text(message, 'next')))]
        raise ProtocolError(f'the server sent an unexpected message: {message!r:.80}')

    def _hole(self, message: dict[str, Any], field: str) -> dict[str, Any]:
        hole = message[field]
        if not isinstance(hole, dict):
            raise ProtocolError(f'the server sent {field}: {hole!r:.80}, want a dictionary')
        return hole

    def _done(self, next: str) -> str:
        self._told = next
        if self.position is None or follows(next, self.position):
            self.position = next
        return next

    def _records(self, message: dict[str, Any], lengths: list[int], joined: bytes) -> list[Event]:
        records, begin = [], 0
        for length in lengths:
            records.append(joined[begin:begin + length])
            begin += length
        at, next = text(message, 'at'), text(message, 'next')
        first = number(message, 'first', 1) if 'first' in message else None
        seen = 0  # records that an earlier connection delivered
        if self.position is not None and follows(self.position, at):
            (_, done, index), (_, block, begin) = _place(self.position), _place(at)
            seen = len(records) if done > block else min(index - begin, len(records))
        self._done(next)
        if seen == len(records):
            return []
        principal, producer = message.get('principal'), message.get('producer')
        return [Batch(
            advanced(at, seen) if seen else at, next, text(message, 'topic'),
            principal if isinstance(principal, str) else None, producer if isinstance(producer, str) else None,
            first + seen if first is not None else None, text(message, 'time'), text(message, 'format'), records[seen:],
        )]
