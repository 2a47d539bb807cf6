"""The client for asyncio: `dictwire.aio.connect`.

    async with dictwire.aio.connect() as c:
        receipt = await c.send(order, topic='orders')     # numbered
        await receipt                                     # stored
        async for r in c.read('orders'):
            print(r.data)

It has the methods of `dictwire.Client`, to be awaited, and raises the same exceptions. If a call that sends one record
is cancelled, nothing is sent; cancelling the wait for a receipt has no effect on the record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from .._sending import CLOSE
from ._client import Client, Receipt
from ._reader import Reader

if TYPE_CHECKING:
    from .._address import TLS
    from .._values import Default

__all__ = ['Client', 'Reader', 'Receipt', 'connect']


def connect(addr: Optional[str] = None, *, token: Optional[str] = None, tls: TLS = None, wait: float = 0.0,
            producer: str = 'python', window_records: int = 65536, window_bytes: int = 16 << 20,
            close_timeout: float = CLOSE, accept_lost: bool = False, default: Optional[Default] = None) -> Client:
    """Returns a client, to be used with `async with`. Arguments and exceptions are those of `dictwire.connect`."""
    return Client(addr, token=token, tls=tls, wait=wait, producer=producer, window_records=window_records,
                  window_bytes=window_bytes, close_timeout=close_timeout, accept_lost=accept_lost, default=default)
