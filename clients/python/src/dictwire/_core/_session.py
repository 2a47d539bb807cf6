"""What writers and readers have in common: a session's states, and the taking apart of what comes."""

from __future__ import annotations

from typing import Any, Callable

from .._errors import ProtocolError
from ._messages import Broken, Event, Lines


class Session:
    """One side of a native session, across connections. `_state` takes the next message of a connection."""

    def __init__(self) -> None:
        self._state: Callable[[dict[str, Any]], list[Event]] = self._closed
        self._lines = Lines()
        self._heard = 0.0

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Takes what came, and returns what it means.

        After a `Broken` or `Ended` the connection means nothing any more.
        """
        self._heard = now
        events: list[Event] = []
        try:
            self._receive(data, events)
        except ProtocolError as e:
            self._state = self._closed
            events.append(Broken(e))
        return events

    def _receive(self, data: bytes, events: list[Event]) -> None:
        if self._state == self._closed:
            return
        self._lines.feed(data)
        while self._body(events):
            message = self._lines.message()
            if message is None:
                return
            events += self._state(message)
            if self._state == self._closed:
                return

    def _body(self, events: list[Event]) -> bool:
        """Takes the bytes that follow the last message, if any do, and reports whether they are all there."""
        raise NotImplementedError

    def _closed(self, message: dict[str, Any]) -> list[Event]:
        raise ProtocolError('nothing is expected after the end of a session')
