"""Sends dictionaries from Python, and reads them back: whole, exactly once, on disk.

    import dictwire

    dictwire.send({'name': 'Alice', 'when': datetime.now(timezone.utc)})   # stored when it returns

    with dictwire.connect() as c:
        receipt = c.send(order, topic='orders')      # pipelined; receipt.wait() returns when it is stored
        c.send_many(orders, topic='orders')
        answer = c.ask({'age': 30}, topic='people', timeout=2)
        for r in c.read('orders.*', cursor='billing', follow=True):
            work(r.data)                             # the cursor moves after the body

The server is `dictwire serve`, by default on 127.0.0.1:65432. What a dictionary may hold, and what it becomes at
the other end, is the table of `plain`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from ._cbor import CBORSimpleValue, CBORTag, Duration, ExtType, TimeOfDay, Timestamp
from ._client import Client, Reader, Receipt
from ._errors import (
    ConflictError,
    DamagedError,
    Error,
    FencedError,
    ForbiddenError,
    LossError,
    LostError,
    NoReply,
    NotSettled,
    ProtocolError,
    RejectedError,
    RemoteError,
    SkippedError,
    Timeout,
    Unavailable,
)
from ._records import Record
from ._values import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._address import TLS

__version__ = '0.1.0'

__all__ = [
    'CBORSimpleValue', 'CBORTag', 'Client', 'ConflictError', 'DamagedError', 'Duration', 'Error', 'ExtType',
    'FencedError', 'ForbiddenError', 'LossError', 'LostError', 'NoReply', 'NotSettled', 'ProtocolError', 'Reader',
    'Receipt', 'Record', 'RejectedError', 'RemoteError', 'SkippedError', 'TimeOfDay', 'Timeout', 'Timestamp',
    'Unavailable', 'connect', 'plain', 'send',
]


def connect(addr: Optional[str] = None, **options: Any) -> Client:
    """Returns a client of the server at addr: see `Client`.

    Args:
        addr: host:port or unix:PATH, several with commas between. None is DICTWIRE_ADDR, or 127.0.0.1:65432.
        token: who speaks. None is DICTWIRE_TOKEN.
        tls: True, or an ssl.SSLContext.
        wait: seconds to wait for a server that does not answer yet.
        producer: what the name of the client's numbered records begins with.
        window_records, window_bytes: how much may be on its way; beyond that, sending waits.
        accept_lost: go on where the server has less than it acknowledged.
        default: is called with what dictwire can't carry, and returns what it can.

    Raises:
        Unavailable: nobody can be reached.
    """
    return Client(addr, **options)


def send(dictionary: Mapping[Any, Any], topic: str = 'default', *, addr: Optional[str] = None,
         timeout: Optional[float] = None, tls: TLS = None, token: Optional[str] = None) -> None:
    """Sends one dictionary, and returns when it is stored. A program that sends more makes a client by `connect`.

    Raises:
        Unavailable: nobody can be reached.
        RejectedError: it is durable in `_rejected` instead.
        Timeout: it is not known whether it is stored.
        TypeError: dictwire can't carry a value.
    """
    c = Client(addr, tls=tls, token=token)
    try:
        c.send(dictionary, topic, timeout=timeout).wait(timeout)
    finally:
        try:
            c.close()
        except NotSettled:  # the exception under way says it
            pass
