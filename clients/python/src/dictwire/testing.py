"""A dictwire server for tests.

    with dictwire.testing.Server() as server:
        with dictwire.connect(server.addr) as c:
            c.send({'a': 1})
        assert server.records() == [{'a': 1}]

As a pytest fixture:

    from dictwire.testing import dictwire_server

    def test_orders(dictwire_server): ...
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from typing import TYPE_CHECKING, Any, Optional

from ._errors import Error
from ._threads import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ['Server', 'binary', 'dictwire_server']


def binary() -> str:
    """Returns the path of the dictwire command: that in DICTWIRE, the wheel's, or the one on the PATH."""
    own = os.path.join(sysconfig.get_path('scripts'), 'dictwire.exe' if os.name == 'nt' else 'dictwire')
    found = os.environ.get('DICTWIRE') or (own if os.path.exists(own) else None) or shutil.which('dictwire')
    if not found:
        raise Error('no dictwire command found: install a wheel that contains it, put it on the PATH, or set DICTWIRE')
    return found


class Server:
    """A server on a free port, with a store in a temporary directory.

    Args:
        args: additional flags of `dictwire serve`.

    Attributes:
        addr: its address.
        log: the path of its log file.
        store: the path of its store.
    """

    def __init__(self, *args: str) -> None:
        self._args = args
        self._dir = tempfile.mkdtemp(prefix='dictwire-')
        self.log, self.store = os.path.join(self._dir, 'log'), os.path.join(self._dir, 'store')
        self.addr = f'127.0.0.1:{_free_port()}'
        self._process: Optional[subprocess.Popen[bytes]] = None

    def start(self) -> None:
        """Starts the server with its existing store, and returns when it listens."""
        with open(self.log, 'ab') as log:
            self._process = subprocess.Popen(
                [binary(), 'serve', '--listen', self.addr, '--store', self.store,
                 '--print', 'none', '--reserve', '-1', *self._args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        host, port = self.addr.rsplit(':', 1)
        for _ in range(600):
            try:
                socket.create_connection((host, int(port)), 1).close()
                return
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.05)
        with open(self.log, errors='replace') as text:
            raise Error(f'dictwire serve did not start: {text.read()[-2000:]}')

    def stop(self) -> None:
        """Stops the server gracefully."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kills the server, as if it crashed."""
        self._end(getattr(signal, 'SIGKILL', signal.SIGTERM))

    def restart(self) -> None:
        """Kills the server and starts it again with the same store and address."""
        self.kill()
        self.start()

    def _end(self, sig: int) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(sig)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def records(self, topic: str = 'default') -> list[dict[Any, Any]]:
        """Returns the dictionaries in a topic, oldest first."""
        c = Client(self.addr, wait=5)
        try:
            return [r.data for r in c.read(topic, timeout=30)]
        finally:
            c.close()

    def __enter__(self) -> Server:
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self._dir, ignore_errors=True)
            raise
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self.kill()
        shutil.rmtree(self._dir, ignore_errors=True)


def _free_port() -> int:
    """Returns a port below the ephemeral range, so that no client takes it while the server restarts."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as s:
            try:
                s.bind(('127.0.0.1', port))
            except OSError:
                continue
            return port


def _fixture() -> Any:
    try:
        import pytest
    except ImportError:
        return None

    @pytest.fixture
    def dictwire_server() -> Iterator[Server]:
        """A new dictwire server for each test."""
        with Server() as server:
            yield server

    return dictwire_server


dictwire_server = _fixture()
