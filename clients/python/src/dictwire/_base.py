"""What the clients for threads and for asyncio have in common: everything but waiting."""

from __future__ import annotations

import os
import secrets
import warnings
from typing import TYPE_CHECKING, Any, Optional, Union

from . import _core
from ._address import TLS, Address
from ._errors import Error, NotSettled, Timeout
from ._feed import Feed
from ._sending import CLOSE, CONTINUES, Chunk, Log, Window, check_topic, count
from ._values import FORMATS, Default, encode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from ._deadline import Deadline

READ_SIZE = 256 << 10  # bytes to read from a socket at once
COMMIT = 5.0  # seconds to wait for a commit when a reader is closed


class BaseReceipt:
    """A record that was sent.

    Attributes:
        number: its number in the producer's sequence for the topic, starting at 1.
    """

    __slots__ = ('_topic', 'number')

    def __init__(self, topic: Any, number: int) -> None:
        self._topic, self.number = topic, number

    @property
    def topic(self) -> str:
        """The topic of the record."""
        topic: str = self._topic.log.topic
        return topic

    @property
    def producer(self) -> str:
        """The producer name that the record was sent under."""
        producer: str = self._topic.log.core.producer
        return producer

    @property
    def settled(self) -> bool:
        """Whether the record is known to be stored or rejected. If it is, waiting returns or raises at once."""
        acked: int = self._topic.log.core.acked
        return acked >= self.number

    def __repr__(self) -> str:
        return f'<record {self.number} of {self.topic}: {"settled" if self.settled else "pending"}>'


class BaseClient:
    """The options and the state of a client.

    Attributes:
        producer: the name under which its records are numbered.
    """

    def __init__(self, addr: Optional[str] = None, *, token: Optional[str] = None, tls: TLS = None,
                 wait: float = 0.0, producer: str = 'python', window_records: int = 65536,
                 window_bytes: int = 16 << 20, close_timeout: float = CLOSE, accept_lost: bool = False,
                 default: Optional[Default] = None) -> None:
        self._prefix = producer
        self._address = Address(addr, tls)
        self._token = token or os.environ.get('DICTWIRE_TOKEN')
        self._wait, self._close_timeout = wait, close_timeout
        self._default, self._accept_lost = default, accept_lost
        self._window_records, self._window_bytes = window_records, window_bytes
        self._reset()
        self._start()

    def _reset(self) -> None:
        """Sets the state of a client that has sent nothing."""
        self.producer = f'{self._prefix}.{secrets.token_hex(8)}'
        self._closed = False
        self._window = Window(self._window_records, self._window_bytes)

    def _start(self) -> None:
        """Completes the constructor."""

    def _check_open(self) -> None:
        if self._closed:
            raise Error('the client is closed')

    def _encode(self, dictionary: Mapping[Any, Any], default: Optional[Default]) -> Chunk:
        chunk = Chunk()
        chunk.add(encode(dictionary, default or self._default))
        return chunk

    def _subscription(self, topics: Union[str, list[str]], cursor: Optional[str],
                      start: Union[str, datetime, timedelta], follow: bool) -> Feed:
        self._check_open()
        core = _core.Reader(topics, cursor=cursor, start=_core.start(start), follow=follow, accept=FORMATS,
                            token=self._token)
        return Feed(core, self._address.servers)

    def _finish(self, left: int, failure: Optional[Error]) -> None:
        """Ends close(): raises what prevented records from being settled, and how many are not."""
        if left:
            why = 'they were sent while the client was closing' if failure is None else str(failure)
            raise NotSettled(left, why.replace(CONTINUES, '')) from failure
        if failure is not None:
            raise failure

    def __repr__(self) -> str:
        return (f'<dictwire client of {self._address.text}: '
                f'{"closed" if self._closed else f"{count(self._window.records)} pending"}>')


class BaseTopic:
    """A client's log of one topic."""

    def __init__(self, client: BaseClient, name: str) -> None:
        check_topic(name)
        self.log = Log(name, client.producer, client._window, token=client._token, accept_lost=client._accept_lost)
        self.retry = _core.Retry(client._address.servers)
        self._owner = client

    def check(self) -> None:
        """Raises an error if nothing more can be sent."""
        if self.log.failed is not None:
            raise self.log.failed
        self._owner._check_open()

    def left(self, number: int, deadline: Deadline) -> Optional[float]:
        """Returns the seconds left to wait for all records up to a number. Raises an error if there are none."""
        self.check()
        left = deadline.left()
        if left == 0:
            raise Timeout(self.log.late(number, deadline.timeout))
        return left

    def crash(self, error: Exception) -> None:
        """Ends the topic after an unexpected error, so that calls do not wait for ever."""
        self.log.fail(Error(f'topic {self.log.topic} failed: {type(error).__name__}: {error}'))


class BaseReader:
    """The state of a reader."""

    def __init__(self, client: Any, feed: Feed, timeout: Optional[float]) -> None:
        self._client, self._feed, self._timeout = client, feed, timeout
        self._core = feed.core
        self._closing = False

    @property
    def position(self) -> Optional[str]:
        """The position after the last record that was returned, or None before the first."""
        return self._feed.position

    def _left(self, deadline: Deadline) -> Optional[float]:
        """Returns the seconds left to wait for the next record. Raises an error if there are none."""
        if not self._closing:
            self._client._check_open()
        left = deadline.left()
        if left == 0:
            raise Timeout(f'nothing arrived for {deadline.timeout:g} s; the next call continues to wait')
        return left

    def __repr__(self) -> str:
        return f'<dictwire reader of {self._core.subscribe}: at {self.position or "its start"}>'


def note(exception: BaseException, error: Error) -> None:
    """Adds an error of close() to the exception that left the block."""
    if hasattr(exception, 'add_note'):
        exception.add_note(f'dictwire: {error}')
    else:
        warnings.warn(f'dictwire: {error}', RuntimeWarning, stacklevel=3)
