"""Messages and events of the native session."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Optional, Union

from .._errors import ProtocolError

VERSION = 1
MAX_MESSAGE = 1 << 20  # bytes of one line
MAX_NUMBER = (1 << 63) - 1
MAX_BYTES = 1 << 30  # of one reply, or of the records of one message
MAX_RETRY = 600.0  # seconds
SILENCE = 15.0  # seconds after which a connection that says nothing is dead


@dataclass(frozen=True)
class Welcomed:
    """The server has answered the greeting. Of a writer: it wants the record `next`."""

    next: Union[int, str]
    durability: Optional[str] = None
    max_record: int = 1 << 20


@dataclass(frozen=True)
class Settled:
    """All records up to `number` are settled."""

    number: int


@dataclass(frozen=True)
class Rejected:
    """A record was rejected; it is durable in `_rejected`."""

    number: int
    code: str
    text: str
    reason: str = ''


@dataclass(frozen=True)
class Reply:
    """What the server's handler says of a record: `data`, or the `error` why it can't be sent."""

    number: int
    data: Optional[bytes]
    error: Optional[str] = None


@dataclass(frozen=True)
class Ended:
    """The server ended the session. `stop`: no new connection helps."""

    code: str
    text: str
    stop: bool
    retry: float = 0.0  # seconds until a new connection makes sense


@dataclass(frozen=True)
class Batch:
    """Records of one topic, principal, producer and format, at consecutive positions from `at` on."""

    at: str
    next: str
    topic: str
    principal: Optional[str]
    producer: Optional[str]
    first: Optional[int]
    time: str
    format: str
    records: list[bytes]


@dataclass(frozen=True)
class Progress:
    """Nothing that is asked for lies below `next`."""

    next: str


@dataclass(frozen=True)
class Skipped:
    """Records were trimmed before they were read."""

    start: str
    end: str
    topic: str
    next: str


@dataclass(frozen=True)
class Damaged:
    """Records can't be read."""

    start: str
    end: str
    topic: Optional[str]
    error: str
    next: str


@dataclass(frozen=True)
class Committed:
    """The cursor stands at `position`, durably."""

    position: str


@dataclass(frozen=True)
class End:
    """There is no more."""

    next: str


@dataclass(frozen=True)
class Broken:
    """The peer broke the protocol: the connection is of no use, and it is not likely that another one is."""

    error: ProtocolError


Event = Union[Broken, Welcomed, Settled, Rejected, Reply, Ended, Batch, Progress, Skipped, Damaged, Committed, End]


class Lines:
    """Splits what comes into messages, each a line of JSON, and the bytes that follow some of them."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0  # what lies before it was taken
        self._scanned = 0  # no line feed lies before it

    def feed(self, data: bytes) -> None:
        """Adds what came."""
        if self._at:
            del self._buffer[:self._at]
            self._scanned -= self._at
            self._at = 0
        self._buffer += data

    def message(self) -> Optional[dict[str, Any]]:
        """Returns the next message, or None until its line has come whole."""
        end = self._buffer.find(b'\n', max(self._at, self._scanned))
        if end < 0:
            self._scanned = len(self._buffer)
            if len(self._buffer) - self._at > MAX_MESSAGE:
                raise ProtocolError('the server sends a line without an end: it is no dictwire server')
            return None
        line = bytes(self._buffer[self._at:end])
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise ProtocolError(f'the server says {line[:60]!r}, which is no message of a native session')
        self._at = self._scanned = end + 1
        return message

    def take(self, size: int) -> Optional[bytes]:
        """Returns the next size bytes, or None until they have come."""
        end = self._at + size
        if end > len(self._buffer):
            return None
        data = bytes(memoryview(self._buffer)[self._at:end])
        self._at = end
        self._scanned = max(self._scanned, end)
        return data


def line(message: dict[str, Any]) -> bytes:
    """Returns a message as it is sent. Fields that are None or False are left out."""
    present = {k: v for k, v in message.items() if v is not None and v is not False}
    return json.dumps(present, separators=(',', ':')).encode('ascii') + b'\n'


def number(message: dict[str, Any], field: str, least: int = 0, most: int = MAX_NUMBER) -> int:
    """Returns an integer field, which must be there."""
    value = message.get(field)
    if type(value) is not int or not least <= value <= most:
        raise ProtocolError(f'the server says {field}: {value!r:.80}, want an integer from {least} to {most}')
    return value


def text(message: dict[str, Any], field: str) -> str:
    """Returns a text field, which must be there."""
    value = message.get(field)
    if not isinstance(value, str):
        raise ProtocolError(f'the server says {field}: {value!r:.80}, want a string')
    return value


# Codes that a new connection may help against, whatever was said before.
_PASSING = frozenset(['idle', 'internal', 'rate', 'shutdown', 'unavailable', 'truncated'])
# Codes that none helps against.
_FINAL = frozenset(['conflict', 'fenced', 'forbidden', 'loss', 'lost', 'plaintext', 'stale', 'topic',
                    'unauthenticated', 'unsupported', 'version'])


def ended(message: dict[str, Any], welcomed: bool) -> Ended:
    """Returns the event for an error. Before the welcome it is about the greeting, which stays as it is."""
    code = message.get('code')
    code = code if isinstance(code, str) else 'internal'
    retry = message.get('retry_ms')
    stop = code in _FINAL or (not welcomed and code not in _PASSING)
    return Ended(code, text(message, 'error'), stop,
                 min(retry / 1000, MAX_RETRY) if type(retry) is int and 0 < retry <= MAX_NUMBER else 0.0)
