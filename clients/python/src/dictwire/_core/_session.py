"""The base of `Writer` and `Reader`: the state of a session, and the parsing of its messages."""

from __future__ import annotations

from typing import Any, Callable

from .._errors import ProtocolError
from ._messages import Broken, Event, Lines


class Session:
    """The client's side of a native session, across connections.

    `_state` is the method that handles the next message of the connection.
    """

    def __init__(self) -> None:
        self._state: Callable[[dict[str, Any]], list[Event]] = self._closed
        self._lines = Lines()
        self._heard = 0.0
        self.welcomed = False  #: whether the server has accepted the greeting of the current connection

    @property
    def served(self) -> bool:
        """Whether the server has made progress for this session in the current connection."""
        raise NotImplementedError

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Parses received bytes and returns the events in them.

        After a `Broken` or `Ended` event, everything from this connection is ignored.
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
        """Consumes the bytes that follow the last message, if any, and reports whether they are complete."""
        raise NotImplementedError

    def _closed(self, message: dict[str, Any]) -> list[Event]:
        raise ProtocolError('unexpected message after the end of the session')
