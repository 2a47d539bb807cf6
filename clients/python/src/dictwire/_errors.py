"""What can go wrong. Every exception of this package is an `Error`, and can be pickled."""

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
    """A call took longer than its `timeout`. What it says it did not do, it did not do: call it again."""


class ProtocolError(Error):
    """The peer does not speak the native session: it is no dictwire server (look at the address), or one is broken."""


class RemoteError(Error):
    """What a server says against a session.

    Attributes:
        text: what is wrong, for people.
        code: what is wrong, from the list in the protocol's section 7.
    """

    def __init__(self, text: str, code: str = 'internal') -> None:
        super().__init__(text, code)
        self.text, self.code = text, code

    def __str__(self) -> str:
        return self.text


class RejectedError(RemoteError):
    """A record was rejected: it is durable in the topic `_rejected`, not in its own.

    Attributes:
        number: the record's number.
        topic: where it would have gone.
        others: the errors of the other records that the same call was told of.
        reason: the word, for programs, that the server's handler gave; '' where it gave none.
    """

    def __init__(self, text: str, code: str, number: int, topic: str, others: tuple[RejectedError, ...] = (),
                 reason: str = '') -> None:
        super().__init__(text, code)
        self.number, self.topic, self.others, self.reason = number, topic, others, reason
        self.args = (text, code, number, topic, others, reason)

    def __str__(self) -> str:
        more = f' (and {len(self.others)} more records)' if self.others else ''
        return f'record {self.number} of topic {self.topic} was rejected ({self.code}): {self.text}{more}'


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
    """A record can't be read: its format, or Python, can't hold a value, and the text names the place.

    Where `position` is not None, asking for the next record goes on after it.

    Attributes:
        position: where the record stands, or None where the server ended the reading.
        after: the position after it, or None.
    """

    def __init__(self, text: str, code: str = 'loss', position: Optional[str] = None,
                 after: Optional[str] = None) -> None:
        super().__init__(text, code)
        self.position, self.after = position, after
        self.args = (text, code, position, after)


class SkippedError(Error):
    """Records were trimmed before this reader came to them. Reading on continues after them.

    Attributes:
        start, end: positions; what lies between was trimmed.
        topic: whose records.
    """

    def __init__(self, start: str, end: str, topic: str) -> None:
        super().__init__(start, end, topic)
        self.start, self.end, self.topic = start, end, topic

    def __str__(self) -> str:
        return (f'records of topic {self.topic} between {self.start} and {self.end} were trimmed before they were '
                'read; ask for the next record to go on after them')


class DamagedError(Error):
    """Records can't be read from the server's disk. Reading on continues after them.

    Attributes:
        start, end: positions; what lies between is damaged.
        topic: whose records, or None where that is not known.
        text: what is wrong.
    """

    def __init__(self, start: str, end: str, topic: Optional[str], text: str) -> None:
        super().__init__(start, end, topic, text)
        self.start, self.end, self.topic, self.text = start, end, topic, text

    def __str__(self) -> str:
        whose = f'topic {self.topic}' if self.topic else 'some topic'
        return (f'records of {whose} between {self.start} and {self.end} are damaged on the server: {self.text}; '
                'ask for the next record to go on after them')


class NotSettled(Error):
    """A client ended with records that are not known to be stored.

    Attributes:
        count: how many.
        why: what they waited for.
    """

    def __init__(self, count: int, why: str) -> None:
        super().__init__(count, why)
        self.count, self.why = count, why

    def __str__(self) -> str:
        return f'{self.count} record{"" if self.count == 1 else "s"} not settled: {self.why}'


class NoReply(Error):
    """A record that was asked about is settled, and there is no reply: the server has no handler that replies to it,
    or the reply was lost with a connection. Asking again sends the record again."""


_REMOTE: dict[str, Any] = {
    'conflict': ConflictError, 'fenced': FencedError, 'forbidden': ForbiddenError, 'lost': LostError,
    'loss': LossError, 'plaintext': ForbiddenError, 'stale': FencedError, 'unauthenticated': ForbiddenError,
}


def remote(code: str, text: str) -> RemoteError:
    """Returns the exception for what a server said."""
    error: RemoteError = _REMOTE.get(code, RemoteError)(text, code)
    return error
