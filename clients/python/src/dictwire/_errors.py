"""Exceptions. All are subclasses of `Error`, and can be pickled."""

from __future__ import annotations

from typing import Any, Optional


class Error(Exception):
    """The base class of all exceptions of this package."""


class Unavailable(Error, ConnectionError):
    """No server can be reached.

    `connect(wait=...)` waits for one. A client sends its pending records as soon as a server can be reached.
    """


class Timeout(Error, TimeoutError):
    """A call took longer than its `timeout`. The message says what was not done; the call can be repeated."""


class ProtocolError(Error):
    """The peer violates the protocol. It may not be a dictwire server: check the address."""


class RemoteError(Error):
    """An error that the server reported.

    Attributes:
        text: the error message.
        code: the error code, as listed in section 7 of docs/protocol.md.
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
        topic: the topic it was sent to.
        others: the errors of the other rejected records of the same call.
        reason: a machine-readable reason from the server's handler, or ''.
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
    """The token is missing, unknown, or not allowed to do this."""


class ConflictError(RemoteError):
    """The server has a different record under a number of this producer.

    Two clients use the same producer name. Nothing was dropped; give one of them another name.
    """


class FencedError(RemoteError):
    """Another connection took over the producer or the cursor, which only one connection can use at a time."""


class LostError(RemoteError):
    """The server has lost records that it acknowledged, or does not know a reader's position.

    It may have been restored from a backup, or be a different server. To continue nevertheless, use
    `connect(accept_lost=True)` for sending, or another cursor for reading.
    """


class LossError(RemoteError):
    """A record can't be read, because Python or the format can't represent a value. The message contains its path.

    If `position` is not None, reading continues after the record.

    Attributes:
        position: the position of the record, or None if the server ended the session.
        after: the position after it, or None.
    """

    def __init__(self, text: str, code: str = 'loss', position: Optional[str] = None,
                 after: Optional[str] = None) -> None:
        super().__init__(text, code)
        self.position, self.after = position, after
        self.args = (text, code, position, after)


class SkippedError(Error):
    """Records were trimmed before they were read. Reading continues after them.

    Attributes:
        start, end: the positions between which records were trimmed.
        topic: the topic of the records.
    """

    def __init__(self, start: str, end: str, topic: str) -> None:
        super().__init__(start, end, topic)
        self.start, self.end, self.topic = start, end, topic

    def __str__(self) -> str:
        return (f'records of topic {self.topic} between {self.start} and {self.end} were trimmed before they were '
                'read; the next call continues after them')


class DamagedError(Error):
    """Records are damaged on the server's disk. Reading continues after them.

    Attributes:
        start, end: the positions between which records are damaged.
        topic: the topic of the records, or None if it is not known.
        text: the error message.
    """

    def __init__(self, start: str, end: str, topic: Optional[str], text: str) -> None:
        super().__init__(start, end, topic, text)
        self.start, self.end, self.topic, self.text = start, end, topic, text

    def __str__(self) -> str:
        of = f'topic {self.topic}' if self.topic else 'an unknown topic'
        return (f'records of {of} between {self.start} and {self.end} are damaged on the server: {self.text}; '
                'the next call continues after them')


class NotSettled(Error):
    """A client was closed with records that may not be stored.

    Attributes:
        count: the number of records.
        why: the reason.
    """

    def __init__(self, count: int, why: str) -> None:
        super().__init__(count, why)
        self.count, self.why = count, why

    def __str__(self) -> str:
        return f'{self.count} record{"" if self.count == 1 else "s"} not settled: {self.why}'


class NoReply(Error):
    """A record is settled without a reply: no handler replied to it, or the reply was lost with a connection.

    Calling ask() again sends the record again.
    """


_REMOTE: dict[str, Any] = {
    'conflict': ConflictError, 'fenced': FencedError, 'forbidden': ForbiddenError, 'lost': LostError,
    'loss': LossError, 'plaintext': ForbiddenError, 'stale': FencedError, 'unauthenticated': ForbiddenError,
}


def remote(code: str, text: str) -> RemoteError:
    """Returns the exception for an error that the server reported."""
    error: RemoteError = _REMOTE.get(code, RemoteError)(text, code)
    return error
