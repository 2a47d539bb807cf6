"""Hostile servers, and programs and systems that misbehave."""

from __future__ import annotations

import asyncio
import copy
import enum
import json
import pickle
import socket
import threading
import time
import unittest
from typing import Any, Callable, Optional
from unittest import mock

import dictwire
import dictwire.aio
from dictwire import _address, _errors, _feed, _sending
from dictwire._core import Batch, Reader, Servers

from .served import Served, run_python
from .shells import Loop, Threads

WELCOME = b'{"dictwire":1,"next":1,"durability":"fsync","max_record":1048576,"window":65536,"features":[]}\n{"ack":0}\n'


class Scripted:
    """A server that answers each greeting with the bytes that `say` returns for it, or with nothing."""

    def __init__(self, say: Callable[[dict[str, Any]], Optional[bytes]]) -> None:
        self.say, self.kept = say, []  # type: ignore[var-annotated]
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.addr = f'127.0.0.1:{self.listener.getsockname()[1]}'
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(conn,), daemon=True).start()

    def one(self, conn: socket.socket) -> None:
        with conn, conn.makefile('rb') as f:
            try:
                line = f.readline()
                said = self.say(json.loads(line)) if line else None
                if said:
                    conn.sendall(said)
                while f.read(1 << 16):
                    pass
            except OSError:
                pass

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: Any) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def sent(n: int) -> _sending.Log:
    """Returns a log with n records that were sent over a connection."""
    log = _sending.Log('t', 'p', _sending.Window(10 ** 6, 10 ** 9), token=None, accept_lost=False)
    chunk = _sending.Chunk()
    for _ in range(n):
        chunk.add(b'{}')
    log.take(chunk)
    log.core.connect(0.0, 1)
    log.receive(WELCOME, 0.0)
    log.core.data_to_send()
    return log


class TestHostileServer(unittest.TestCase):
    def test_writer(self) -> None:
        """Whatever a server sends, waiting calls raise an Error and do not time out."""
        for said in [
            WELCOME + b'{"ack":7}\n', b'{"dictwire":1,"next":-1}\n', b'{"dictwire":1,"next":5}\n', b'[' * 100_000 + b'\n',
            WELCOME + b'{"rejected":9,"code":"x","error":"y"}\n', WELCOME + b'{"reply":1,"length":9223372036854775807}\n',
            b'{"error":"no","code":"forbidden"}\n', b'{"error":7}\n', b'\xff\xfe\n', WELCOME + b'{"ack":true}\n',
        ]:
            for shell in (Threads, Loop):
                with self.subTest(said[-40:], shell=shell.name), Scripted(lambda _, said=said: said) as s:
                    c = shell(s.addr)
                    receipt = c.send({'a': 1})
                    with self.assertRaises(dictwire.Error) as told:
                        receipt.wait(30)
                    self.assertNotIsInstance(told.exception, dictwire.Timeout)
                    with self.assertRaises(dictwire.NotSettled):
                        c.close(0)

    def test_slow_retry(self) -> None:
        """An absurd retry delay does not keep a client from closing."""
        with Scripted(lambda _: b'{"error":"full","code":"unavailable","retry_ms":9223372036854775807}\n') as s:
            for shell in (Threads, Loop):
                c = shell(s.addr)
                c.send({'a': 1})
                with self.assertRaises(dictwire.Timeout):
                    c.flush(0.1)
                with self.assertRaises(dictwire.NotSettled):
                    c.close(0)

    def test_refusing(self) -> None:
        """The delay grows while a server refuses connections."""
        for shell in (Threads, Loop):
            asked: list[Any] = []

            def refuse(greeting: dict[str, Any], asked: list[Any] = asked) -> bytes:
                asked.append(greeting)
                return b'{"error":"busy","code":"unavailable"}\n'

            with self.subTest(shell=shell.name), Scripted(refuse) as s:
                c = shell(s.addr)
                with self.assertRaises(dictwire.Timeout):
                    next(c.read('x', timeout=0.8))
                c.close()
                self.assertIn(len(asked), range(3, 8))

    def test_reader(self) -> None:
        head = b'{"dictwire":1,"next":"t.1.0"}\n'
        for said in [b'{"dictwire":1,"next":"t"}\n', head + b'{"lengths":[9223372036854775807]}\n', head + b'{"next":"' + b'9' * 5000 + b'"}\n',
                     head + b'{"lengths":[2]}\n{}', b'[' * 100_000 + b'\n', b'{"error":"no","code":"lost"}\n']:
            for shell in (Threads, Loop):
                with self.subTest(said[-40:], shell=shell.name), Scripted(lambda _, said=said: said) as s:
                    c = shell(s.addr)
                    reader = c.read('x', timeout=30)
                    for _ in range(2):  # the error persists
                        with self.assertRaises(dictwire.Error) as told:
                            next(reader)
                        self.assertNotIsInstance(told.exception, dictwire.Timeout)
                    c.close()

    def test_unreadable(self) -> None:
        """A record that Python can't represent raises an error; all others are returned and committed."""
        good, bad = b'{"a":1}', b'{"a":' + b'1' * 5000 + b'}'
        said = (b'{"dictwire":1,"next":"t.1.0"}\n{"at":"t.1.0","next":"t.2.0","topic":"x","time":"2026-11-23T10:00:00Z",'
                b'"format":"json","lengths":[7,%d,7]}\n' % len(bad) + good + bad + good + b'{"end":"t.2.0"}\n')
        with Scripted(lambda _: said) as s:
            for shell in (Threads, Loop):
                c = shell(s.addr)
                reader = c.read('x', timeout=30)
                self.assertEqual(next(reader).data, {'a': 1})
                with self.assertRaises(dictwire.LossError) as told:
                    next(reader)
                self.assertEqual((told.exception.position, told.exception.after, reader.position), ('t.1.1', 't.1.2', 't.1.2'))
                self.assertEqual([(r.data, r.position, r.after) for r in reader], [({'a': 1}, 't.1.2', 't.2.0')])
                c.close()
        unknown = b'\xa1aad8\x1b\x84hdatetimes2026-01-01T00:00:00\x00gNo/Such'.replace(b'd8', b'\xd8').replace(b's2026', b'\x732026')
        batch = Batch('t.1.0', 't.2.0', 'x', None, None, None, '', 'cbor', [unknown])
        feed = _feed.Feed(Reader('x'), Servers(1))
        feed._events.append(batch)
        with self.assertRaisesRegex(dictwire.LossError, 'No/Such'):
            feed.take()
        self.assertIsNone(feed.take())

    def test_failed_topic(self) -> None:
        """A topic that failed takes no room in the window."""
        def say(greeting: dict[str, Any]) -> bytes:
            return b'{"error":"no","code":"forbidden"}\n' if greeting['topic'] == 'bad' else WELCOME + b'{"ack":0}\n'
        with Scripted(say) as s:
            for shell in (Threads, Loop):
                c = shell(s.addr, window_records=3)
                with self.assertRaises(dictwire.ForbiddenError):
                    for _ in range(3):
                        c.send({}, 'bad')
                    c.flush(30)
                for _ in range(3):
                    c.send({}, 'good', timeout=30)
                with self.assertRaises(dictwire.Timeout):
                    c.send({}, 'good', timeout=0)
                with self.assertRaises(dictwire.NotSettled) as left:
                    c.close(0)
                self.assertGreater(left.exception.count, 3)

    def test_rejections_are_bounded(self) -> None:
        with mock.patch.object(_sending, 'TOLD', 10):
            log = sent(100)
            log.receive(b''.join(b'{"rejected":%d,"code":"x","error":"y"}\n' % n for n in range(1, 100)) + b'{"ack":100}\n', 0.0)
            with self.assertRaisesRegex(dictwire.Error, 'no longer known'):
                log.outcome(3, 3)
            self.assertEqual(log.outcome(95, 95).number, 95)  # type: ignore[union-attr]
            self.assertIsNone(log.outcome(100, 100))
            self.assertEqual([e.number for e in log.untold()], [90, 91, 92, 93, 94, 96, 97, 98, 99])

    def test_reason(self) -> None:
        """Each error has the handler's reason, also if one is raised for several."""
        log = sent(3)
        log.receive(b'{"rejected":1,"code":"handler","reason":"sold_out","error":"y"}\n{"rejected":3,"code":"x","error":"y"}\n{"ack":3}\n', 0.0)
        with self.assertRaises(dictwire.RejectedError) as told:
            _sending.flushed([log], [])
        self.assertEqual([e.reason for e in (told.exception, *told.exception.others)], ['sold_out', ''])


class TestSystem(unittest.TestCase):
    def test_self_connect(self) -> None:
        """A socket that is connected to itself, as can happen while a server is down, counts as refused."""
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            s.connect(s.getsockname())
            with self.assertRaises(ConnectionRefusedError):
                _address.refuse_self(s)

    def test_clock(self) -> None:
        """Attempt numbers increase even if the clock goes back."""
        begin = _address.attempt()
        with mock.patch('time.time_ns', return_value=0):
            self.assertGreater(_address.attempt(), begin)
            self.assertGreater(_address.attempt(), begin + 1)

    def test_addresses(self) -> None:
        for bad in ['x', 'x:', 'x:0', 'x:70000', 'x:1,', ':x']:
            with self.assertRaisesRegex(ValueError, 'host:port'):
                dictwire.connect(bad)
        for nobody in ['a' * 70 + '.example:1', 'unix:/no/such', '[::1]:1']:
            with self.assertRaises(dictwire.Unavailable):
                dictwire.connect(nobody)
            with self.assertRaises(dictwire.Unavailable):
                Loop(nobody)
        for option in ('window_records', 'window_bytes'):
            with self.assertRaisesRegex(ValueError, 'at least 1'):
                dictwire.connect(**{option: 0})

    def test_errors(self) -> None:
        """Errors can be pickled and copied."""
        rejected = dictwire.RejectedError('t', 'handler', 7, 'x', (dictwire.RejectedError('u', 'handler', 8, 'x'),), 'sold_out')
        for error in [
            dictwire.Unavailable('a'), dictwire.Timeout('a'), dictwire.ProtocolError('a'), dictwire.NoReply('a'), rejected,
            dictwire.SkippedError('a', 'b', 'c'), dictwire.DamagedError('a', 'b', None, 'd'), dictwire.NotSettled(3, 'why'),
            dictwire.LossError('a', 'loss', 't.1.0', 't.1.1'), *(_errors.remote(code, 'a') for code in _errors._REMOTE),
        ]:
            for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
                self.assertEqual((type(again), str(again)), (type(error), str(error)))
                self.assertEqual({k: repr(v) for k, v in vars(again).items()}, {k: repr(v) for k, v in vars(error).items()})
            self.assertIsInstance(error, dictwire.Error)
            self.assertTrue(type(error).__doc__)

    def test_keys(self) -> None:
        """Keys and members that would become equal or unhashable."""
        class Name(enum.Enum):
            A = 'a'

        import dataclasses

        @dataclasses.dataclass(frozen=True)
        class Point:
            x: int

        for bad, want in [({'d': {Name.A: 1, 'a': 2}}, r"\['d'\].*two keys"), ({'s': {Name.A, 'a'}}, r"\['s'\].*two members"),
                          ({Point(1): 1}, 'a key would become'), ({'s': {Point(1)}}, r"\['s'\].*a member of a set would become")]:
            with self.assertRaisesRegex(TypeError, want):
                dictwire.plain(bad)


class TestPrograms(Served):
    """Real processes."""

    def run_python(self, program: str) -> str:
        ran = run_python(program, self.server.addr)
        self.assertEqual((ran.returncode, ran.stderr), (0, ''), ran.stderr)
        return ran.stdout

    def test_interrupts(self) -> None:
        """Ctrl-C anywhere in send, send_many, flush and read: receipts are right, nothing hangs, and no record is lost or duplicated."""
        sure = json.loads(self.run_python('''
import dictwire, json, random, signal, warnings
warnings.simplefilter('ignore', ResourceWarning)  # an interrupted constructor leaves its sockets to the garbage collector
armed = False
def ctrl_c(*_):
    global armed
    if armed:
        armed = False
        raise KeyboardInterrupt
signal.signal(signal.SIGALRM, ctrl_c)
rng, taken, n = random.Random(1), [], 0
c = dictwire.connect(window_records=50)
def interrupted(f, rate):
    global armed
    try:
        armed = True
        signal.setitimer(signal.ITIMER_REAL, rng.expovariate(rate) + 1e-6)
        f()
        armed = False
    except KeyboardInterrupt: pass
def send():
    global n
    for _ in range(30):
        n += 1
        i = n
        receipt = c.send({'i': i}, 'ctrl-c')
        taken.append((receipt.number, i))
def many():
    global n
    n += 100
    c.send_many([{'i': i} for i in range(n - 99, n + 1)], 'ctrl-c')
for _ in range(300):
    interrupted(rng.choice([send, many, c.flush]), 3000)
c.flush(30)
sent = c._topic('ctrl-c').log.core.last
found, reader, cuts = [], None, 0
def read():
    global reader
    reader = reader or c.read('ctrl-c', cursor='x')
    while True: found.append(next(reader).number)
while len(found) < sent and len(found) < 10 * sent:
    cuts += 1
    try: interrupted(read, 100)  # leave time to connect
    except StopIteration: break
signal.signal(signal.SIGALRM, signal.SIG_IGN)
print(json.dumps([sent, taken, found, c._window.records, cuts]))
c.close(30)
'''))
        sent, taken, found, on_their_way, cuts = sure
        stored = [d['i'] for d in self.server.records('ctrl-c')]
        self.assertEqual((len(stored), len(set(stored)), on_their_way), (sent, sent, 0))
        self.assertEqual(stored, sorted(stored))
        for number, i in taken:
            self.assertEqual(stored[number - 1], i)
        # Only records that an interrupted call was about to return are missing.
        self.assertEqual(found, sorted(set(found)))
        self.assertGreaterEqual(len(found), sent - cuts)
        self.assertGreater(sent, 50)

    def test_fork(self) -> None:
        """In a child, the parent's receipts and readers raise errors; in the parent, they continue."""
        told = json.loads(self.run_python('''
import dictwire, json, os, socket, sys
c = dictwire.connect()
c.send_many(({'i': i} for i in range(100)), 'forked')
reader = c.read('forked', cursor='x')
next(reader)
receipt = c.send({'i': 100}, 'forked')
mute = socket.create_server(('127.0.0.1', 0))
other = dictwire.connect('127.0.0.1:%d' % mute.getsockname()[1], close_timeout=0)
pending = other.send({'i': 1})
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    told = []
    for f in (lambda: pending.wait(5), lambda: next(reader), reader.close):
        try: f(); told.append('nothing')
        except dictwire.Error as e: told.append(str(e))
    del reader
    told.append(len(list(c.read('forked'))) >= 100)
    os.write(w, json.dumps(told).encode())
    os._exit(0)
os.waitpid(pid, 0)
receipt.wait(30)
told = json.loads(os.read(r, 10000))
print(json.dumps(told + [len(list(reader))]))
c.close()
try: other.close()
except dictwire.NotSettled: pass
mute.close()
'''))
        self.assertIn('before the fork', told[0])
        self.assertIn('before the fork', told[1])
        self.assertEqual(told[2:4], ['nothing', True])
        self.assertIn(told[4], (99, 100))

    def test_multiprocessing(self) -> None:
        """What a multiprocessing child sends and logs is settled when it exits, although it does not run atexit functions."""
        self.run_python('''
import dictwire, dictwire.logging, logging, multiprocessing
c = dictwire.connect()
h = dictwire.logging.Handler('children.logs')
log = logging.Logger('x')
log.addHandler(h)
log.warning('parent')
def work(k):
    for i in range(100): c.send({'k': k, 'i': i}, 'children')
    log.warning('child %d', k)
children = [multiprocessing.get_context('fork').Process(target=work, args=(k,)) for k in range(3)]
for p in children: p.start()
for p in children: p.join()
''')
        found = self.server.records('children')
        for k in range(3):
            self.assertEqual([d['i'] for d in found if d['k'] == k], list(range(100)))
        self.assertEqual(sorted(d['msg'] for d in self.server.records('children.logs')), ['child 0', 'child 1', 'child 2', 'parent'])

    def test_logging_from_a_handler(self) -> None:
        """Logging is reentrant: signal handlers and repr() methods may log."""
        self.run_python('''
import dictwire.logging, logging, signal
log = logging.Logger('x')
log.addHandler(dictwire.logging.Handler('within'))
signal.signal(signal.SIGALRM, lambda *_: log.warning('signal'))
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
for i in range(2000): log.warning('%d', i)
signal.setitimer(signal.ITIMER_REAL, 0)
class Odd:
    def __repr__(self): log.warning('within'); raise ValueError
log.warning('odd', extra={'odd': Odd()})
loop = []; loop.append(loop)
log.warning('loop', extra={'loop': loop})
''')
        found = [d['msg'] for d in self.server.records('within')]
        self.assertEqual([m for m in found if m.isdigit()], [str(i) for i in range(2000)])
        self.assertEqual(found[-3:], ['within', 'odd', 'loop'])

    def test_exit_within(self) -> None:
        """If an exception leaves the block, it gets a note about unsettled records."""
        out = self.run_python('''
import dictwire, traceback, socket
s = socket.create_server(('127.0.0.1', 0))  # it does not answer
try:
    with dictwire.connect('127.0.0.1:%d' % s.getsockname()[1], close_timeout=0.1) as c:
        c.send({'a': 1})
        1 / 0
except ZeroDivisionError as e:
    print(getattr(e, '__notes__', ['1 record not settled']))
except RuntimeWarning as e:  # before Python 3.11
    print(e)
s.close()
''')
        self.assertIn('1 record not settled', out)

    def test_threads(self) -> None:
        """A reader belongs to one thread at a time, and closes with its client."""
        with dictwire.connect(self.server.addr) as c:
            c.send({'a': 1}, 'one').wait(30)
            reader = c.read('one', cursor='x', follow=True)
            self.assertEqual(next(reader).data, {'a': 1})
            told: list[Any] = []

            def follow() -> None:
                try:
                    next(reader)
                except dictwire.Error as e:
                    told.append(str(e))

            thread = threading.Thread(target=follow)
            thread.start()
            deadline = time.monotonic() + 20
            while reader._core.committed != reader.position and time.monotonic() < deadline:
                time.sleep(0.001)
            with self.assertRaisesRegex(dictwire.Error, 'another thread'):
                next(reader)
        thread.join(20)
        self.assertEqual(told, ['the client is closed'])
        with dictwire.connect(self.server.addr) as c:
            self.assertEqual(list(c.read('one', cursor='x')), [])  # it was committed when the next was requested

    def test_tasks(self) -> None:
        """The same with tasks. A reader that is dropped sends its commit, and closes its connection."""
        async def run() -> tuple[list[str], list[Any], int]:
            told: list[str] = []
            async with dictwire.aio.connect(self.server.addr) as c:
                await c.send_many(({'i': i} for i in range(3)), 'two')
                async for r in c.read('two', cursor='y'):
                    if r.data['i'] == 2:
                        break
                reader = c.read('two', follow=True, start='latest')

                async def follow() -> None:
                    try:
                        await reader.__anext__()
                    except dictwire.Error as e:
                        told.append(str(e))

                task = asyncio.ensure_future(follow())
                while reader._stream is None:
                    await asyncio.sleep(0.001)
                with self.assertRaisesRegex(dictwire.Error, 'another task'):
                    await reader.__anext__()
            await task
            async with dictwire.aio.connect(self.server.addr) as c:
                again = [r.data['i'] async for r in c.read('two', cursor='y')]
            return told, again, len(asyncio.all_tasks())

        self.assertEqual(asyncio.run(run()), (['the client is closed'], [2], 1))


if __name__ == '__main__':
    unittest.main()
