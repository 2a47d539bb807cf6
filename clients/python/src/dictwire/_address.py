"""Server addresses, and connecting to them."""

from __future__ import annotations

import errno
import os
import random
import socket
import ssl
import time
from typing import TYPE_CHECKING, Optional, Union

from . import _core
from ._errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT = '127.0.0.1:65432'
CONNECT_TIMEOUT = 10.0  # seconds

Place = Union[str, tuple[str, int]]
TLS = Union[None, bool, ssl.SSLContext]


class Address:
    """The addresses of one server, or of several servers of one store.

    Args:
        addr: host:port, tls://host:port or unix:PATH; separate several with commas. Defaults to the environment
            variable DICTWIRE_ADDR, or 127.0.0.1:65432.
        tls: True to verify with the system's CA certificates, or an ssl.SSLContext.
    """

    def __init__(self, addr: Optional[str] = None, tls: TLS = None) -> None:
        self.text = addr or os.environ.get('DICTWIRE_ADDR') or DEFAULT
        self._places = [self._parse(one.strip(), tls) for one in self.text.split(',')]
        self.servers = _core.Servers(len(self._places), random.randrange(len(self._places)))
        self.timeout = CONNECT_TIMEOUT / min(len(self._places), 4)  #: seconds for each attempt

    def _parse(self, one: str, tls: TLS) -> tuple[str, Place, Optional[ssl.SSLContext]]:
        if one.startswith('unix:'):
            if not hasattr(socket, 'AF_UNIX'):
                raise ValueError(f'address {one!r}: this system has no Unix sockets')
            return one, one[5:], None
        bare = one[6:] if one.startswith('tls://') else one
        host, _, port = bare.rpartition(':')
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f'address {one!r}: want host:port or unix:PATH')
        context = None
        if isinstance(tls, ssl.SSLContext):
            context = tls
        elif tls or one.startswith('tls://'):
            context = ssl.create_default_context()
        return one, (host.strip('[]') or '127.0.0.1', int(port)), context

    def turns(self) -> Iterator[tuple[int, str, Place, Optional[ssl.SSLContext]]]:
        """Yields each address once, in the order in which to try them: its index, text, place and TLS context."""
        for server in self.servers.turns():
            yield server, *self._places[server]

    def unreachable(self, reasons: list[str]) -> Unavailable:
        """Returns the exception for when no address could be reached."""
        return Unavailable(f'no dictwire server can be reached at {"; ".join(reasons)} '
                           '(`dictwire serve` starts one; wait= waits for it)')

    def connect(self) -> tuple[socket.socket, int]:
        """Connects to the first address that answers. Returns the socket and the address's index.

        Raises:
            Unavailable: no address could be reached.
        """
        reasons = []
        for server, text, where, context in self.turns():
            try:
                sock = _open(where, context, self.timeout)
            except (OSError, UnicodeError) as e:
                reasons.append(reason(text, e))
            else:
                self.servers.answered(server)
                return sock, server
        raise self.unreachable(reasons)


def _open(where: Place, context: Optional[ssl.SSLContext], timeout: float) -> socket.socket:
    if isinstance(where, str):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            sock.connect(where)
        except BaseException:
            sock.close()
            raise
        return sock
    sock = socket.create_connection(where, timeout)
    try:
        refuse_self(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(sock, server_hostname=where[0]) if context else sock
    except BaseException:
        sock.close()
        raise


def refuse_self(sock: socket.socket) -> None:
    """Raises ConnectionRefusedError if a socket is connected to itself.

    This happens if nothing listens on a local port that the kernel picks as the source port.
    """
    if sock.family != getattr(socket, 'AF_UNIX', None) and sock.getsockname() == sock.getpeername():
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


def reason(text: str, error: Exception) -> str:
    """Returns an error message for one address."""
    if isinstance(error, ConnectionError) and error.errno:  # asyncio has a text of its own
        return f'{text}: {os.strerror(error.errno)}'
    return f'{text}: {getattr(error, "strerror", None) or error or "no answer"}'


_last_attempt = 0


def attempt() -> int:
    """Returns an attempt number: the current time in microseconds, but always greater than the last one."""
    global _last_attempt
    _last_attempt = max(time.time_ns() // 1000, _last_attempt + 1)
    return _last_attempt
