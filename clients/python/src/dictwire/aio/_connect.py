"""Connecting in an event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from .._address import reason, refuse_self

if TYPE_CHECKING:
    from .._address import Address

_P = TypeVar('_P', bound=asyncio.Protocol)


async def connect(address: Address, protocol: Callable[[], _P]) -> tuple[asyncio.Transport, _P, int]:
    """Connects to the first address that answers. Returns the transport, the protocol, and the address's index.

    Raises:
        Unavailable: no address could be reached.
    """
    loop, reasons = asyncio.get_running_loop(), []
    for server, text, where, context in address.turns():
        if isinstance(where, str):
            opening: asyncio.Task[Any] = loop.create_task(loop.create_unix_connection(protocol, where))
        else:
            opening = loop.create_task(loop.create_connection(protocol, where[0], where[1], ssl=context))
        used = False
        try:
            await asyncio.wait([opening], timeout=address.timeout)
            if opening.done():
                transport, made = opening.result()
                refuse_self(transport.get_extra_info('socket'))
                address.servers.answered(server)
                used = True
                return transport, made, server
            reasons.append(f'{text}: no answer')
        except (OSError, UnicodeError) as e:
            reasons.append(reason(text, e))
        finally:
            if not used:
                opening.cancel()
                opening.add_done_callback(_abort)
    raise address.unreachable(reasons)


def _abort(opening: asyncio.Task[Any]) -> None:
    """Closes the connection of an abandoned attempt."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].abort()
