"""Exit, forks, cancelled tasks, closing and lost servers, while records are pending."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
import unittest
import warnings
from typing import Any

import dictwire
import dictwire.aio
from dictwire.testing import Server

from .served import Served, run_python
from .shells import Loop, Threads


class Mute:
    """A server that accepts connections but does not answer."""

    def __enter__(self) -> str:
        self._socket = socket.create_server(('127.0.0.1', 0))
        return f'127.0.0.1:{self._socket.getsockname()[1]}'

    def __exit__(self, *_: Any) -> None:
        self._socket.close()


class TestEndings(Served):

    def test_exit(self) -> None:
        """A program that exits with pending records reports how many, and why."""
        with Mute() as addr:
            ran = run_python('''
import dictwire, dictwire._threads._process as process
process.EXIT = 0.2
c = dictwire.connect()
for i in range(3): c.send({'i': i})
''', addr)
        self.assertEqual((ran.returncode, ran.stdout), (0, ''))
        self.assertRegex(ran.stderr, r'\Adictwire: at exit: 3 records not settled: 3 records of topic default not settled after 0\.\d+ s\n\Z')

    def test_fork_while_sending(self) -> None:
        """If a process forks while its threads send, neither parent nor child hangs."""
        ran = run_python('''
import dictwire, os, threading
c = dictwire.connect()
stop = threading.Event()
def send():
    while not stop.is_set(): c.send({'who': 'parent'}, 'busy')
threads = [threading.Thread(target=send) for _ in range(3)]
for t in threads: t.start()
children = []
for k in range(10):
    pid = os.fork()
    if pid == 0:
        try:
            c.send({'who': k}, 'busy').wait(30)
            c.close(30)
        except BaseException as e:
            print(repr(e), flush=True)
            os._exit(1)
        os._exit(0)
    children.append(pid)
print([os.waitpid(pid, 0)[1] for pid in children])
stop.set()
for t in threads: t.join()
c.close()
''', self.server.addr)
        self.assertEqual((ran.returncode, ran.stdout, ran.stderr), (0, f'{[0] * 10}\n', ''))
        self.assertEqual(sorted(d['who'] for d in self.server.records('busy') if d['who'] != 'parent'), list(range(10)))

    def test_close_while_sending(self) -> None:
        """If a client is closed while threads send, each gets an error, and all records are stored or counted as unsettled."""
        c = dictwire.connect(self.server.addr)
        counts, told = [0] * 8, []

        def send(k: int) -> None:
            try:
                while True:
                    c.send({'k': k}, 'closing')
                    counts[k] += 1
            except dictwire.Error as e:
                told.append(str(e))

        threads = [threading.Thread(target=send, args=(k,)) for k in range(len(counts))]
        for t in threads:
            t.start()
        while not all(counts):
            time.sleep(0.001)
        left = 0
        try:
            c.close()
        except dictwire.NotSettled as e:
            left = e.count
        for t in threads:
            t.join(30)
        self.assertEqual(told, ['the client is closed'] * len(counts))
        self.assertGreaterEqual(len(self.server.records('closing')), sum(counts) - left)

    def test_unreachable(self) -> None:
        """A Timeout contains the reason why the server can't be reached."""
        for shell in (Threads, Loop):
            with Server() as server:
                c = shell(server.addr)
                c.send({'i': 1}).wait(30)
                server.kill()
                c.send({'i': 2})
                until = time.monotonic() + 20
                while True:
                    with self.assertRaises(dictwire.Timeout) as late:
                        c.flush(0.05)
                    if 'Connection refused' in str(late.exception) or time.monotonic() > until:
                        break
                self.assertRegex(str(late.exception), r'1 record of topic default not settled after 0\.05 s \(no dictwire server .*\); sending continues')
                with self.assertRaisesRegex(dictwire.NotSettled, 'Connection refused') as left:
                    c.close(0.05)
                self.assertNotIn('continues', str(left.exception))

    def test_cancel_all(self) -> None:
        """If a program cancels all tasks, no call hangs, and the client reports unsettled records."""
        async def run(addr: str, pause: float) -> None:
            c = await dictwire.aio.connect(addr).__aenter__()
            receipt = await c.send({'a': 1})
            await asyncio.sleep(pause)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            with self.assertRaisesRegex(dictwire.Error, 'the task of topic default was cancelled'):
                await receipt.wait(20)
            with self.assertRaisesRegex(dictwire.NotSettled, 'was cancelled'):
                await c.close()

        with Mute() as addr:
            for pause in (0, 0.05):  # before and after the first step of the topic's task
                asyncio.run(run(addr, pause))

    def test_unclosed(self) -> None:
        """A client for asyncio that is not closed warns, because it can't send at exit."""
        async def run() -> None:
            c = await dictwire.aio.connect(self.server.addr).__aenter__()
            await c.send({'a': 1}, 'unclosed')

        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter('always')
            asyncio.run(run())
            gc.collect()
        self.assertIn('unclosed <dictwire client of', ' '.join(str(w.message) for w in told if w.category is ResourceWarning))


if __name__ == '__main__':
    unittest.main()
