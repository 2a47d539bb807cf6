"""Tests of 4-net.py: send_data, and the command line."""

import contextlib
import io
import json
import select
import signal
import socket
import subprocess
import threading
import time
import unittest
from unittest import mock

import built
from built import free_port, wait_for
from exercise import (
    ALICE,
    PRINTED,
    SCRIPT,
    Served,
    assert_no_processes,
    both,
    connect,
    environment,
    net,
    notice,
    processes,
    setUpModule,
    start,
)


class Answering:
    """A server that reads one connection to its end, or answers at once."""

    def __init__(self, answer, at_once=False, stay=False):
        self.answer, self.at_once, self.stay = answer, at_once, stay
        self.done = threading.Event()
        self.received = b''
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)

    def serve(self):
        connection, _ = self.listener.accept()
        with connection:
            if not self.at_once:
                while True:
                    chunk = connection.recv(65536)
                    if not chunk:
                        break
                    self.received += chunk
            with contextlib.suppress(OSError):
                connection.sendall(self.answer)
                if self.stay:
                    self.done.wait(30)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        self.listener.close()


class TestClient(unittest.TestCase):
    """send_data."""

    def send(self, *args, **kwargs):
        """Return what send_data returns and prints on stderr. It prints nothing on stdout."""
        with contextlib.redirect_stderr(io.StringIO()) as stderr, contextlib.redirect_stdout(io.StringIO()) as stdout:
            result = net.send_data(*args, **kwargs)
        self.assertEqual(stdout.getvalue(), '')
        return result, stderr.getvalue()

    def test_what_is_sent(self):
        with Answering(b'') as server:
            self.assertEqual(self.send({**ALICE, 'é': [1.5, None]}, port=server.port), (True, ''))
        self.assertEqual(server.received, b'{"name": "Alice", "age": 30, "city": "Paris", "\\u00e9": [1.5, null]}\n')

    def test_reply(self):
        for answer, want in (
            (b'{"received": 1}\n', {'received': 1}),
            (b'{"received": 1}', {'received': 1}),
            (b'{}\n', {}),
            (b'{"error": "none"}\n', {'error': 'none'}),
            (b'{"a": 1}\n{"b": 2}\n', {'a': 1}),
        ):
            with self.subTest(answer=answer), Answering(answer) as server:
                self.assertEqual(self.send(ALICE, port=server.port), (want, ''))

    def test_reply_of_a_server_that_stays(self):
        """A whole line is enough."""
        with Answering(b'{"received": 1}\n', stay=True) as server:
            began = time.monotonic()
            self.assertEqual(self.send(ALICE, port=server.port), ({'received': 1}, ''))
            self.assertLess(time.monotonic() - began, 0.9)

    def test_no_reply_of_a_server_that_stays(self):
        with mock.patch.object(net, 'REPLY_SECONDS', 0.3), Answering(b'', stay=True) as server:
            self.assertEqual(self.send(ALICE, port=server.port), (True, ''))

    def test_bad_replies(self):
        for answer, why in (
            (b'{"error": "the key \\"a\\" comes twice", "code": "duplicate_key", "at": 9}\n', 'refused it: the key "a" comes twice (duplicate_key)'),
            (b'{"error": "two\\nlines \\u001b[31m", "code": "x"}\n', 'refused it: two\\nlines \\x1b[31m (x)'),
            (b'HTTP/1.1 400 Bad Request\r\n', 'replied with what is not a dictionary: HTTP/1.1 400 Bad Request\\r'),
            (b'[1]\n', 'replied with what is not a dictionary: [1]'),
            (b'\xff\n', 'replied with what is not a dictionary: \\xff'),
            (b'{"a": ', 'replied with what is not a dictionary: {"a": '),
            (b'{"a": "' + b'x' * (1 << 20) + b'"}\n', 'replied with more than 1048576 bytes'),
        ):
            with self.subTest(answer=answer[:40]), Answering(answer) as server:
                line = f'4-net: 127.0.0.1:{server.port} {why}\n'
                self.assertEqual(self.send(ALICE, port=server.port), (False, line))

    def test_reply_that_does_not_end(self):
        with mock.patch.object(net, 'REPLY_SECONDS', 0.3), Answering(b'{"a": ', stay=True) as server:
            line = f'4-net: 127.0.0.1:{server.port} replied with what is not a dictionary: {{"a": \n'
            self.assertEqual(self.send(ALICE, port=server.port), (False, line))

    def test_hung_up(self):
        """A server that does not read what is sent."""
        with Answering(b'', at_once=True) as server:
            result, stderr = self.send({'a': 'x' * 20_000_000}, port=server.port)
        self.assertIs(result, False)
        self.assertRegex(stderr, rf"\A4-net: can't send to 127\.0\.0\.1:{server.port}: (Connection reset by peer|Broken pipe)\n\Z")

    def test_reset_before_all_is_said(self):
        """A server that is gone once the client has sent everything and is about to half-close."""
        with socket.create_server(('127.0.0.1', 0)) as listener:
            for _ in range(3):
                client = socket.create_connection(listener.getsockname())
                server, _ = listener.accept()

                class Connection:
                    settimeout, recv, shutdown = client.settimeout, client.recv, client.shutdown

                    @staticmethod
                    def sendall(data):
                        client.sendall(data)
                        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
                        server.close()
                        select.select([client], [], [], 30)

                with client, self.assertRaises(ConnectionResetError):
                    net._exchange(Connection, b'{}\n')

    def test_nothing_listens(self):
        port = free_port()
        began = time.monotonic()
        line = f"4-net: can't send to 127.0.0.1:{port}: Connection refused\n"
        self.assertEqual(self.send(ALICE, port=port), (False, line))
        took = time.monotonic() - began
        self.assertTrue(2 < took < 5, took)

    def test_server_that_is_just_starting(self):
        port = free_port()
        results = []
        client = threading.Thread(target=lambda: results.append(net.send_data(ALICE, port=port)))
        client.start()
        time.sleep(0.4)
        with socket.create_server(('127.0.0.1', port)) as listener:
            connection, _ = listener.accept()
            with connection, connection.makefile('rb') as lines:
                self.assertEqual(json.loads(lines.read()), ALICE)
        client.join()
        self.assertEqual(results, [True])

    def test_connected_to_itself(self):
        """If nothing listens, a connection may connect to itself."""
        port = free_port()

        def meet(address, timeout):
            meeting = socket.socket()
            meeting.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # it met itself a moment ago
            meeting.bind(address)
            meeting.connect(address)
            return meeting

        with mock.patch.object(net.socket, 'create_connection', meet), mock.patch.object(net, 'CONNECT_SECONDS', 0.2):
            line = f"4-net: can't send to 127.0.0.1:{port}: Connection refused\n"
            self.assertEqual(self.send(ALICE, port=port), (False, line))

    def test_wrong_addresses(self):
        for host, port, why in (
            ('no-such-host.invalid', 1, r'(Name or service not known|Temporary failure in name resolution)'),
            ('a' * 70, 1, r'.*label.*too long.*'),
            ('127.0.0.1', 70000, 'a port is a number from 0 to 65535'),
            ('127.0.0.1', 'http', 'a port is a number from 0 to 65535'),
            (5, 1, '.*'),
        ):
            with self.subTest(host=host, port=port):
                result, stderr = self.send(ALICE, host, port)
                self.assertIs(result, False)
                self.assertRegex(stderr, rf"\A4-net: can't send to {host}:{port}: {why}\n\Z")

    def test_what_can_not_be_sent(self):
        circular = {}
        circular['me'] = circular
        deep = {}
        for _ in range(200_000):
            deep = {'a': deep}
        for value, why in (
            ([1, 2], r'want a dictionary, got a list'),
            ('text', r'want a dictionary, got a str'),
            (3, r'want a dictionary, got an int'),
            (None, r'want a dictionary, got a NoneType'),
            ({'a': {1, 2}}, r'Object of type set is not JSON serializable'),
            ({'a': b''}, r'Object of type bytes is not JSON serializable'),
            ({(1, 2): 3}, r'keys must be str, int, float, bool or None, not tuple'),
            (circular, r'Circular reference detected'),
            (deep, r'.*recursion.*'),
            ({1: 'a', '1': 'b'}, r'the key "1" comes twice'),
            ({'a': [{None: 1, 'null': 2}]}, r'the key "null" comes twice'),
            ({'dictwire': 1}, r'a server takes it for a greeting, as its first key is "dictwire"; put another key first'),
            ({'dictwire': -12, 'a': 1}, r'a server takes it for a greeting, .*'),
            ({'dictwire': signal.SIGINT}, r'a server takes it for a greeting, .*'),
        ):
            with self.subTest(value=type(value), why=why):
                result, stderr = self.send(value, port=1)
                self.assertIs(result, False)
                self.assertRegex(stderr, rf"\A4-net: can't send this: {why}\n\Z")
        while deep:  # or its end would recurse as deep
            deep = deep['a']

    @both
    def test_almost_a_greeting(self, dictwire):
        """Only an integer under the first key starts another protocol."""
        for value in ({'a': 0, 'dictwire': 1}, {'dictwire': '1'}, {'dictwire': 1.5}, {'dictwire': True}, {'dictwire': {}}, {'Dictwire': 1}):
            with Served(dictwire) as server:
                self.assertIs(net.send_data(value, port=server.port), True)
            self.assertEqual(server.stdout.getvalue(), f'Received Dictionary from Client:\n{value!r}\n')

    def dictwire(self, *options):
        """Start the real server with other options; return its port."""
        with socket.create_server(('127.0.0.1', 0)) as listener:
            command = [built.DICTWIRE, 'serve', '--once', '--quiet', '--listen', f'fd:{listener.fileno()}', *options]
            child = subprocess.Popen(
                command,
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                universal_newlines=True,
            )
            self.addCleanup(child.communicate, timeout=30)
            return listener.getsockname()[1]

    def test_reply_of_the_real_server(self):
        self.assertEqual(self.send(ALICE, port=self.dictwire('--reply')), ({'received': 1}, ''))

    def test_refused_by_the_real_server(self):
        result, stderr = self.send({'a': 'x' * 3_000_000}, port=self.dictwire())
        self.assertIs(result, False)
        self.assertRegex(stderr, r'\A4-net: 127\.0\.0\.1:\d+ refused it: .*more than 1048576 bytes.* \(too_large\)\n\Z')


class TestProgram(unittest.TestCase):
    """python3 4-net.py server, and client."""

    def program(self, *args, dictwire='python'):
        """Start 4-net.py."""
        return start(self, [SCRIPT, *args], environment(dictwire), cwd='/')

    def outcome(self, child):
        """Return the rest of its output, and its status. communicate would lose what readline has buffered."""
        timer = threading.Timer(30, child.kill)
        timer.start()
        stdout, stderr = child.stdout.read(), child.stderr.read()
        code = child.wait()
        timer.cancel()
        return code, stdout, stderr

    @both
    def test_server_and_client(self, dictwire):
        server = self.program('server', '--port', '0', dictwire=dictwire)
        line = server.stderr.readline()
        self.assertRegex(line, r'\A4-net: listening on 127\.0\.0\.1:\d+\n\Z')
        port = line.split(':')[-1].strip()
        client = self.program('client', json.dumps(ALICE), '--port', port)
        self.assertEqual(self.outcome(client), (0, '', ''))
        self.assertEqual(self.outcome(server), (0, PRINTED, notice(dictwire)))

    def test_reply(self):
        with Answering('{"é": 1}\n'.encode()) as server:
            client = self.program('client', '{"a": 1}', '--host', 'localhost', '--port', str(server.port))
            self.assertEqual(self.outcome(client), (0, '{"\\u00e9": 1}\n', ''))

    def test_client_fails(self):
        client = self.program('client', '{"a": 1}', '--port', '70000')
        line = "4-net: can't send to 127.0.0.1:70000: a port is a number from 0 to 65535\n"
        self.assertEqual(self.outcome(client), (1, '', line))
        port = free_port()
        client = self.program('client', '{"a": 1}', '--port', str(port))
        self.assertEqual(self.outcome(client), (1, '', f"4-net: can't send to 127.0.0.1:{port}: Connection refused\n"))
        client = self.program('client', '[1]', '--port', str(port))
        self.assertEqual(self.outcome(client), (1, '', "4-net: can't send this: want a dictionary, got a list\n"))

    def test_server_fails(self):
        with socket.create_server(('127.0.0.1', 0)) as taken:
            port = taken.getsockname()[1]
            server = self.program('server', '--port', str(port))
            self.assertEqual(
                self.outcome(server), (1, '', f"4-net: can't listen on 127.0.0.1:{port}: Address already in use\n")
            )

    def test_usage(self):
        for args, why in (
            ([], 'required: command'),
            (['serve'], 'invalid choice'),
            (['client'], 'required: dictionary'),
            (['client', '{a: 1}'], 'argument dictionary: not JSON: Expecting property name'),
            (['client', '{"a": 1, "a": 2}'], 'argument dictionary: not JSON: the key "a" comes twice'),
            (['server', '--port', 'http'], "argument --port: invalid int value: 'http'"),
        ):
            with self.subTest(args=args):
                code, stdout, stderr = self.outcome(self.program(*args))
                self.assertEqual((code, stdout), (2, ''))
                self.assertIn(why, stderr)

    def test_help(self):
        for args in (['--help'], ['server', '--help'], ['client', '--help']):
            code, stdout, stderr = self.outcome(self.program(*args))
            self.assertEqual((code, stderr), (0, ''))
            self.assertIn('usage: 4-net.py', stdout)

    @both
    def test_ended_by_signals(self, dictwire):
        numbers = signal.SIGINT, signal.SIGTERM
        servers = [self.program('server', '--port', '0', dictwire=dictwire) for _ in numbers]
        for server in servers:
            server.stderr.readline()
        if dictwire != 'python':
            wait_for(lambda: len(processes()) == len(servers), 'started dictwire')
        time.sleep(0.3)
        for server, number in zip(servers, numbers):
            server.send_signal(number)
        for server, number in zip(servers, numbers):
            with self.subTest(signal=number):
                self.assertEqual(self.outcome(server), (1, '', notice(dictwire)))
        assert_no_processes()

    @both
    def test_reader_that_goes_away(self, dictwire):
        """As in python3 4-net.py server | head -1."""
        server = self.program('server', '--port', '0', dictwire=dictwire)
        port = int(server.stderr.readline().split(':')[-1])
        server.stdout.close()
        with connect(port) as c, contextlib.suppress(ConnectionError):
            for _ in range(10):
                c.sendall(b'{"a": 1}\n')
                time.sleep(0.02)
        stderr = server.stderr.read()
        self.assertEqual(server.wait(30), 1)
        self.assertIn("4-net: can't print: Broken pipe\n", stderr)
        for bad in ('Traceback', 'Exception'):
            self.assertNotIn(bad, stderr)


if __name__ == '__main__':
    unittest.main()
