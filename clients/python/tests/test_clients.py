"""Both clients with a real server."""

from __future__ import annotations

import random
import socket
import sys
import threading
import time
import unittest
from datetime import datetime, timedelta, timezone
from typing import Any

import dictwire

from .served import Served, run_python
from .shells import Loop, Threads


class Suite:
    """Tests of both clients."""

    shell: Any
    server: Any

    def connect(self: Any, **options: Any) -> Any:
        c = self.shell(self.server.addr, wait=10, **options)
        self.addCleanup(lambda: self.close(c))
        return c

    def close(self: Any, c: Any) -> None:
        try:
            c.close()
        except dictwire.Error:
            pass

    def topic(self: Any) -> str:
        return f'{self.id().rsplit(".", 1)[1]}.{self.shell.name}'

    def data(self: Any, topic: str) -> list[Any]:
        return self.server.records(topic)

    def test_send(self: Any) -> None:
        c, t = self.connect(), self.topic()
        receipt = c.send({'name': 'Alice', 'age': 30}, t)
        self.assertEqual(receipt.number, 1)
        receipt.wait(30)
        self.assertTrue(receipt.settled)
        self.assertEqual(self.data(t), [{'name': 'Alice', 'age': 30}])

    def test_many(self: Any) -> None:
        c, t = self.connect(), self.topic()
        n = 20_000
        self.assertEqual(c.send_many(({'i': i} for i in range(n)), t, timeout=60), n)
        self.assertEqual([d['i'] for d in self.data(t)], list(range(n)))

    def test_order_of_kinds(self: Any) -> None:
        """JSON and pickled records keep their order."""
        c, t = self.connect(), self.topic()
        sent = [{'i': (i,)} if i % 3 else {'i': i} for i in range(1000)]
        c.send_many(sent, t, timeout=60)
        self.assertEqual(self.data(t), sent)

    def test_small_window(self: Any) -> None:
        c, t = self.connect(window_records=10), self.topic()
        for i in range(500):
            c.send({'i': i}, t)
        c.flush(60)
        self.assertEqual([d['i'] for d in self.data(t)], list(range(500)))

    def test_unsendable(self: Any) -> None:
        c, t = self.connect(), self.topic()
        with self.assertRaisesRegex(TypeError, r"\['a'\]\[1\]: object is not supported"):
            c.send({'a': [1, object()]}, t)
        with self.assertRaises(TypeError):
            c.send([1], t)
        for bad in ['', 'a..b', '_own', 'x' * 201, 'a b']:
            with self.assertRaises(ValueError):
                c.send({}, bad)
        c.send({'a': [1, object()]}, t, default=lambda _: 'an object').wait(30)
        with self.assertRaisesRegex(TypeError, "object"):
            c.send_many([{'i': 1}, {'i': object()}, {'i': 3}], t)
        with self.assertRaises(ZeroDivisionError):
            c.send_many(({'i': 1 // i} for i in (1, 0)), t)
        c.flush(30)
        self.assertEqual(self.data(t), [{'a': [1, 'an object']}, {'i': 1}, {'i': 1}])

    def test_rejected(self: Any) -> None:
        """A record that is too large is rejected by itself, and is raised once."""
        c, t = self.connect(), self.topic()
        c.send({'i': 1}, t)
        bad = c.send({'x': 'x' * (2 << 20)}, t)
        c.send({'i': 2}, t)
        with self.assertRaises(dictwire.RejectedError) as told:
            bad.wait(30)
        self.assertEqual((told.exception.code, told.exception.number, told.exception.topic), ('too_large', 2, t))
        c.flush(30)
        self.assertEqual(self.data(t), [{'i': 1}, {'i': 2}])
        more = [c.send({'x': 'x' * (2 << 20)}, t) for _ in range(3)]
        with self.assertRaises(dictwire.RejectedError) as told:
            c.flush(30)
        self.assertEqual([e.number for e in (told.exception, *told.exception.others)], [4, 5, 6])
        c.flush(30)
        for receipt in [bad, *more]:  # a receipt always raises the outcome of its record
            for _ in range(2):
                with self.assertRaises(dictwire.RejectedError):
                    receipt.wait(30)
        with self.assertRaises(dictwire.RejectedError) as told:
            c.send_many([{'i': 3}, {'x': 'x' * (2 << 20)}, {'i': 4}, {'x': 'x' * (2 << 20)}], t, timeout=30)
        self.assertEqual([e.number for e in (told.exception, *told.exception.others)], [8, 10])
        self.assertEqual(self.data(t)[2:], [{'i': 3}, {'i': 4}])

    def test_restart(self: Any) -> None:
        """While a server is killed repeatedly, each record is stored once, in order."""
        c, t = self.connect(), self.topic()
        stop = threading.Event()

        def kill() -> None:
            for _ in range(8):
                if stop.wait(0.15):
                    return
                self.server.restart()

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            for i in range(3000):
                c.send({'i': i}, t)
                if i % 20 == 0:
                    time.sleep(0.01)
            c.flush(90)
        finally:
            stop.set()
            killer.join()
        self.assertEqual([d['i'] for d in self.data(t)], list(range(3000)))

    def test_nobody(self: Any) -> None:
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            addr = f'127.0.0.1:{s.getsockname()[1]}'
        begin = time.monotonic()
        with self.assertRaisesRegex(dictwire.Unavailable, 'no dictwire server can be reached'):
            self.shell(addr)
        self.assertLess(time.monotonic() - begin, 5)
        with self.assertRaises(dictwire.Unavailable):
            self.shell(addr, wait=0.3)
        with self.assertRaisesRegex(dictwire.Unavailable, '(?s)127.0.0.1:1: Connection refused.*127.0.0.1:2: Connection refused|'
                                                          '127.0.0.1:2: Connection refused.*127.0.0.1:1: Connection refused'):
            self.shell('127.0.0.1:1,127.0.0.1:2')
        self.shell(f'{addr},{self.server.addr}').close()

    def test_strangers(self: Any) -> None:
        """A peer that is not a dictwire server raises an error that quotes it, and settles nothing."""
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            s.listen()

            def answer() -> None:
                while True:
                    try:
                        conn, _ = s.accept()
                    except OSError:
                        return
                    with conn:
                        try:
                            conn.sendall(b'SSH-2.0-OpenSSH_9.2p1\r\n')
                            conn.recv(1000)
                        except OSError:
                            pass  # the client only tested the address

            peer = threading.Thread(target=answer, daemon=True)
            peer.start()
            c = self.shell(f'127.0.0.1:{s.getsockname()[1]}')
            try:
                c.send({'a': 1})
                with self.assertRaisesRegex(dictwire.ProtocolError, 'SSH-2.0'):
                    c.flush(20)
            finally:
                with self.assertRaises(dictwire.NotSettled):
                    c.close()

    def test_timeouts(self: Any) -> None:
        with socket.socket() as s:  # accepts but does not answer
            s.bind(('127.0.0.1', 0))
            s.listen()
            c = self.shell(f'127.0.0.1:{s.getsockname()[1]}', window_records=1)
            try:
                receipt = c.send({'a': 1})
                for call in (lambda: receipt.wait(0.05), lambda: c.flush(0.05), lambda: c.send({}, timeout=0.05),
                             lambda: c.send_many([{}] * 3, timeout=0.05), lambda: c.ask({}, 'other', timeout=0.05)):
                    with self.assertRaises(dictwire.Timeout):
                        call()
            finally:
                with self.assertRaises(dictwire.NotSettled) as left:
                    c.close(0.05)
            self.assertEqual(left.exception.count, 1)

    def test_read(self: Any) -> None:
        c, t = self.connect(), self.topic()
        c.send_many(({'i': i} for i in range(1000)), t)
        found = list(c.read(t))
        self.assertEqual([r.data['i'] for r in found], list(range(1000)))
        self.assertEqual([r.number for r in found], list(range(1, 1001)))
        self.assertEqual({r.topic for r in found}, {t})
        self.assertLess(abs(found[0].time.timestamp() - time.time()), 100)
        self.assertEqual([r.data['i'] for r in c.read(t, start=found[500].position)], list(range(500, 1000)))
        self.assertEqual([r.data['i'] for r in c.read(t, start=found[500].after)], list(range(501, 1000)))
        self.assertEqual(list(c.read(t, start='latest')), [])
        hour = timedelta(hours=1)
        for start, want in [(hour, 1000), (timedelta(0), 0), (datetime.now(timezone.utc) - hour, 1000),
                            (datetime.now() - hour, 1000), (datetime.now() + hour, 0)]:
            self.assertEqual(len(list(c.read(t, start=start))), want, start)

    def test_cursor(self: Any) -> None:
        """The cursor moves when the next record is requested, and on commit, but not on break."""
        c, t = self.connect(), self.topic()
        c.send_many(({'i': i} for i in range(10)), t)
        reader = c.read(t, cursor='x')
        for r in reader:
            if r.data['i'] == 3:
                break
        reader.close()
        reader = c.read(t, cursor='x')
        self.assertEqual(next(reader).data['i'], 3)
        self.assertEqual(next(reader).data['i'], 4)
        reader.commit()
        reader.close()
        with self.assertRaises(ZeroDivisionError):
            for r in c.read(t, cursor='x'):
                self.assertEqual(r.data['i'], 5)
                raise ZeroDivisionError
        self.assertEqual([r.data['i'] for r in c.read(t, cursor='x')], [5, 6, 7, 8, 9])
        self.assertEqual(list(c.read(t, cursor='x')), [])
        c.send({'i': 10}, t).wait(30)
        self.assertEqual([r.data['i'] for r in c.read(t, cursor='x')], [10])

    def test_follow(self: Any) -> None:
        """A following reader survives kills of the server without missing or repeating a record."""
        c, t = self.connect(), self.topic()
        seen: list[int] = []
        reader = c.read(t, cursor='f', follow=True, timeout=60)
        c.send({'i': 0}, t).wait(30)
        for r in reader:
            seen.append(r.data['i'])
            if r.data['i'] == 200:
                break
            if r.data['i'] % 70 == 69:
                self.server.restart()
            c.send({'i': r.data['i'] + 1}, t)
        self.assertEqual(seen, list(range(201)))
        reader.close()
        with self.assertRaises(dictwire.Timeout):
            next(c.read('nothing.here', follow=True, timeout=0.05))

    def test_fenced(self: Any) -> None:
        c, t = self.connect(), self.topic()
        c.send_many(({'i': i} for i in range(3)), t)
        first = c.read(t, cursor='one', follow=True, timeout=30)
        next(first)
        second = c.read(t, cursor='one', follow=True, timeout=30)
        next(second)
        with self.assertRaises(dictwire.FencedError):
            for _ in first:
                pass
        second.close()

    def test_lost_position(self: Any) -> None:
        c = self.connect()
        with self.assertRaises(dictwire.LostError):
            next(c.read('x', start='zzzzzzzz.1.0'))

    def test_closed(self: Any) -> None:
        c = self.connect()
        c.close()
        c.close()


class TestThreads(Suite, Served):
    shell = Threads

    def test_send_function(self) -> None:
        dictwire.send({'a': 1}, self.topic(), addr=self.server.addr, timeout=30)
        self.assertEqual(self.data(self.topic()), [{'a': 1}])
        with self.assertRaises(dictwire.RejectedError):
            dictwire.send({'a': 'x' * (2 << 20)}, self.topic(), addr=self.server.addr, timeout=30)

    def test_block(self) -> None:
        with dictwire.connect(self.server.addr) as c:
            c.send({'a': 1}, self.topic())
        self.assertEqual(self.data(self.topic()), [{'a': 1}])

    def test_many_threads(self) -> None:
        c, t = self.connect(), self.topic()

        def work(k: int) -> None:
            for i in range(500):
                c.send({'k': k, 'i': i}, t)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        c.flush(60)
        found = self.data(t)
        for k in range(8):
            self.assertEqual([d['i'] for d in found if d['k'] == k], list(range(500)))

    def test_exit(self) -> None:
        """At exit, everything that was sent is settled."""
        ran = run_python(f'import dictwire; c = dictwire.connect(); [c.send({{"i": i}}, {self.topic()!r}) for i in range(500)]', self.server.addr)
        self.assertEqual((ran.returncode, ran.stderr), (0, ''))
        self.assertEqual([d['i'] for d in self.data(self.topic())], list(range(500)))

    @unittest.skipIf(sys.platform == 'win32', 'Windows has no fork')
    def test_fork(self) -> None:
        """A forked child has its own producer, and the parent's records stay with the parent."""
        ran = run_python(f'''
import dictwire, os
c = dictwire.connect()
for i in range(100): c.send({{"who": "parent", "i": i}}, {self.topic()!r})
pid = os.fork()
for i in range(100): c.send({{"who": "child" if pid == 0 else "parent", "i": 100 + i}}, {self.topic()!r})
c.flush(30)
c.close()
if pid: os.waitpid(pid, 0)
else: os._exit(0)
''', self.server.addr)
        self.assertEqual((ran.returncode, ran.stderr), (0, ''))
        found = self.data(self.topic())
        self.assertEqual([d['i'] for d in found if d['who'] == 'parent'], list(range(200)))
        self.assertEqual([d['i'] for d in found if d['who'] == 'child'], list(range(100, 200)))


class TestAsyncio(Suite, Served):
    shell = Loop

    def test_cancelled(self) -> None:
        """A call that is cancelled while the window is full sends nothing."""
        import asyncio

        import dictwire.aio

        async def run() -> int:
            async with dictwire.aio.connect(self.server.addr) as c:
                c._window.records, c._window.max_records = 1, 1
                tasks = [asyncio.ensure_future(c.send({'a': i}, self.topic())) for i in range(3)]
                await asyncio.sleep(0.05)
                tasks[0].cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await tasks[0]
                c._window.records = 0
                c._turns.grant()  # the second call gets room, and is cancelled before it uses it
                tasks[1].cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await tasks[1]
                await asyncio.wait_for(tasks[2], 30)
                await c.flush()
                self.assertEqual((c._window.records, c._window.size, c._turns.granted), (0, 0, 0))
                return c._topic(self.topic()).log.core.last

        self.assertEqual(asyncio.run(run()), 1)
        self.assertEqual(self.data(self.topic()), [{'a': 2}])

    def test_cancelled_anywhere(self) -> None:
        """If tasks are cancelled at any time, exactly the records whose calls returned are stored, in order."""
        import asyncio

        import dictwire.aio

        rng = random.Random(1)

        async def run() -> list[int]:
            taken = []

            async def one(c: dictwire.aio.Client, i: int) -> None:
                await c.send({'i': i}, self.topic())
                taken.append(i)

            async with dictwire.aio.connect(self.server.addr, window_records=7) as c:
                tasks = [asyncio.ensure_future(one(c, i)) for i in range(2000)]
                for task in rng.sample(tasks, 500):
                    if rng.random() < 0.2:
                        await asyncio.sleep(0)
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await c.flush()
                self.assertEqual((c._window.records, c._window.size, c._turns.granted), (0, 0, 0))
            return taken

        taken = asyncio.run(run())
        self.assertEqual([d['i'] for d in self.data(self.topic())], taken)
        self.assertGreater(len(taken), 1000)

    def test_reader_cancelled(self) -> None:
        """A reader whose calls are cancelled repeatedly loses nothing."""
        import asyncio

        import dictwire.aio

        async def run() -> list[int]:
            found: list[int] = []
            async with dictwire.aio.connect(self.server.addr) as c:
                writing = asyncio.ensure_future(c.send_many(({'i': i} for i in range(5000)), self.topic()))
                reader = c.read(self.topic(), cursor='x', follow=True)
                found.append((await reader.__anext__()).data['i'])
                while len(found) < 5000:
                    step = asyncio.ensure_future(reader.__anext__())
                    await asyncio.wait([step], timeout=0.0001)
                    step.cancel()
                    try:
                        found.append((await step).data['i'])
                    except asyncio.CancelledError:
                        pass
                await writing
                await reader.close()
            return found

        self.assertEqual(asyncio.run(run()), list(range(5000)))

    def test_gather(self) -> None:
        import asyncio

        import dictwire.aio

        async def run() -> None:
            async with dictwire.aio.connect(self.server.addr) as c:
                receipts = await asyncio.gather(*(c.send({'i': i}, self.topic()) for i in range(100)))
                await asyncio.gather(*receipts)

        asyncio.run(run())
        self.assertEqual(sorted(d['i'] for d in self.data(self.topic())), list(range(100)))


if __name__ == '__main__':
    unittest.main()
