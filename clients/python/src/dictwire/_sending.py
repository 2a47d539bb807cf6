"""What both clients share of sending: a window over all topics, and what is known of each topic's records."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Optional

from . import _core
from ._errors import Error, NoReply, RejectedError, remote
from ._values import FORMATS, Default, decode, encode_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

IDLE = 60.0  # seconds after which a topic's connection is closed when all is settled
EXIT = 10.0  # seconds that a program's end waits for what is not settled
CLOSE = 60.0  # seconds that leaving the block waits for it
TOLD = 10_000  # rejections that are remembered of each topic
CHUNK_RECORDS = 512
CHUNK_BYTES = 128 << 10

_TOPIC = re.compile(r'[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*')


def check_topic(name: str) -> None:
    """Raises ValueError where no client may write to a topic of that name."""
    if not isinstance(name, str) or len(name) > 200 or not _TOPIC.fullmatch(name):
        raise ValueError(f'topic {name!r:.80}: want words of A-Z, a-z, 0-9, _ and - with dots between, '
                         'at most 200 bytes')
    if name[0] == '_' and name != '_rejected':
        raise ValueError(f'topic {name!r}: names that begin with _ are the server\'s own')


class Chunk:
    """Records that are handed on together."""

    __slots__ = ('records', 'size')

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.size = 0

    def add(self, record: bytes) -> bool:
        """Adds a record, and reports whether the chunk is full."""
        self.records.append(record)
        self.size += len(record)
        return len(self.records) >= CHUNK_RECORDS or self.size >= CHUNK_BYTES


def chunks(dictionaries: Iterable[Mapping[Any, Any]], default: Optional[Default]) -> Iterator[Chunk]:
    """Yields dictionaries as records, many at a time. An exception of theirs comes after what stood before it."""
    chunk, failure = Chunk(), None
    try:
        for record in encode_all(dictionaries, default):
            if chunk.add(record):
                yield chunk
                chunk = Chunk()
    except Exception as e:
        failure = e
    if chunk.records:
        yield chunk
    if failure is not None:
        raise failure


class Window:
    """How much is on its way, over all topics of a client, and how much may be."""

    def __init__(self, max_records: int, max_bytes: int) -> None:
        if max_records < 1 or max_bytes < 1:
            raise ValueError(f'window_records={max_records}, window_bytes={max_bytes}: want at least 1')
        self.max_records, self.max_bytes = max_records, max_bytes
        self.records = self.size = 0

    def has_room(self, count: int, size: int) -> bool:
        """Reports whether so many more records fit. A client that has none on its way takes any number."""
        return self.records <= 0 or (self.records + count <= self.max_records and self.size + size <= self.max_bytes)

    def full(self, timeout: float) -> str:
        return f'the window is full for {timeout:g} s ({self.records} records not settled): not sent'


class Log:
    """The records of a topic: the session without I/O, what the window holds of it, and what became of each.

    Attributes:
        core: the session.
        failed: why the topic can't go on.
        asked: replies that are waited for, by the record's number: None until it has come.
    """

    def __init__(self, topic: str, producer: str, window: Window, *, token: Optional[str], accept_lost: bool) -> None:
        self.topic = topic
        self.failed: Optional[Error] = None
        self.core = _core.Writer(
            topic, producer, format='json+pickle', accept=FORMATS, token=token, accept_lost=accept_lost)
        self.asked: dict[int, Any] = {}
        self._window, self._counted = window, (0, 0)
        self._rejected: dict[int, RejectedError] = {}
        self._untold: dict[int, None] = {}  # those that no call has raised
        self._forgotten = 0  # rejections up to this number are not remembered

    def take(self, chunk: Chunk) -> int:
        """Takes records, all or none, and returns the last one's number."""
        number = self.core.send_all(chunk.records, chunk.size)
        self._count()
        return number

    def receive(self, data: bytes, now: float) -> Optional[_core.Ended]:
        """Takes what came, and returns how the session ended if it did."""
        events = self.core.receive_data(data, now)
        self._count()
        for event in events:
            if isinstance(event, _core.Rejected):
                self._reject(event)
            elif isinstance(event, _core.Reply):
                if event.number in self.asked:
                    self.asked[event.number] = _reply(event)
            elif isinstance(event, _core.Ended):
                if event.stop:
                    self.fail(remote(event.code, event.text))
                return event
            elif isinstance(event, _core.Broken):
                self.fail(event.error)
                return _core.Ended('internal', str(event.error), stop=True)
        return None

    def fail(self, error: Error) -> None:
        """Ends the topic: its records are not sent any more, and take no room in the window."""
        self.failed = self.failed or error
        self._count()

    def _count(self) -> None:
        """Sets right what the window counts of this topic. An interrupted call is made up for by the next."""
        records, size = (self.core.pending, self.core.size) if self.failed is None else (0, 0)
        self._window.records += records - self._counted[0]
        self._window.size += size - self._counted[1]
        self._counted = records, size

    def _reject(self, event: _core.Rejected) -> None:
        if event.number in self._rejected:
            return  # it is told again after a new connection
        self._rejected[event.number] = RejectedError(
            event.text, event.code, event.number, self.topic, reason=event.reason)
        self._untold[event.number] = None
        if len(self._rejected) > TOLD:
            self._forgotten = next(iter(self._rejected))
            del self._rejected[self._forgotten]
            self._untold.pop(self._forgotten, None)

    def outcome(self, begin: int, end: int) -> Optional[RejectedError]:
        """Returns what is to be raised for settled records: the first rejection, which has the others."""
        if not self._rejected:
            return None
        numbers = range(begin, end + 1) if begin == end else sorted(n for n in self._rejected if begin <= n <= end)
        for n in numbers:
            self._untold.pop(n, None)
        error = _joined([self._rejected[n] for n in numbers if n in self._rejected])
        if error is None and begin <= self._forgotten:
            raise Error(f'record {begin} of topic {self.topic} was settled too long ago to know how: '
                        f'{TOLD} were rejected since. The topic _rejected has them')
        return error

    def untold(self) -> list[RejectedError]:
        """Returns the rejections that no call has raised, which count as told from now on."""
        numbers, self._untold = sorted(self._untold), {}
        return [self._rejected[n] for n in numbers]

    def reply(self, number: int) -> dict[Any, Any]:
        """Returns what was replied to a settled record. Raises NoReply."""
        reply = self.asked[number]
        if isinstance(reply, Exception):
            raise reply
        if reply is None:
            raise NoReply(f'record {number} of topic {self.topic} is settled, and the server replied nothing to it')
        return reply  # type: ignore[no-any-return]

    def late(self, to: int, timeout: float) -> str:
        return (f'{to - self.core.acked} records of topic {self.topic} are not settled after {timeout:g} s; '
                'they are sent all the same')


def flushed(logs: Iterable[Log], failures: list[Error]) -> None:
    """Raises what a flush has to tell: why a topic can't go on or is late, or which records were rejected."""
    if failures:
        raise failures[0]
    error = _joined([error for log in logs for error in log.untold()])
    if error is not None:
        raise error


def _joined(errors: list[RejectedError]) -> Optional[RejectedError]:
    if len(errors) < 2:
        return errors[0] if errors else None
    first = errors[0]
    return RejectedError(first.text, first.code, first.number, first.topic, tuple(errors[1:]), first.reason)


def _reply(event: _core.Reply) -> Any:
    """Returns the dictionary that is replied, or the exception why there is none."""
    if event.data is None:
        return NoReply(f'the reply can\'t be sent: {event.error}')
    try:
        return decode(event.data, 'json' if event.data[:1] == b'{' else 'cbor')
    except ValueError as e:
        return NoReply(f'the reply can\'t be read: {e}')


class Deadline:
    """The end of a timeout in seconds; None has none."""

    __slots__ = ('_at', 'timeout')

    def __init__(self, timeout: Optional[float]) -> None:
        self.timeout = timeout or 0.0
        self._at = None if timeout is None else time.monotonic() + timeout

    def left(self) -> Optional[float]:
        """Returns the seconds that are left, 0 at the end, or None."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())
