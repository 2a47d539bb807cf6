"""The messages and events of the native session."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Optional, Union

from .._errors import ProtocolError

VERSION = 1
MAX_MESSAGE = 1 << 20  # bytes of one line
MAX_NUMBER = (1 << 63) - 1
MAX_BYTES = 1 << 30  # limit of a reply, and of the records of one message
MAX_RETRY = 600.0  # seconds
SILENCE = 15.0  # seconds without data after which a connection is dead


@dataclass(frozen=True)
class Welcomed:
    """The server accepted the greeting. A writer sends the record `next` first."""

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
    """The reply of the server's handler to a record, or the `error` that prevented it."""

    number: int
    data: Optional[bytes]
    error: Optional[str] = None


@dataclass(frozen=True)
class Ended:
    """The server ended the session. `stop` means that a new connection would not help."""

    code: str
    text: str
    stop: bool
    retry: float = 0.0  # seconds to wait before a new connection


@dataclass(frozen=True)
class Batch:
    """Records of one topic, principal, producer and format, at consecutive positions starting at `at`."""

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
    """There are no matching records before `next`."""

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
    """The cursor is at `position`, durably."""

    position: str


@dataclass(frozen=True)
class End:
    """There are no more records."""

    next: str


@dataclass(frozen=True)
class Broken:
    """The peer violated the protocol. The connection is unusable, and a new one is unlikely to help."""

    error: ProtocolError


Event = Union[Broken, Welcomed, Settled, Rejected, Reply, Ended, Batch, Progress, Skipped, Damaged, Committed, End]


class Lines:
    """Splits received bytes into messages, which are lines of JSON, and the data that follows some of them."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0  # everything before it was consumed
        self._scanned = 0  # there is no line feed before it

    def feed(self, data: bytes) -> None:
        """Adds received bytes."""
        if self._at:
            del self._buffer[:self._at]
            self._scanned -= self._at
            self._at = 0
        self._buffer += data

    def message(self) -> Optional[dict[str, Any]]:
        """Returns the next message, or None if its line is incomplete."""
        end = self._buffer.find(b'\n', max(self._at, self._scanned))
        if end < 0:
            self._scanned = len(self._buffer)
            if len(self._buffer) - self._at > MAX_MESSAGE:
                raise ProtocolError('the server sent an overlong line; it may not be a dictwire server')
            return None
        line = bytes(self._buffer[self._at:end])
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise ProtocolError(f'the server sent {line[:60]!r}, which is not a message of the native session')
        self._at = self._scanned = end + 1
        return message

    def take(self, size: int) -> Optional[bytes]:
        """Returns the next size bytes, or None if they are incomplete."""
        end = self._at + size
        if end > len(self._buffer):
            return None
        data = bytes(memoryview(self._buffer)[self._at:end])
        self._at = end
        self._scanned = max(self._scanned, end)
        return data


def line(message: dict[str, Any]) -> bytes:
    """Encodes a message. Fields that are None or False are omitted."""
    present = {k: v for k, v in message.items() if v is not None and v is not False}
    return json.dumps(present, separators=(',', ':')).encode('ascii') + b'\n'


def number(message: dict[str, Any], field: str, least: int = 0, most: int = MAX_NUMBER) -> int:
    """Returns a required integer field."""
    value = message.get(field)
    if type(value) is not int or not least <= value <= most:
        raise ProtocolError(f'the server sent {field}: {value!r:.80}, want an integer from {least} to {most}')
    return value


def text(message: dict[str, Any], field: str) -> str:
    """Returns a required string field."""
    value = message.get(field)
    if not isinstance(value, str):
        raise ProtocolError(f'the server sent {field}: {value!r:.80}, want a string')
    return value


def check_welcome(message: dict[str, Any]) -> None:
    """Raises ProtocolError if a message is not the answer of a dictwire server to a greeting."""
    if message.get('dictwire') != VERSION:
        raise ProtocolError(f'the server answered the greeting with {message!r:.80}; it may not be a dictwire server')


# Codes after which a new connection may help.
_PASSING = frozenset(['idle', 'internal', 'rate', 'shutdown', 'unavailable', 'truncated'])
# Codes after which it does not.
_FINAL = frozenset(['conflict', 'fenced', 'forbidden', 'loss', 'lost', 'plaintext', 'stale', 'topic',
                    'unauthenticated', 'unsupported', 'version'])


def ended(message: dict[str, Any], welcomed: bool) -> Ended:
    """Returns the event for an error. Before the welcome, most errors concern the greeting, which would be the same."""
    code = message.get('code')
    code = code if isinstance(code, str) else 'internal'
    retry = message.get('retry_ms')
    stop = code in _FINAL or (not welcomed and code not in _PASSING)
    return Ended(code, text(message, 'error'), stop,
                 min(retry / 1000, MAX_RETRY) if type(retry) is int and 0 < retry <= MAX_NUMBER else 0.0)
