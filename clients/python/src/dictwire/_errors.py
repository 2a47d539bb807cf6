"""What can go wrong. Every exception of this package is an `Error`."""

from __future__ import annotations

from typing import Any, Optional


class Error(Exception):
    """The base of all exceptions of this package."""


class Unavailable(Error, ConnectionError):
    """Nobody can be reached, or the server can't take or give records for now.

    `connect(wait=...)` waits for a server. What a client has accepted is sent as
    soon as there is one.
    """


class Timeout(Error, TimeoutError):
    """A call took longer than its `timeout`. What it says it did not do, it did not do."""


class ProtocolError(Error):
    """The peer does not speak the native session: it is no dictwire server, or one side is broken."""


class RemoteError(Error):
    """What a server says against a session.

    Attributes:
        code: the code, from the list in the protocol's section 7.
    """

    def __init__(self, text: str, code: str = 'internal') -> None:
        super().__init__(text)
        self.code = code


class RejectedError(RemoteError):
    """A record was rejected: it is durable in the topic `_rejected`, not in its own.

    Attributes:
        number: the record's number.
        topic: where it would have gone.
    """

    def __init__(self, text: str, code: str, number: int, topic: str) -> None:
        super().__init__(text, code)
        self.number, self.topic = number, topic

    def __str__(self) -> str:
        return f'record {self.number} of topic {self.topic} was rejected ({self.code}): {super().__str__()}'


class ForbiddenError(RemoteError):
    """Who speaks is unknown, or may not do this: give a token that may."""


class ConflictError(RemoteError):
    """The server holds another record under a number of this producer.

    Two logs use one producer's name. Nothing was dropped; give one of them a name of its own.
    """


class FencedError(RemoteError):
    """Another connection took over the producer or the cursor: it is used twice. End one of the two."""


class LostError(RemoteError):
    """The server has less than it acknowledged, or does not have a reader's position.

    It was restored from a backup, or is another one. A person decides: a writer goes on with
    `connect(accept_lost=True)`, a reader with a cursor of another name.
    """


class LossError(RemoteError):
    """A format can't hold a value: the text names the place."""


class SkippedError(Error):
    """Records were trimmed before this reader came to them. Reading on continues after them.

    Attributes:
        start, end: positions; what lies between was trimmed.
        topic: whose records.
    """

    def __init__(self, start: str, end: str, topic: str) -> None:
        super().__init__(f'records of topic {topic} between {start} and {end} were trimmed before they were read; '
                         'ask for the next record to go on after them')
        self.start, self.end, self.topic = start, end, topic


class DamagedError(Error):
    """Records can't be read from the server's disk. Reading on continues after them.

    Attributes:
        start, end: positions; what lies between is damaged.
        topic: whose records, or None where that is not known.
    """

    def __init__(self, start: str, end: str, topic: Optional[str], text: str) -> None:
        super().__init__(f'records of {"topic " + topic if topic else "some topic"} between {start} and {end} '
                         f'are damaged on the server: {text}; ask for the next record to go on after them')
        self.start, self.end, self.topic = start, end, topic


class NotSettled(Error):
    """A client ended with records that are not known to be stored.

    Attributes:
        count: how many.
    """

    def __init__(self, count: int, why: str) -> None:
        super().__init__(f'{count} record{"" if count == 1 else "s"} not settled: {why}')
        self.count = count


class NoReply(Error):
    """A record that was asked about is settled, and the server's handler said nothing about it."""


_REMOTE: dict[str, Any] = {
    'conflict': ConflictError, 'fenced': FencedError, 'forbidden': ForbiddenError, 'lost': LostError,
    'loss': LossError, 'plaintext': ForbiddenError, 'stale': FencedError, 'unauthenticated': ForbiddenError,
}


def remote(code: str, text: str) -> RemoteError:
    """Returns the exception for what a server said."""
    error: RemoteError = _REMOTE.get(code, RemoteError)(text, code)
    return error
