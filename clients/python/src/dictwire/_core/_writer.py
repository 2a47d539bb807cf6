"""A producer in one topic: docs/protocol.md, section 3."""

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
    check_welcome,
    ended,
    line,
    number,
    text,
)
from ._session import Session

WINDOW = 65536  # records in flight, unless the welcome contains another limit


class Writer(Session):
    """The numbered records of one producer in one topic that are not settled.

    A connection goes through the states closed → greeted → open → closed; the records and their numbers remain.
    It is not thread-safe.

    Args:
        topic: the topic of the records.
        producer: the name of the producer, which must be unique.
        format: the format of the records and the replies.
        accept: acceptable formats of replies, preferred first. Defaults to `format`.
        token: the access token.
        accept_lost: continue even if the server has lost records that it acknowledged.
    """

    def __init__(self, topic: str, producer: str, *, format: str = 'json', accept: Optional[list[str]] = None,
                 token: Optional[str] = None, accept_lost: bool = False) -> None:
        super().__init__()
        self.topic, self.producer, self.accept_lost = topic, producer, accept_lost
        self.acked = 0  #: all records up to this number are settled
        self.closing = False  #: no more records are sent in this connection
        self._format, self._accept, self._token = format, accept, token
        self.size = 0  #: bytes of the unsettled records
        self._held: deque[bytes] = deque()  # records acked+1, acked+2 …
        self._last: Optional[bytes] = None  # record acked, for its checksum
        self._sent = 0  # the highest number sent in any connection
        self._next = 1  # the number to send next in this connection
        self._window, self._max_record = WINDOW, 1 << 20
        self._began = 0  # the value of acked when this connection began
        self.ready = False  #: whether the ack after the welcome has arrived, so that records can be sent
        self._reply: Optional[tuple[int, int]] = None  # the number and length of the reply whose data is incomplete

    # Records

    @property
    def last(self) -> int:
        """The number of the newest record, or 0."""
        return self.acked + len(self._held)

    @property
    def pending(self) -> int:
        """The number of unsettled records."""
        return len(self._held)

    @property
    def in_flight(self) -> bool:
        """Whether unsettled records were sent, in this connection or an earlier one."""
        return self._sent > self.acked

    def send(self, record: bytes) -> int:
        """Adds a record, which must be exactly one dictionary, and returns its number."""
        return self.send_all([record], len(record))

    def send_all(self, records: list[bytes], size: int) -> int:
        """Adds records, all or none, and returns the last one's number. size is their total length."""
        self._held.extend(records)
        self.size += size
        return self.acked + len(self._held)

    @property
    def unsent(self) -> bool:
        """Whether this connection has records to send."""
        return self.last >= self._next

    # A connection

    def connect(self, now: float, attempt: int) -> bytes:
        """Begins a connection, and returns the greeting. Each attempt must be greater than the last."""
        self._lines, self._reply, self._heard = Lines(), None, now
        self.welcomed = self.ready = self.closing = False
        self._began = self.acked
        self._state = self._greeted
        return line({
            'dictwire': VERSION, 'topic': self.topic, 'producer': self.producer, 'format': self._format,
            'accept': self._accept, 'attempt': attempt, 'acked': self.acked or None,
            'accept_lost': self.accept_lost, 'token': self._token,
        })

    @property
    def served(self) -> bool:
        """Whether this connection has settled anything."""
        return self.acked > self._began

    def data_to_send(self, limit: int = 256 << 10) -> bytes:
        """Returns the bytes to write now: records within the window, about limit bytes of them."""
        if not self.ready:
            return b''
        begin = self._next - self.acked - 1
        end = min(len(self._held), self._window)
        if begin >= end:
            return b''
        out, size = [], 0
        held = self._held
        few = end - begin <= 64 and begin > 0  # few enough to index into the deque instead of iterating from its start
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
        """Returns whether the connection is dead because the server is silent."""
        return now - self._heard >= SILENCE

    def deadline(self) -> float:
        """Returns the time at which the connection is dead unless data arrives."""
        return self._heard + SILENCE

    # States

    def _greeted(self, message: dict[str, Any]) -> list[Event]:
        if 'error' in message:
            return self._error(message)
        check_welcome(message)
        want = number(message, 'next', 1)
        self._window = number(message, 'window', 1) if 'window' in message else WINDOW
        self._max_record = number(message, 'max_record', 1) if 'max_record' in message else 1 << 20
        if self._is_other(message, want):
            self._state = self._closed
            return [Ended('conflict', f'the server has records up to {want - 1} of producer {self.producer} in topic '
                          f'{self.topic} that this client did not send: another client uses the same name', stop=True)]
        self._next, self.welcomed, self._state = want, True, self._open
        self._sent = max(self._sent, want - 1)
        durability = message.get('durability')
        return [Welcomed(want, durability if isinstance(durability, str) else None, self._max_record)]

    def _is_other(self, message: dict[str, Any], want: int) -> bool:
        """Returns whether the server has another client's records under this producer's name."""
        if self.accept_lost and want > self.last + 1 and not self._held:
            return False  # the numbers before it were skipped
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
            return True  # the server never has more than was sent
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
        raise ProtocolError(f'the server sent an unexpected message: {message!r:.80}')

    def _of(self, message: dict[str, Any], field: str) -> int:
        """Returns the number of a record, which must be sent and unsettled."""
        of = number(message, field, 1)
        if not self.acked < of < self._next:
            raise ProtocolError(f'the server sent {field}: {of}, but the unsettled records are {self.acked + 1} to '
                                f'{self._next - 1}')
        return of

    def _ack(self, to: int) -> list[Event]:
        if to >= self._next:
            raise ProtocolError(f'the server acknowledged record {to}, but only {self._next - 1} were sent')
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
        return [ended(message, self.welcomed)]
