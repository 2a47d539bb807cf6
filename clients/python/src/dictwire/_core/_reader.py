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
        raise ProtocolError(f'the server says the position {position!r}, want tag.number.number') from None


def start(where: Union[str, datetime, timedelta]) -> str:
    """Returns where reading begins as a greeting says it: a time is a datetime, an age a timedelta."""
    if isinstance(where, datetime):
        return where.astimezone(timezone.utc).isoformat().replace('+00:00', 'Z')
    if isinstance(where, timedelta):
        age = where // timedelta(milliseconds=1)
        return f'{age}ms' if age > 0 else 'latest'
    return where


def advanced(position: str, by: int) -> str:
    """Returns the position of the record that stands `by` records later in the same batch."""
    tag, block, index = _place(position)
    return f'{tag}.{block}.{index + by}'


def follows(position: str, other: str) -> bool:
    """Reports whether position is at or after other, in the same store."""
    a, b = _place(position), _place(other)
    return a[0] == b[0] and a[1:] >= b[1:]


class Reader(Session):
    """What one subscription has read, across connections.

    A connection goes through the states closed → greeted → open → closed; where reading goes on stays.
    It is not safe for use by several threads at once.

    Args:
        subscribe: a topic, a pattern, or a list of them.
        cursor: the name of the saved position, or None.
        start: where a reader begins whose cursor is new, or who has none.
        follow: wait at the end for more.
        format: in which all records are sent; None as they were stored.
        accept: formats of the records, preferred first.
        token: who speaks.
    """

    def __init__(self, subscribe: Union[str, list[str]], *, cursor: Optional[str] = None, start: str = 'earliest',
                 follow: bool = False, format: Optional[str] = None, accept: Optional[list[str]] = None,
                 token: Optional[str] = None) -> None:
        super().__init__()
        self.position: Optional[str] = None  #: everything below it was returned
        self.committed: Optional[str] = None  #: where the cursor stands, as the server last said
        self.subscribe, self._cursor, self._start, self._follow = subscribe, cursor, start, follow
        self._format, self._accept, self._token = format, accept, token
        self._batch: Optional[tuple[dict[str, Any], list[int]]] = None  # whose records are awaited
        self._welcomed = False
        self._wanted: Optional[str] = None  # the newest position that is to be committed
        self._told: Optional[str] = None  # up to where this connection has sent all
        self._asked: Optional[str] = None  # the one that was asked for in this connection
        self._asked_at = 0.0

    def connect(self, now: float, attempt: int) -> bytes:
        """Begins a connection, and returns the greeting. attempt grows with each."""
        self._lines, self._batch, self._heard, self._welcomed = Lines(), None, now, False
        self._asked = self._told = None
        self._state = self._greeted
        return line({
            'dictwire': VERSION, 'subscribe': self.subscribe, 'cursor': self._cursor,
            'from': (self.position if self._cursor is None else None) or self._start,
            'attempt': attempt if self._cursor is not None else None,
            'follow': self._follow, 'format': self._format, 'accept': self._accept, 'token': self._token,
        })

    def commit(self, position: str) -> None:
        """Asks for the cursor to be moved. `data_to_send` says so to the server."""
        if self._cursor is None:
            raise ValueError('there is no cursor: read(cursor=...) names one')
        self._wanted = position

    @property
    def served(self) -> bool:
        """Whether this connection's greeting was answered."""
        return self._told is not None

    @property
    def has_cursor(self) -> bool:
        """Whether there is a saved position."""
        return self._cursor is not None

    @property
    def uncommitted(self) -> bool:
        """Whether a commit is not answered yet."""
        return self._wanted is not None and self._wanted != self.committed

    def data_to_send(self, now: float) -> bytes:
        """Returns what is to be written now. One commit is under way at most.

        A commit waits until this connection has sent what is committed: after a new one, it comes again first.
        """
        if not self._welcomed or self._wanted is None or self._asked is not None or self._wanted == self.committed:
            return b''
        if self._told is None or not follows(self._told, self._wanted):
            return b''
        self._asked, self._asked_at = self._wanted, now
        return line({'commit': self._asked})

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
        """Reports whether the server has been silent, or owed an answer, for so long that the connection is dead."""
        return now >= self.deadline()

    def deadline(self) -> float:
        """Returns when the connection is dead unless something is heard."""
        return (self._heard if self._asked is None else min(self._heard, self._asked_at)) + SILENCE

    # States

    def _greeted(self, message: dict[str, Any]) -> list[Event]:
        if 'error' in message:
            self._state = self._closed
            return [ended(message, False)]
        if message.get('dictwire') != VERSION:
            raise ProtocolError(f'the server answers the greeting with {message!r:.80}: it is no dictwire server')
        begin = text(message, 'next')
        _place(begin)
        if self._cursor is not None:
            self.committed = begin
            if self._wanted is not None and follows(begin, self._wanted):
                self._wanted = None  # it was committed, and the answer was lost
        if self.position is None:
            self.position = begin
        self._told = begin
        self._state, self._welcomed = self._open, True
        return [Welcomed(begin)]

    def _open(self, message: dict[str, Any]) -> list[Event]:
        if 'lengths' in message:
            lengths = message['lengths']
            if not isinstance(lengths, list) or not all(type(n) is int and n > 0 for n in lengths) \
                    or not 0 < sum(lengths) <= MAX_BYTES:
                raise ProtocolError(f'the server says lengths: {lengths!r:.80}, want a list of integers')
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
            self._state, self._welcomed = self._closed, False
            return [ended(message, True)]
        if 'next' in message:
            return [Progress(self._done(text(message, 'next')))]
        raise ProtocolError(f'the server says {message!r:.80}, which a reader does not expect')

    def _hole(self, message: dict[str, Any], field: str) -> dict[str, Any]:
        hole = message[field]
        if not isinstance(hole, dict):
            raise ProtocolError(f'the server says {field}: {hole!r:.80}, want a dictionary')
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
        seen = 0  # records that came in an earlier connection
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
