"""Sends dictionaries to a dictwire server, and reads them back: stored durably, exactly once, types preserved.

    dictwire.send({'name': 'Alice', 'when': datetime.now(timezone.utc)})   # stored when it returns
    with dictwire.connect() as c:                    # the end of the block waits for pending records
        receipt = c.send(order, topic='orders')      # pipelined; receipt.wait() returns when it is stored
        c.send_many(orders, topic='orders')          # returns when all are settled
        answer = c.ask({'age': 30}, topic='people', timeout=2)       # the reply of the server's handler
        for r in c.read('orders.*', cursor='billing', follow=True):  # r.data, r.topic, r.time, r.position, …
            work(r.data)                             # commits after each body, unless it raises

    Client      send, send_many, ask, flush, read, close; aio.Client for asyncio
    Receipt     wait, settled, topic, producer, number
    Reader      iterate; commit, close, position
    Record      data, topic, position, after, time, principal, producer, number
    Timestamp, TimeOfDay, Duration       times with nanoseconds
    CBORTag, CBORSimpleValue, ExtType    values from other programs that have no Python type
    Error       Unavailable, Timeout, ProtocolError, NotSettled, NoReply, SkippedError, DamagedError, RemoteError
    RemoteError RejectedError, LostError, ConflictError, FencedError, ForbiddenError, LossError

The server is `dictwire serve`. See `plain` for the values that a dictionary may contain.
See also `dictwire.aio`, `dictwire.logging`, `dictwire.testing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from ._cbor import CBORSimpleValue as CBORSimpleValue
from ._cbor import CBORTag as CBORTag
from ._cbor import Duration as Duration
from ._cbor import ExtType as ExtType
from ._cbor import TimeOfDay as TimeOfDay
from ._cbor import Timestamp as Timestamp
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
from ._threads import Client as Client
from ._threads import Reader as Reader
from ._threads import Receipt as Receipt
from ._values import plain as plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._address import TLS
    from ._values import Default

__version__ = '0.1.0'


def connect(addr: Optional[str] = None, *, token: Optional[str] = None, tls: TLS = None, wait: float = 0.0,
            producer: str = 'python', window_records: int = 65536, window_bytes: int = 16 << 20,
            close_timeout: float = _CLOSE, accept_lost: bool = False, default: Optional[Default] = None) -> Client:
    """Connects to a server and returns a client.

    Args:
        addr: host:port, tls://host:port or unix:PATH; separate several with commas. Defaults to the environment
            variable DICTWIRE_ADDR, or 127.0.0.1:65432.
        token: the access token. Defaults to the environment variable DICTWIRE_TOKEN, or none.
        tls: True to verify with the system's CA certificates, or an ssl.SSLContext.
        wait: seconds to retry while the server can't be reached.
        producer: a prefix of the random name under which the records are numbered.
        window_records, window_bytes: the limit on pending records; sending blocks while it is reached.
        close_timeout: seconds to wait for pending records in close() and at the end of the block.
        accept_lost: continue even if the server has lost records that it acknowledged.
        default: a function that is called with each unsupported value, and returns a supported one.

    Raises:
        Unavailable: no server can be reached.
        ValueError: an address or a limit is invalid.
    """
    return Client(addr, token=token, tls=tls, wait=wait, producer=producer, window_records=window_records,
                  window_bytes=window_bytes, close_timeout=close_timeout, accept_lost=accept_lost, default=default)


def send(dictionary: Mapping[Any, Any], topic: str = 'default', *, addr: Optional[str] = None,
         timeout: Optional[float] = None, tls: TLS = None, token: Optional[str] = None) -> None:
    """Sends one dictionary, and returns when it is stored. To send more than one, use `connect`.

    Raises:
        Unavailable: no server can be reached.
        RejectedError: the record is durable in `_rejected` instead.
        Timeout: the outcome is unknown after timeout seconds.
        TypeError: a value is not supported.
    """
    c = Client(addr, tls=tls, token=token)
    try:
        c.send(dictionary, topic, timeout=timeout).wait(timeout)
    finally:
        try:
            c.close(0)
        except Error:  # it adds nothing to what wait() raised
            pass
