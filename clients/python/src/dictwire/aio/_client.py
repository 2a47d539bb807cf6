"""The client in an event loop."""

from __future__ import annotations

import asyncio
import warnings
import weakref
from collections.abc import AsyncIterable, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Optional, Union

from .. import _core
from .._base import BaseClient, BaseReceipt, note
from .._deadline import Deadline
from .._errors import Error, Unavailable
from .._sending import EXIT, chunks, flushed
from ._connect import connect
from ._reader import Reader
from ._topic import Topic
from ._turns import Turns

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from .._values import Default

_Dictionaries = Union[Iterable[Mapping[Any, Any]], AsyncIterable[Mapping[Any, Any]]]


class Receipt(BaseReceipt):
    """A record that was sent. Awaiting it returns when the record is stored, or raises `RejectedError`.

    Attributes:
        number: its number in the producer's sequence for the topic, starting at 1.
    """

    __slots__ = ()

    async def wait(self, timeout: Optional[float] = None) -> Receipt:
        """Returns when the record is stored: see `dictwire.Receipt.wait`."""
        await self._topic.wait(self.number, self.number, timeout)
        return self

    def __await__(self) -> Generator[Any, None, Receipt]:
        return self.wait().__await__()


class Client(BaseClient):
    """Sends dictionaries to a server and reads them back, in one event loop: see `dictwire.Client`."""

    def _reset(self) -> None:
        super()._reset()
        self._topics: dict[str, Topic] = {}
        self._readers: weakref.WeakSet[Reader] = weakref.WeakSet()
        self._turns = Turns(self._window)

    async def __aenter__(self) -> Client:
        deadline = Deadline(self._wait)
        for delay in _core.Backoff():
            try:
                transport, _, _ = await connect(self._address, asyncio.Protocol)
                transport.close()
                break
            except Unavailable:
                left = deadline.left()
                if not left:
                    raise
                await asyncio.sleep(min(delay, left))
        return self

    async def __aexit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is None:
            await self.close()
            return
        try:  # the exception that left the block matters more than waiting
            await self.close(min(EXIT, self._close_timeout))
        except Error as e:
            note(value, e)

    def __del__(self) -> None:
        if getattr(self, '_topics', None) and not self._closed:
            warnings.warn(f'unclosed {self!r}', ResourceWarning, source=self, stacklevel=2)

    # Sending

    async def send(self, dictionary: Mapping[Any, Any], topic: str = 'default', *, timeout: Optional[float] = None,
                   default: Optional[Default] = None) -> Receipt:
        """Queues a dictionary to be sent, and returns its receipt: see `dictwire.Client.send`."""
        t, chunk = self._topic(topic), self._encode(dictionary, default)
        return Receipt(t, await t.send(chunk, timeout))

    async def send_many(self, dictionaries: _Dictionaries, topic: str = 'default', *, timeout: Optional[float] = None,
                        default: Optional[Default] = None) -> int:
        """Sends any number of dictionaries, and returns how many when all are settled: see `dictwire.Client.send_many`.

        Dictionaries from an asynchronous iterable are sent as they arrive.
        """
        t, begin, number, count = self._topic(topic), 0, 0, 0
        if isinstance(dictionaries, AsyncIterable):
            async for dictionary in dictionaries:
                number = await t.send(self._encode(dictionary, default), timeout)
                begin = begin or number
                count += 1
        else:
            for chunk in chunks(dictionaries, default or self._default):
                number = await t.send(chunk, timeout)
                begin = begin or number - len(chunk.records) + 1
                count += len(chunk.records)
                await asyncio.sleep(0)
        if count:
            await t.wait(begin, number, timeout)
        return count

    async def ask(self, dictionary: Mapping[Any, Any], topic: str = 'default', *, timeout: Optional[float] = None,
                  default: Optional[Default] = None) -> dict[Any, Any]:
        """Sends a dictionary and returns the reply of the server's handler: see `dictwire.Client.ask`."""
        t, chunk = self._topic(topic), self._encode(dictionary, default)
        number = await t.send(chunk, timeout)
        t.log.asked[number] = None
        try:
            await t.wait(number, number, timeout)
            return t.log.reply(number)
        finally:
            del t.log.asked[number]

    async def flush(self, timeout: Optional[float] = None) -> None:
        """Returns when everything that was sent is settled: see `dictwire.Client.flush`."""
        deadline, failures = Deadline(timeout), []
        pending = [(t, t.log.core.last) for t in self._topics.values()]
        for t, last in pending:
            try:
                await t.settle(last, deadline)
            except Error as e:
                failures.append(e)
        flushed([t.log for t, _ in pending], failures)

    # Reading

    def read(self, topics: Union[str, list[str]] = '*', *, cursor: Optional[str] = None,
             start: Union[str, datetime, timedelta] = 'earliest', follow: bool = False,
             timeout: Optional[float] = None) -> Reader:
        """Returns an asynchronous iterator over records: see `dictwire.Client.read`."""
        reader = Reader(self, self._subscription(topics, cursor, start, follow), timeout)
        self._readers.add(reader)
        return reader

    # Closing

    async def close(self, timeout: Optional[float] = None) -> None:
        """Waits until everything that was sent is settled, then closes the client: see `dictwire.Client.close`.

        A reader that another task is waiting in is closed, too.
        """
        if self._closed:
            return
        failure: Optional[Error] = None
        try:
            await self.flush(self._close_timeout if timeout is None else timeout)
        except Error as e:
            failure = e
        finally:
            self._closed = self._turns.closed = True
            left = sum([t.close() for t in self._topics.values()])
            self._turns.grant()
            for reader in list(self._readers):
                await reader._end()
        self._finish(left, failure)

    def _topic(self, name: str) -> Topic:
        t = self._topics.get(name)
        if t is None:
            self._check_open()
            t = self._topics[name] = Topic(self, name)
        return t
