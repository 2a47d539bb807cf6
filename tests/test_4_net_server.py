"""Tests of 4-net.py: start_server, what it prints, and its faults."""

import contextlib
import io
import json
import random
import re
import shlex
import socket
import subprocess
import sys
import textwrap
import time
import unittest
from unittest import mock

from built import free_port, wait_for
from exercise import (
    ALICE,
    PLAIN,
    PRINTED,
    Served,
    both,
    connect,
    environment,
    net,
    notice,
    run,
    setUpModule,
)


class TestServer(unittest.TestCase):
    """start_server with good input."""

    @both
    def test_returns_true(self, dictwire):
        with Served(dictwire) as server:
            self.assertIs(net.send_data(ALICE, port=server.port), True)
        self.assertEqual((server.stdout.getvalue(), server.stderr.getvalue()), (PRINTED, notice(dictwire)))
        self.assertIs(server.result, True)

    @both
    def test_sequences(self, dictwire):
        """The repr of what Python's json reads, however the bytes are split."""
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        values = [
            {},
            {'': ''},
            {'a': [1, [2, {}], {'b': None}], 'c': True, 'd': False},
            {'quotes': '\'', 'both': '\'"', 'back': '\\', 'control': '\n\t\0\x7f\x85\xad\u2028'},
            {'é': 'ß', '字': '😀', 'lone': '\ud800', 'private': '\ue000', 'mark': '\ufeff', 'unassigned': '\u0378'},
            {'floats': [0.1, -0.0, 1e16, 1e-5, 123456789.123, 5e-324, 1.7976931348623157e308]},
            {'not finite': [float('nan'), float('inf'), -float('inf')]},
            {'large': 10**4000, 'small': -(2**64)},
            {'long': 'x' * 900_000},
            {'many': list(range(50_000))},
        ]
        records = [json.dumps(v, ensure_ascii=rng.random() < 0.5 or 'lone' in ascii(v)).encode() for v in values]
        records.append(json.dumps(values[2], indent=2).encode())
        rng.shuffle(records)
        expected = ''.join(f'Received Dictionary from Client:\n{json.loads(r)!r}\n' for r in records)
        for between in (b'\n', b'', b'\0', b' \r\n\n\t', b'\n\x1e'):
            data = between.join(records)
            cuts = sorted(rng.randrange(len(data)) for _ in range(100))
            parts = [data[i:j] for i, j in zip([0, *cuts], [*cuts, len(data)])]
            with self.subTest(between=between, seed=seed):
                with Served(dictwire) as server:
                    self.assertEqual(server.send(*parts), b'')
                self.assertEqual(server.stderr.getvalue(), notice(dictwire))
                self.assertTrue(server.stdout.getvalue() == expected, 'something else was printed')
                self.assertIs(server.result, True)

    @both
    def test_byte_by_byte(self, dictwire):
        data = '\ufeff{"é": "😀"}\n{"b": 2}'.encode()
        with Served(dictwire) as server:
            server.send(*(data[i : i + 1] for i in range(len(data))))
        self.assertEqual(
            server.stdout.getvalue(),
            "Received Dictionary from Client:\n{'é': '😀'}\nReceived Dictionary from Client:\n{'b': 2}\n",
        )

    @both
    def test_printed_at_once(self, dictwire):
        """Each dictionary is printed while the connection is still open."""
        with Served(dictwire) as server, connect(server.port) as c:
            for n in range(3):
                c.sendall(b'{"n": %d}\n' % n)
                wait_for(lambda: f"{{'n': {n}}}\n" in server.stdout.getvalue(), 'printed')

    @both
    def test_probes_do_not_count(self, dictwire):
        """Connections that send nothing: closed, reset and still open ones."""
        with Served(dictwire) as server, contextlib.ExitStack() as cleanup:
            for _ in range(3):
                cleanup.enter_context(connect(server.port))
                connect(server.port).close()
                with connect(server.port) as c:
                    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
            time.sleep(0.3)
            self.assertIs(net.send_data(ALICE, port=server.port), True)
            server.join()
        self.assertEqual((server.stdout.getvalue(), server.stderr.getvalue()), (PRINTED, notice(dictwire)))
        self.assertIs(server.result, True)

    @both
    def test_one_connection(self, dictwire):
        """One connection is served at a time, and afterwards the port is free for the next server."""
        with Served(dictwire) as server, connect(server.port) as c:
            c.sendall(b'{"a": 1}\n')
            wait_for(lambda: "{'a': 1}" in server.stdout.getvalue(), 'printed')

            def is_refused():
                with socket.socket() as other:
                    return other.connect_ex(('127.0.0.1', server.port)) != 0

            wait_for(is_refused, 'refused another connection')

    @both
    def test_all_interfaces_and_names(self, dictwire):
        for host in ('localhost', '0.0.0.0', ''):
            with self.subTest(host=host):
                port = free_port()
                script = f"__import__('4-net').start_server({host!r}, {port})"
                child = subprocess.Popen(
                    [sys.executable, '-c', script],
                    env=environment(dictwire),
                    stdout=subprocess.PIPE,
                    universal_newlines=True,
                    stderr=subprocess.DEVNULL,
                )
                with child:
                    self.assertIs(net.send_data(ALICE, 'localhost', port), True)
                    self.assertEqual(child.communicate(timeout=30)[0], PRINTED)


class TestServerFailures(unittest.TestCase):
    """start_server: each failure is one line and False."""

    def fails(self, line, *args, **kwargs):
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            self.assertIs(net.start_server(*args, **kwargs), False)
        self.assertEqual(stderr.getvalue(), line + '\n')

    def test_port_taken(self):
        with socket.create_server(('127.0.0.1', 0)) as taken:
            port = taken.getsockname()[1]
            self.fails(f"4-net: can't listen on 127.0.0.1:{port}: Address already in use", port=port)

    def test_wrong_addresses(self):
        for host, port, why in (
            ('no-such-host.invalid', 1, r'(Name or service not known|Temporary failure in name resolution)'),
            ('192.0.2.1', 20000, 'Cannot assign requested address'),
            ('a' * 70, 1, r'.*label.*too long.*'),
            ('127.0.0.1', 70000, 'a port is a number from 0 to 65535'),
            ('127.0.0.1', -1, 'a port is a number from 0 to 65535'),
            ('127.0.0.1', 'http', 'a port is a number from 0 to 65535'),
            ('127.0.0.1', None, 'a port is a number from 0 to 65535'),
            (5, 1, '.*'),
        ):
            with self.subTest(host=host, port=port):
                with contextlib.redirect_stderr(io.StringIO()) as stderr:
                    self.assertIs(net.start_server(host, port), False)
                self.assertRegex(stderr.getvalue(), rf"\A4-net: can't listen on {host}:{port}: {why}\n\Z")

    BAD = (
        (b'{"a": oops}\n', r'malformed|want a value', r'reading failed: malformed JSON: Expecting value: line 1 column 7 \(char 6\)'),
        (b'[1, 2]', r'want a dictionary, got a .*list', r'reading failed: want a dictionary, got a list'),
        (b'42\n', r'number', r"reading failed: want a dictionary, got '42\\+n'"),
        (b'hello', r'want a dictionary', r"reading failed: want a dictionary, got 'hello'"),
        (b"{'a': 1}", r'Python literal', r'reading failed: malformed JSON: Expecting property name enclosed in double quotes: .*'),
        (b'{"a": 1, "b": 2, "a": 3}', r'the key .*a.* comes twice', r'reading failed: the key "a" comes twice'),
        (b'{"a": [1, 2', r'the end', r"reading failed: truncated JSON: Expecting ',' delimiter: .*"),
        (b'{"a": "text', r'the end', r'reading failed: truncated JSON: Unterminated string .*'),
        (b'{"a": "\xff"}', r'UTF-8', r"reading failed: 'utf-8' codec can't decode byte 0xff .*"),
        (b'{"a": "' + b'x' * 1_200_000 + b'"}', r'more than 1048576 bytes', r'reading failed: a dictionary has more than 1048576 bytes'),
        (b'{"a": ' + b'[' * 200_000 + b']' * 200_000 + b'}', r'more than 128 levels', r'reading failed: maximum recursion depth exceeded.*'),
    )

    @both
    def test_bad_input(self, dictwire):
        """Good records before the fault are printed; the rest is one line."""
        for data, go, plain in self.BAD:
            with self.subTest(data=data[:30]):
                with Served(dictwire) as server:
                    with contextlib.suppress(ConnectionError):  # the plain server just hangs up
                        server.send(b'{"good": 1}\n', data)
                stderr = server.stderr.getvalue()
                if dictwire == 'python':
                    self.assertRegex(stderr, rf'\A{re.escape(PLAIN)}4-net: {plain}\n\Z')
                    self.assertIs(server.result, False)
                else:
                    self.assertRegex(stderr, go)
                    self.assertNotIn('Traceback', stderr)
                if b'\xff' not in data or dictwire != 'python':
                    self.assertEqual(server.stdout.getvalue(), "Received Dictionary from Client:\n{'good': 1}\n")

    @both
    def test_connection_reset(self, dictwire):
        with Served(dictwire) as server:
            server.send(b'{"good": 1}\n{"a', reset=True)
        self.assertEqual(server.stdout.getvalue(), "Received Dictionary from Client:\n{'good': 1}\n")
        if dictwire == 'python':
            self.assertEqual(server.stderr.getvalue(), PLAIN + '4-net: reading failed: Connection reset by peer\n')
            self.assertIs(server.result, False)
        else:
            self.assertIn('reset', server.stderr.getvalue())

    def test_silence_in_the_plain_server(self):
        with mock.patch.object(net, 'IDLE_SECONDS', 0.2), Served('python') as server, connect(server.port) as c:
            c.sendall(b'{"a"')
            server.join()
        self.assertEqual(server.stderr.getvalue(), PLAIN + '4-net: reading failed: timed out\n')


class TestStdout(unittest.TestCase):
    """sys.stdout may be anything."""

    @both
    def test_anything_with_write(self, dictwire):
        class Minimal:
            text = ''

            def write(self, text):
                self.text += text

        with Served(dictwire, Minimal()) as server:
            net.send_data(ALICE, port=server.port)
        self.assertEqual(server.stdout.text, PRINTED)

    @both
    def test_replaced_later(self, dictwire):
        """It is looked up for each output, as print does."""
        with Served(dictwire) as server, connect(server.port) as c:
            c.sendall(b'{"n": 1}\n')
            wait_for(lambda: "{'n': 1}\n" in server.stdout.getvalue(), 'printed')
            with contextlib.redirect_stdout(io.StringIO()) as later:
                c.sendall(b'{"n": 2}\n')
                wait_for(lambda: "{'n': 2}\n" in later.getvalue(), 'printed')
        self.assertNotIn("{'n': 2}", server.stdout.getvalue())

    @both
    def test_broken(self, dictwire):
        class Broken:
            def write(self, text):
                raise RuntimeError('no more paper')

        with Served(dictwire, Broken()) as server:
            net.send_data(ALICE, port=server.port)
        self.assertIs(server.result, False)
        self.assertIn("4-net: can't print: no more paper\n", server.stderr.getvalue())
        self.assertNotIn('Traceback', server.stderr.getvalue())

    SCRIPT = """
        import threading
        net = __import__('4-net')
        t = threading.Thread(target=net.start_server, kwargs={'port': %d})
        t.start()
        net.send_data({'\\xe9': '\\U0001f600'}, port=%d)
        t.join()
    """

    def shell(self, dictwire, redirection, **env):
        """Run a server and a client with a redirection of the shell."""
        port = free_port()
        script = textwrap.dedent(self.SCRIPT % (port, port))
        command = f'exec {shlex.quote(sys.executable)} -c {shlex.quote(script)} {redirection}'
        return subprocess.run(
            ['/bin/sh', '-c', command],
            env=environment(dictwire, **env),
            timeout=30,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding='utf-8',
        )

    SMILE = "Received Dictionary from Client:\n{'é': '😀'}\n"

    @both
    def test_ascii(self, dictwire):
        done = self.shell(dictwire, '', PYTHONIOENCODING='ascii')
        self.assertEqual(done.stdout, "Received Dictionary from Client:\n{'\\xe9': '\\U0001f600'}\n")
        self.assertEqual(done.stderr, notice(dictwire))

    @both
    def test_latin_1(self, dictwire):
        port = free_port()
        done = run(self.SCRIPT % (port, port), environment(dictwire, PYTHONIOENCODING='latin-1'))
        self.assertEqual(done.stdout, "Received Dictionary from Client:\n{'\udce9': '\\U0001f600'}\n")

    @both
    def test_c_locale(self, dictwire):
        done = self.shell(dictwire, '', LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0')
        self.assertIn(done.stdout, (self.SMILE, "Received Dictionary from Client:\n{'\\xe9': '\\U0001f600'}\n"))
        self.assertEqual(done.stderr, notice(dictwire))

    @both
    def test_closed_stdin(self, dictwire):
        """The listening socket then gets a low number, which is that of the child's own stdin."""
        done = self.shell(dictwire, '<&-', PYTHONUTF8='1')
        self.assertEqual((done.stdout, done.stderr), (self.SMILE, notice(dictwire)))

    @both
    def test_closed_stderr(self, dictwire):
        done = self.shell(dictwire, '2>&-', PYTHONUTF8='1')
        self.assertEqual((done.stdout, done.stderr), (self.SMILE, ''))

    @both
    def test_closed_stdout(self, dictwire):
        done = self.shell(dictwire, '>&-')
        self.assertIn("4-net: can't print: there is no standard output\n", done.stderr)
        self.assertNotIn('Traceback', done.stderr)

    @both
    def test_full_disk(self, dictwire):
        done = self.shell(dictwire, '>/dev/full')
        self.assertIn("4-net: can't print: No space left on device\n", done.stderr)
        self.assertNotIn('Traceback', done.stderr)


if __name__ == '__main__':
    unittest.main()
