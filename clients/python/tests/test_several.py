"""Several servers of one store: if one dies, clients move on to the next without losing or duplicating records."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from typing import Any, ClassVar
from unittest import mock

import dictwire
from dictwire._core import Retry, Servers, Writer
from dictwire.testing import Server, _free_port, binary

from .shells import Loop, Threads

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


class Process:
    """A process that listens on a port."""

    def __init__(self, port: int, *command: str) -> None:
        self.addr, self._command = f'127.0.0.1:{port}', command
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL)
        host, port = self.addr.split(':')
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection((host, int(port)), 1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise AssertionError(f'{self._command} does not listen') from None
                time.sleep(0.02)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def front(store: str) -> Process:
    """Starts a server with its store in a NATS stream."""
    port = _free_port()
    return Process(port, binary(), 'serve', '--listen', f'127.0.0.1:{port}', '--store', store, '--nats-replicas', '1',
                   '--print', 'none')


class Rules(unittest.TestCase):
    """The choice of the server and the delay, without I/O."""

    def test_stays(self) -> None:
        servers = Servers(3, 1)
        self.assertEqual(list(servers.turns()), [1, 2, 0])
        servers.answered(2)
        servers.ended(2, served=True, retry=0.0)
        self.assertEqual(list(servers.turns()), [2, 0, 1])

    def test_leaves(self) -> None:
        servers = Servers(3, 2)
        servers.ended(2, served=False, retry=0.0)
        self.assertEqual(list(servers.turns()), [0, 1, 2])
        servers.ended(0, served=True, retry=1.5)
        self.assertEqual(list(servers.turns()), [1, 2, 0])
        servers.ended(0, served=False, retry=0.0)  # the client has already moved on from it
        self.assertEqual(list(servers.turns()), [1, 2, 0])

    def test_retry(self) -> None:
        """The delay grows until a server accepts the session, and is never less than a server asks for."""
        session = Writer('t', 'p')
        retry = Retry(Servers(2))
        for step in range(12):
            most = min(5.0, 0.05 * 2 ** step)
            self.assertTrue(most / 2 <= retry.delay(session, None, 0.0) <= most)
        self.assertEqual(retry.delay(session, None, 600.0), 600.0)
        session.welcomed = True
        self.assertLessEqual(retry.delay(session, 0, 0.0), 0.05)

    def test_alone(self) -> None:
        servers = Servers(1)
        servers.ended(0, served=False, retry=1.0)
        self.assertEqual(list(servers.turns()), [0])


class Spread(unittest.TestCase):
    def test_spreads(self) -> None:
        with Server() as server, Server() as other:
            for _ in range(30):
                with dictwire.connect(f'{server.addr},{other.addr}') as c:
                    c.send({'n': 1}).wait(20)
            counts = [len(s.records()) for s in (server, other)]
            self.assertEqual(sum(counts), 30)
            self.assertTrue(all(counts), counts)


class Closing:
    """A server that closes every connection at once."""

    def __init__(self) -> None:
        self._socket = socket.create_server(('127.0.0.1', 0))
        self.addr = f'127.0.0.1:{self._socket.getsockname()[1]}'
        self.accepted = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                self._socket.accept()[0].close()
            except OSError:
                return
            self.accepted += 1

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Shell:
    """Tests of both clients."""

    shell: ClassVar[Any]
    store: ClassVar[str]

    def test_one_killed(self: Any) -> None:
        topic = f'killed.{self.shell.name}'
        a, b = front(self.store), front(self.store)
        self.addCleanup(lambda: (a.kill(), b.kill()))
        c = self.shell(f'{a.addr}, {b.addr}', close_timeout=60)
        self.addCleanup(c.close)
        reader = c.read(topic, cursor='r', follow=True, timeout=60)
        numbers: list[int] = []
        sent = 0
        for killed in (a, b, None):
            for _ in range(300):
                sent += 1
                receipt = c.send({'n': sent}, topic=topic)
            receipt.wait(60)
            while len(numbers) < sent - 50:  # while the reader is reading
                numbers.append(next(reader).data['n'])
            for _ in range(100):  # pending when the server dies
                sent += 1
                receipt = c.send({'n': sent}, topic=topic)
            if killed is not None:
                killed.kill()
            receipt.wait(60)
            if killed is not None:
                killed.start()
        while len(numbers) < sent:
            numbers.append(next(reader).data['n'])
        self.assertEqual(numbers, list(range(1, sent + 1)))
        reader.close()
        self.assertEqual([r.data['n'] for r in c.read(topic, timeout=60)], numbers)

    def test_one_useless(self: Any) -> None:
        with Server() as server:
            useless = Closing()
            self.addCleanup(useless.close)
            with mock.patch('random.randrange', return_value=0):
                c = self.shell(f'{useless.addr},{server.addr}')
            self.addCleanup(c.close)
            for n in range(5):
                c.send({'n': n}).wait(20)
            before = useless.accepted
            self.assertGreater(before, 0)
            self.assertEqual([r.data['n'] for r in c.read('default', timeout=20)], list(range(5)))
            c.send({'n': 5}, topic='more').wait(20)
            self.assertEqual(useless.accepted, before)  # it stays where it works


class Several(unittest.TestCase):
    """A broker for the servers."""

    broker: ClassVar[Process]
    store: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        nats = subprocess.run(['go', 'tool', '-n', 'nats-server'], cwd=os.path.join(ROOT, 'tests', 'broker'),
                              env={**os.environ, 'GOFLAGS': '-trimpath', 'CGO_ENABLED': '0'},
                              check=True, capture_output=True, text=True).stdout.strip()
        folder = tempfile.TemporaryDirectory(prefix='dictwire-')
        cls.addClassCleanup(folder.cleanup)
        port = _free_port()
        cls.broker = Process(port, nats, '-a', '127.0.0.1', '-p', str(port), '-js', '-sd', folder.name)
        cls.addClassCleanup(cls.broker.kill)
        cls.store = f'nats://{cls.broker.addr}'


class OverThreads(Shell, Several):
    shell = Threads


class OverLoop(Shell, Several):
    shell = Loop


if __name__ == '__main__':
    unittest.main()
