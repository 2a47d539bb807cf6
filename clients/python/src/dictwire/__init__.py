"""Sends dictionaries from Python, and reads them back: whole, exactly once, on disk.

    dictwire.send({'name': 'Alice', 'when': datetime.now(timezone.utc)})   # stored when it returns
    with dictwire.connect() as c:                    # leaving the block waits for what was sent
        receipt = c.send(order, topic='orders')      # pipelined; receipt.wait() returns when it is stored
        c.send_many(orders, topic='orders')          # returns when all are settled
        answer = c.ask({'age': 30}, topic='people', timeout=2)       # what the server's handler replies
        for r in c.read('orders.*', cursor='billing', follow=True):  # r.data, r.topic, r.time, r.position, …
            work(r.data)                             # the cursor moves after the body; an exception leaves it

    Client      send, send_many, ask, flush, read, close; aio.Client for asyncio
    Receipt     wait, settled, topic, producer, number
    Reader      iterate; commit, close, position
    Record      data, topic, position, after, time, principal, producer, number
    Timestamp, TimeOfDay, Duration       times with nanoseconds
    CBORTag, CBORSimpleValue, ExtType    what other programs send and Python has no type for
    Error       Unavailable, Timeout, ProtocolError, NotSettled, NoReply, SkippedError, DamagedError, RemoteError
    RemoteError RejectedError, LostError, ConflictError, FencedError, ForbiddenError, LossError

The server is `dictwire serve`. What a dictionary may hold, and what it becomes at the other end, is in `plain`.
More: `dictwire.aio`, `dictwire.logging`, `dictwire.testing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from ._cbor import CBORSimpleValue as CBORSimpleValue
from ._cbor import CBORTag as CBORTag
from ._cbor import Duration as Duration
from ._cbor import ExtType as ExtType
from ._cbor import TimeOfDay as TimeOfDay
from ._cbor import Timestamp as Timestamp
from ._client import Client as Client
from ._client import Reader as Reader
from ._client import Receipt as Receipt
from ._errors import ConflictError as ConflictError
from ._errors import DamagedError as DamagedError
from ._errors import Error as Error
from ._errors import FencedError as FencedError
from ._errors import ForbiddenError as ForbiddenError
from ._errors import LossError as LossError
from ._errors import LostError as LostError
from ._errors import NoReply as NoReply
from ._errors import NotSettled as NotSettled
from ._errors import ProtocolError as ProtocolError
from ._errors import RejectedError as RejectedError
from ._errors import RemoteError as RemoteError
from ._errors import SkippedError as SkippedError
from ._errors import Timeout as Timeout
from ._errors import Unavailable as Unavailable
from ._records import Record as Record
from ._sending import CLOSE as _CLOSE
from ._values import plain as plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._address import TLS
    from ._values import Default

__version__ = '0.1.0'


def connect(addr: Optional[str] = None, *, token: Optional[str] = None, tls: TLS = None, wait: float = 0.0,
            producer: str = 'python', window_records: int = 65536, window_bytes: int = 16 << 20,
            close_timeout: float = _CLOSE, accept_lost: bool = False, default: Optional[Default] = None) -> Client:
    """Returns a client of the server at addr.

    Args:
        addr: host:port, tls://host:port or unix:PATH, several with commas between. None is DICTWIRE_ADDR, or
            127.0.0.1:65432.
        token: who speaks. None is DICTWIRE_TOKEN, or nobody in particular.
        tls: True, or an ssl.SSLContext.
        wait: seconds to wait for a server that does not answer yet.
        producer: what the name under which the records are numbered begins with.
        window_records, window_bytes: how much may be on its way; beyond that, sending waits.
        close_timeout: seconds that leaving the block and close() wait for what is not settled.
        accept_lost: go on where the server has less than it acknowledged.
        default: is called with what dictwire can't carry, and returns what it can.

    Raises:
        Unavailable: nobody can be reached.
        ValueError: that is no address, or no window.
    """
    return Client(addr, token=token, tls=tls, wait=wait, producer=producer, window_records=window_records,
                  window_bytes=window_bytes, close_timeout=close_timeout, accept_lost=accept_lost, default=default)


def send(dictionary: Mapping[Any, Any], topic: str = 'default', *, addr: Optional[str] = None,
         timeout: Optional[float] = None, tls: TLS = None, token: Optional[str] = None) -> None:
    """Sends one dictionary, and returns when it is stored. A program that sends more makes a client by `connect`.

    Raises:
        Unavailable: nobody can be reached.
        RejectedError: it is durable in `_rejected` instead.
        Timeout: it is not known after timeout seconds whether it is stored.
        TypeError: dictwire can't carry a value.
    """
    c = Client(addr, tls=tls, token=token)
    try:
        c.send(dictionary, topic, timeout=timeout).wait(timeout)
    finally:
        try:
            c.close(0)
        except Error:  # the exception under way says it
            pass
