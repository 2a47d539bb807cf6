"""A producer's log into one topic: docs/protocol.md, section 3."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any, Optional

from .._errors import ProtocolError
from ._crc32c import crc32c
from ._messages import (
    MAX_BYTES,
    SILENCE,
    VERSION,
    Ended,
    Event,
    Lines,
    Rejected,
    Reply,
    Settled,
    Welcomed,
    ended,
    line,
    number,
    text,
)
from ._session import Session

WINDOW = 65536  # records in flight, until the welcome says more or less


class Writer(Session):
    """The numbered records of one producer in one topic, until they are settled.

    A connection goes through the states closed → greeted → (welcomed) open → closed; the records and
    their numbers stay. It is not safe for use by several threads at once.

    Args:
        topic: where the records go.
        producer: the name of the log, which nobody else uses.
        format: of the records and of the replies.
        accept: formats of the replies, preferred first; empty for the session's own.
        token: who speaks.
        accept_lost: go on where the server has less than it acknowledged.
    """

    def __init__(self, topic: str, producer: str, *, format: str = 'json', accept: Optional[list[str]] = None,
                 token: Optional[str] = None, accept_lost: bool = False) -> None:
        super().__init__()
        self.topic, self.producer, self.accept_lost = topic, producer, accept_lost
        self.acked = 0  #: all records up to this number are settled
        self.closing = False  #: no more records are sent in this connection: it is half-closed
        self._format, self._accept, self._token = format, accept, token
        self.size = 0  #: bytes of the records that are not settled
        self._held: deque[bytes] = deque()  # records acked+1, acked+2 …
        self._last: Optional[bytes] = None  # record acked, for the sum
        self._sent = 0  # the highest number that was sent, in any connection
        self._next = 1  # the number of the record that is sent next in this connection
        self._window, self._max_record = WINDOW, 1 << 20
        self._welcomed = False
        self._began = 0  # acked when this connection began
        self.ready = False  #: the ack after the welcome has come: records may be sent
        self._reply: Optional[tuple[int, int]] = None  # the reply whose bytes are awaited: number, length

    # Records

    @property
    def last(self) -> int:
        """The number of the newest record, 0 before the first."""
        return self.acked + len(self._held)

    @property
    def pending(self) -> int:
        """How many records are not settled."""
        return len(self._held)

    @property
    def in_flight(self) -> bool:
        """Whether records were sent, in this connection or an earlier one, and are not settled."""
        return self._sent > self.acked

    def send(self, record: bytes) -> int:
        """Takes a record, which is exactly one dictionary, and returns its number."""
        return self.send_all([record], len(record))

    def send_all(self, records: list[bytes], size: int) -> int:
        """Takes records of size bytes in all, and returns the last one's number. It is done whole, or not at all."""
        self._held.extend(records)
        self.size += size
        return self.acked + len(self._held)

    @property
    def unsent(self) -> bool:
        """Whether there are records that this connection has not sent."""
        return self.last >= self._next

    # A connection

    def connect(self, now: float, attempt: int) -> bytes:
        """Begins a connection, and returns the greeting. attempt grows with each."""
        self._lines, self._reply, self._heard = Lines(), None, now
        self._welcomed = self.ready = self.closing = False
        self._began = self.acked
        self._state = self._greeted
        return line({
            'dictwire': VERSION, 'topic': self.topic, 'producer': self.producer, 'format': self._format,
            'accept': self._accept, 'attempt': attempt, 'acked': self.acked or None,
            'accept_lost': self.accept_lost, 'token': self._token,
        })

    @property
    def welcomed(self) -> bool:
        """Whether the server has answered this connection's greeting."""
        return self._welcomed

    @property
    def served(self) -> bool:
        """Whether this connection has settled anything."""
        return self.acked > self._began

    def data_to_send(self, limit: int = 256 << 10) -> bytes:
        """Returns what is to be written now: records within the window, about limit bytes; or nothing."""
        if not self.ready:
            return b''
        begin = self._next - self.acked - 1
        end = min(len(self._held), self._window)
        if begin >= end:
            return b''
        out, size = [], 0
        held = self._held
        few = end - begin <= 64 and begin > 0  # for which a deque need not be walked from its beginning
        for record in (held[i] for i in range(begin, end)) if few else islice(held, begin, end):
            out.append(record)
            size += len(record)
            if size >= limit:
                break
        self._next += len(out)
        self._sent = max(self._sent, self._next - 1)
        return b''.join(out)

    def _body(self, events: list[Event]) -> bool:
        if self._reply is not None:
            of, length = self._reply
            reply = self._lines.take(length)
            if reply is None:
                return False
            self._reply = None
            events.append(Reply(of, reply))
        return True

    def dead(self, now: float) -> bool:
        """Reports whether the server has been silent for so long that the connection is dead."""
        return now - self._heard >= SILENCE

    def deadline(self) -> float:
        """Returns when the connection is dead unless something is heard."""
        return self._heard + SILENCE

    # States

    def _greeted(self, message: dict[str, Any]) -> list[Event]:
        if 'error' in message:
            return self._error(message)
        if message.get('dictwire') != VERSION:
            raise ProtocolError(f'the server answers the greeting with {message!r:.80}: it is no dictwire server')
        want = number(message, 'next', 1)
        self._window = number(message, 'window', 1) if 'window' in message else WINDOW
        self._max_record = number(message, 'max_record', 1) if 'max_record' in message else 1 << 20
        if self._is_other(message, want):
            self._state = self._closed
            return [Ended('conflict', f'the server has records up to {want - 1} of producer {self.producer} in topic '
                          f'{self.topic} that this client did not send: two logs use one name', stop=True)]
        self._next, self._welcomed, self._state = want, True, self._open
        self._sent = max(self._sent, want - 1)
        durability = message.get('durability')
        return [Welcomed(want, durability if isinstance(durability, str) else None, self._max_record)]

    def _is_other(self, message: dict[str, Any], want: int) -> bool:
        """Reports whether what the server has under this producer's numbers is somebody else's."""
        if self.accept_lost and want > self.last + 1 and not self._held:
            return False  # numbers were given up
        if not self.acked < want <= self.last + 1:
            return True
        known = message.get('sum')
        if not isinstance(known, str):
            return False
        record = self._last if want - 1 == self.acked else self._held[want - 2 - self.acked]
        if record is None:
            return False
        size = message.get('of', len(record))
        if type(size) is not int or size > len(record):
            return True  # of one dictionary, as every record here is, the server reads no more than there is
        return f'{crc32c(record[:size]):08x}' != known

    def _open(self, message: dict[str, Any]) -> list[Event]:
        if 'ack' in message:
            return self._ack(number(message, 'ack'))
        if 'rejected' in message:
            reason = text(message, 'reason') if 'reason' in message else ''
            return [Rejected(self._of(message, 'rejected'), text(message, 'code'), text(message, 'error'), reason)]
        if 'reply' in message:
            of = self._of(message, 'reply')
            if 'error' in message:
                return [Reply(of, None, text(message, 'error'))]
            self._reply = of, number(message, 'length', 1, MAX_BYTES)
            return []
        if 'error' in message:
            return self._error(message)
        raise ProtocolError(f'the server says {message!r:.80}, which a writer does not expect')

    def _of(self, message: dict[str, Any], field: str) -> int:
        """Returns the number of a record that was sent and is not settled."""
        of = number(message, field, 1)
        if not self.acked < of < self._next:
            raise ProtocolError(f'the server says {field}: {of}, and records {self.acked + 1} to {self._next - 1} are '
                                'not settled')
        return of

    def _ack(self, to: int) -> list[Event]:
        if to >= self._next:
            raise ProtocolError(f'the server acknowledges record {to}, and {self._next - 1} were sent')
        self.ready = True
        if to <= self.acked:
            return []  # a heartbeat
        for _ in range(min(to - self.acked, len(self._held))):
            self._last = self._held.popleft()
            self.size -= len(self._last)
        self.acked = to
        return [Settled(to)]

    def _error(self, message: dict[str, Any]) -> list[Event]:
        self._state, self.ready = self._closed, False
        return [ended(message, self._welcomed)]
