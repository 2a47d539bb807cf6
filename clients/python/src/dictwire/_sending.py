"""Sending without I/O: the window of a client, and the log of each topic."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Optional

from . import _core
from ._errors import Error, NoReply, RejectedError, remote
from ._values import FORMATS, Default, decode, encode_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

IDLE = 60.0  # seconds without unsettled records after which a topic's connection is closed
EXIT = 10.0  # seconds to wait for unsettled records at interpreter exit
CLOSE = 60.0  # seconds to wait for them in close(), by default
TOLD = 10_000  # rejections that are kept for each topic
CONTINUES = '; sending continues'
CHUNK_RECORDS = 512
CHUNK_BYTES = 128 << 10

_TOPIC = re.compile(r'[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*')


def check_topic(name: str) -> None:
    """Raises ValueError if a client can't write to a topic of this name."""
    if not isinstance(name, str) or len(name) > 200 or not _TOPIC.fullmatch(name):
        raise ValueError(f'topic {name!r:.80}: want words of A-Z, a-z, 0-9, _ and - with dots between, '
                         'at most 200 bytes')
    if name[0] == '_' and name != '_rejected':
        raise ValueError(f'topic {name!r}: names that begin with _ are reserved for the server')


class Chunk:
    """Encoded records that are sent together."""

    __slots__ = ('records', 'size')

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.size = 0

    def add(self, record: bytes) -> bool:
        """Adds a record. Returns whether the chunk is full."""
        self.records.append(record)
        self.size += len(record)
        return len(self.records) >= CHUNK_RECORDS or self.size >= CHUNK_BYTES


def chunks(dictionaries: Iterable[Mapping[Any, Any]], default: Optional[Default]) -> Iterator[Chunk]:
    """Encodes dictionaries and yields them in chunks. If one raises, those before it are yielded first."""
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


def count(records: int) -> str:
    """Returns a number of records, in words."""
    return f'{records} record{"" if records == 1 else "s"}'


class Window:
    """The limit on a client's unsettled records, over all topics."""

    def __init__(self, max_records: int, max_bytes: int) -> None:
        if max_records < 1 or max_bytes < 1:
            raise ValueError(f'window_records={max_records}, window_bytes={max_bytes}: must be at least 1')
        self.max_records, self.max_bytes = max_records, max_bytes
        self.records = self.size = 0

    def has_room(self, count: int, size: int) -> bool:
        """Returns whether more records fit. An empty window has room for any number."""
        return self.records <= 0 or (self.records + count <= self.max_records and self.size + size <= self.max_bytes)

    def full(self, timeout: float) -> str:
        """Returns the text of the Timeout for a record that was not sent."""
        return f'not sent: the window was full for {timeout:g} s ({count(self.records)} not settled)'


class Log:
    """The records that a client sends to one topic, and their outcomes.

    Attributes:
        core: the session.
        failed: the error that ended the topic for this client, or None.
        trouble: why the last attempt to connect failed, or None.
        asked: replies by record number; None for one that has not arrived.
    """

    def __init__(self, topic: str, producer: str, window: Window, *, token: Optional[str], accept_lost: bool) -> None:
        self.topic = topic
        self.failed: Optional[Error] = None
        self.trouble: Optional[str] = None
        self.core = _core.Writer(
            topic, producer, format='json+pickle', accept=FORMATS, token=token, accept_lost=accept_lost)
        self.asked: dict[int, Any] = {}
        self._window, self._counted = window, (0, 0)
        self._idle_since: Optional[float] = None
        self._rejected: dict[int, RejectedError] = {}
        self._untold: dict[int, None] = {}  # rejections that no call has raised
        self._forgotten = 0  # rejections up to this number are no longer kept

    def take(self, chunk: Chunk) -> int:
        """Adds records, all or none. Returns the last one's number."""
        number = self.core.send_all(chunk.records, chunk.size)
        self._count()
        return number

    def connect(self, now: float, attempt: int) -> bytes:
        """Begins a connection. Returns the greeting."""
        self._idle_since = None
        return self.core.connect(now, attempt)

    def expires(self, now: float) -> float:
        """Returns when to close the connection because the server is silent, or because there is nothing to send."""
        self._idle_since = None if self.core.pending else self._idle_since or now
        silent = self.core.deadline()
        return silent if self._idle_since is None else min(silent, self._idle_since + IDLE)

    def receive(self, data: bytes, now: float) -> Optional[_core.Ended]:
        """Handles received bytes. Returns how the session ended, or None."""
        self.trouble = None
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
        """Ends the topic: its records are no longer sent, and no longer count in the window."""
        self.failed = self.failed or error
        self._count()

    def _count(self) -> None:
        """Updates the window's counts. If a call is interrupted, the next one makes up for it."""
        records, size = (self.core.pending, self.core.size) if self.failed is None else (0, 0)
        self._window.records += records - self._counted[0]
        self._window.size += size - self._counted[1]
        self._counted = records, size

    def _reject(self, event: _core.Rejected) -> None:
        if event.number in self._rejected:
            return  # the server repeats it after a reconnect
        self._rejected[event.number] = RejectedError(
            event.text, event.code, event.number, self.topic, reason=event.reason)
        self._untold[event.number] = None
        if len(self._rejected) > TOLD:
            self._forgotten = next(iter(self._rejected))
            del self._rejected[self._forgotten]
            self._untold.pop(self._forgotten, None)

    def outcome(self, begin: int, end: int) -> Optional[RejectedError]:
        """Returns the first rejection among settled records, with the others attached, or None."""
        if not self._rejected:
            return None
        numbers = range(begin, end + 1) if begin == end else sorted(n for n in self._rejected if begin <= n <= end)
        for n in numbers:
            self._untold.pop(n, None)
        error = _joined([self._rejected[n] for n in numbers if n in self._rejected])
        if error is None and begin <= self._forgotten:
            raise Error(f'the outcome of record {begin} of topic {self.topic} is no longer known: more than {TOLD} '
                        'records were rejected since; see the topic _rejected')
        return error

    def untold(self) -> list[RejectedError]:
        """Returns the rejections that no call has raised yet, once."""
        numbers, self._untold = sorted(self._untold), {}
        return [self._rejected[n] for n in numbers]

    def reply(self, number: int) -> dict[Any, Any]:
        """Returns the reply to a settled record, or raises NoReply."""
        reply = self.asked[number]
        if isinstance(reply, Exception):
            raise reply
        if reply is None:
            raise NoReply(f'record {number} of topic {self.topic} is settled, but the server sent no reply')
        return reply  # type: ignore[no-any-return]

    def late(self, to: int, timeout: float) -> str:
        """Returns the text of the Timeout for records that were sent."""
        why = f' ({self.trouble})' if self.trouble else ''
        return f'{count(to - self.core.acked)} of topic {self.topic} not settled after {timeout:g} s{why}{CONTINUES}'


def flushed(logs: Iterable[Log], failures: list[Error]) -> None:
    """Raises the first failure of a flush; if there is none, the rejections that no call has raised."""
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
    """Returns the dictionary in a reply, or the exception to raise instead."""
    if event.data is None:
        return NoReply(f'the server can\'t send the reply: {event.error}')
    try:
        return decode(event.data, 'json' if event.data[:1] == b'{' else 'cbor')
    except ValueError as e:
        return NoReply(f'can\'t decode the reply: {e}')
