"""Tests of 4-net.py: python3 -m unittest discover -s tests -v

They run against the real dictwire, which is built first, and against the plain
Python server. Nothing is skipped: without Go they fail.
"""

import contextlib
import errno
import io
import json
import os
import random
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
from unittest import mock

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCRIPT = os.path.join(ROOT, '4-net.py')

sys.path.insert(0, ROOT)
net = __import__('4-net')

ALICE = {'name': 'Alice', 'age': 30, 'city': 'Paris'}
PRINTED = "Received Dictionary from Client:\n{'name': 'Alice', 'age': 30, 'city': 'Paris'}\n"
PLAIN = '4-net: DICTWIRE=python; a plain Python server takes its place\n'

# The exercise's own script.
EXERCISE = """\
import threading
import time

start_server = __import__('4-net').start_server
send_data = __import__('4-net').send_data

server_thread = threading.Thread(target=start_server)
server_thread.start()

time.sleep(1)

send_data({'name': 'Alice', 'age': 30, 'city': 'Paris'})

server_thread.join()
"""

TMP = ''  # for everything that the tests write
DICTWIRE = ''  # the real binary
TOOLS = ''  # a PATH with go and nothing else
BUILD = ['go', 'build', '-trimpath']


def setUpModule():
    global TMP, DICTWIRE, TOOLS
    TMP = tempfile.mkdtemp(prefix='test-4-net-')
    unittest.addModuleCleanup(shutil.rmtree, TMP)
    unittest.addModuleCleanup(assert_no_processes)
    DICTWIRE = os.path.join(TMP, 'dictwire')
    TOOLS = os.path.join(TMP, 'tools')
    go = shutil.which('go')
    if not go:
        raise AssertionError('these tests need Go')
    os.mkdir(TOOLS)
    os.symlink(go, os.path.join(TOOLS, 'go'))
    done = subprocess.run(
        [*BUILD, '-o', DICTWIRE, './cmd/dictwire'],
        cwd=ROOT,
        env={**os.environ, 'CGO_ENABLED': '0'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    if done.returncode:
        raise AssertionError('go build failed:\n' + done.stdout)


def processes():
    """Return the running processes of programs that lie in TMP."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        with contextlib.suppress(OSError):
            with open(f'/proc/{pid}/cmdline', 'rb') as f:
                words = f.read().decode(errors='replace').split('\0')
            if any(word.startswith(TMP) and os.access(word, os.X_OK) for word in words[:2]):
                found.append((int(pid), words))
    return found


def assert_no_processes():
    """Fail if something that the tests started still runs."""
    deadline = time.monotonic() + 5
    while processes():
        if time.monotonic() > deadline:
            raise AssertionError(f'left behind: {processes()}')
        time.sleep(0.05)


def free_port():
    """Return a port below those that the system gives to clients, so that none takes it meanwhile."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(('127.0.0.1', port))
            return port


def environment(dictwire, **more):
    """Return an environment in which 4-net.py finds dictwire. None: it has to look for it."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(('DICTWIRE', 'PYTHON', 'LC_', 'LANG'))}
    env.update(PYTHONPATH=ROOT, PYTHONWARNINGS='error', PYTHONDEVMODE='1', PYTHONDONTWRITEBYTECODE='1')
    if dictwire:
        env['DICTWIRE'] = dictwire
    env.update(more)
    return env


def run(script, env, timeout=60, **options):
    """Run a Python script and return what it wrote, and its exit status.

    It imports what PYTHONPATH says: its working directory has nothing to import.
    """
    options.setdefault('cwd', TMP)
    return subprocess.run(
        [sys.executable, '-c', textwrap.dedent(script)],
        env=env,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding='utf-8',
        errors='surrogateescape',
        **options,
    )


def program(name, text):
    """Write an executable Python program and return its path."""
    path = os.path.join(TMP, name)
    with open(path, 'w', encoding='utf-8') as f:
        f.write(f'#!{sys.executable}\n' + textwrap.dedent(text))
    os.chmod(path, 0o755)
    return path


def connect(port):
    """Return a plain connection to a server that is just starting."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(('127.0.0.1', port), timeout=30)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def wait_for(condition, what):
    """Wait until condition() is true."""
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f'never {what}')
        time.sleep(0.01)


class Served:
    """A start_server in a thread of this process, with stdout and stderr replaced."""

    def __init__(self, dictwire, stdout=None):
        self.port = free_port()
        self.stdout = io.StringIO() if stdout is None else stdout
        self.stderr = io.StringIO()
        self.result = None
        self.dictwire = dictwire
        self.thread = threading.Thread(target=self.serve)

    def serve(self):
        self.result = net.start_server(port=self.port)

    def __enter__(self):
        self.cleanup = contextlib.ExitStack()
        self.cleanup.enter_context(mock.patch.dict(os.environ, DICTWIRE=self.dictwire))
        self.cleanup.enter_context(contextlib.redirect_stdout(self.stdout))
        self.cleanup.enter_context(contextlib.redirect_stderr(self.stderr))
        self.thread.start()
        return self

    def join(self):
        self.thread.join(30)
        if self.thread.is_alive():
            raise AssertionError('start_server does not return')

    def __exit__(self, *_):
        try:
            self.join()
        finally:
            self.cleanup.close()

    def send(self, *parts, reset=False):
        """Send parts over one connection, close it, and return what the server says."""
        with connect(self.port) as c:
            for part in parts:
                c.sendall(part)
            if reset:
                # Once the server has begun to read: a connection reset before that has sent nothing.
                time.sleep(0.3)
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
                return b''
            try:
                c.shutdown(socket.SHUT_WR)
            except OSError as error:  # reset by a server that has hung up: Python has no ConnectionError for that
                if error.errno != errno.ENOTCONN:
                    raise
            told = b''
            while True:
                chunk = c.recv(65536)
                if not chunk:
                    return told
                told += chunk


def both(test):
    """Run a test with the real dictwire and with the plain Python server."""

    def run_both(self):
        for dictwire in (DICTWIRE, 'python'):
            with self.subTest(server=os.path.basename(dictwire)):
                test(self, dictwire)

    run_both.__name__ = test.__name__
    run_both.__doc__ = test.__doc__
    return run_both


def notice(dictwire):
    """What is on stderr where all goes well."""
    return PLAIN if dictwire == 'python' else ''


class TestExercise(unittest.TestCase):
    """The exercise's own script, which uses the default port."""

    def setUp(self):
        def is_free():
            with socket.socket() as s, contextlib.suppress(OSError):
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(('127.0.0.1', 65432))
                return True

        wait_for(is_free, 'was port 65432 free')

    @both
    def test_literally(self, dictwire):
        done = run(EXERCISE, environment(dictwire), timeout=30)
        self.assertEqual((done.stdout, done.stderr, done.returncode), (PRINTED, notice(dictwire), 0))

    @both
    def test_twice_in_a_row(self, dictwire):
        done = run(EXERCISE * 2, environment(dictwire), timeout=30)
        self.assertEqual((done.stdout, done.stderr, done.returncode), (PRINTED * 2, notice(dictwire) * 2, 0))

    @both
    def test_without_join(self, dictwire):
        script = EXERCISE.replace('server_thread.join()\n', '')
        done = run(script, environment(dictwire), timeout=30)
        self.assertEqual((done.stdout, done.stderr, done.returncode), (PRINTED, notice(dictwire), 0))

    def test_slow_build(self):
        """With a build that takes longer than the second that the script waits."""
        with tempfile.TemporaryDirectory(dir=TMP) as folder:
            tree = source_tree(os.path.join(folder, 'tree'))
            go = shutil.which('go')
            slow = f'import os, sys, time\ntime.sleep(2)\nos.execv({go!r}, sys.argv)\n'
            os.rename(program('go', slow), os.path.join(folder, 'go'))
            began = time.monotonic()
            done = run(EXERCISE, environment(None, PYTHONPATH=tree, PATH=folder), timeout=300)
            took = time.monotonic() - began
            self.assertEqual((done.stdout, done.stderr, done.returncode), (PRINTED, '', 0))
            self.assertGreater(took, 2)
            self.assertEqual(os.listdir(os.path.join(tree, 'bin')), ['dictwire'])


def source_tree(where):
    """Copy what dictwire is built from, without what was built, and 4-net.py."""

    def copy(source, target):
        with contextlib.suppress(FileNotFoundError):  # somebody's scratch file
            shutil.copy2(source, target)

    ignore = shutil.ignore_patterns('.git', 'bin', '.tools', '__pycache__')
    shutil.copytree(ROOT, where, ignore=ignore, copy_function=copy)
    return where


class TestFindDictwire(unittest.TestCase):
    """Where the binary comes from."""

    SCRIPT = """
        import sys, threading
        net = __import__('4-net')
        port = int(sys.argv[1]) if sys.argv[1:] else %d
        t = threading.Thread(target=lambda: print(net.start_server(port=port)))
        t.start()
        print(net.send_data({'name': 'Alice', 'age': 30, 'city': 'Paris'}, port=port), flush=True)
        t.join()
    """

    def serve(self, env, **options):
        """Run a server and a client; return stderr. stdout must be as it should."""
        done = run(self.SCRIPT % free_port(), env, **options)
        self.assertEqual(done.returncode, 0)
        lines = done.stdout.splitlines(keepends=True)
        self.assertEqual(lines.count('True\n'), 2, done)
        self.assertEqual(''.join(line for line in lines if line != 'True\n'), PRINTED)
        return done.stderr

    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=TMP)
        shutil.copy(SCRIPT, self.folder)

    def env(self, dictwire=None, **more):
        return environment(dictwire, **{'PYTHONPATH': self.folder, 'PATH': '/nowhere', **more})

    def logger(self, name):
        """A program that leaves a file and then is dictwire."""
        mark = os.path.join(self.folder, 'mark')
        text = f"import os, sys\nopen({mark!r}, 'w').close()\nos.execv({DICTWIRE!r}, sys.argv)"
        return program(name, text), mark

    def test_environment_variable(self):
        path, mark = self.logger('other-dictwire')
        os.mkdir(os.path.join(self.folder, 'bin'))
        os.symlink(DICTWIRE, os.path.join(self.folder, 'bin', 'dictwire'))
        self.assertEqual(self.serve(self.env(path)), '')
        self.assertTrue(os.path.exists(mark))

    def test_environment_variable_with_a_name(self):
        path, mark = self.logger('named-dictwire')
        self.assertEqual(self.serve(self.env('named-dictwire', PATH=TMP)), '')
        self.assertTrue(os.path.exists(mark))

    def test_bin_beside(self):
        path, mark = self.logger('beside')
        os.mkdir(os.path.join(self.folder, 'bin'))
        os.symlink(path, os.path.join(self.folder, 'bin', 'dictwire'))
        self.assertEqual(self.serve(self.env(PATH=TMP)), '')  # TMP has another one
        self.assertTrue(os.path.exists(mark))

    def test_bin_beside_a_symbolic_link(self):
        os.mkdir(os.path.join(self.folder, 'bin'))
        os.symlink(DICTWIRE, os.path.join(self.folder, 'bin', 'dictwire'))
        with tempfile.TemporaryDirectory(dir=TMP) as elsewhere:
            os.symlink(os.path.join(self.folder, '4-net.py'), os.path.join(elsewhere, '4-net.py'))
            self.assertEqual(self.serve(self.env(PYTHONPATH=elsewhere)), '')

    def test_path(self):
        self.assertEqual(self.serve(self.env(PATH=TMP)), '')

    def test_relative_path_and_another_working_directory(self):
        """The module is found relative to a directory that the script leaves."""
        os.mkdir(os.path.join(self.folder, 'bin'))
        os.symlink(DICTWIRE, os.path.join(self.folder, 'bin', 'dictwire'))
        script = "import os\nimport sys\nsys.path.insert(0, '.')\nnet = __import__('4-net')\nos.chdir('/')\n"
        done = run(script + textwrap.dedent(self.SCRIPT % free_port()), self.env(PYTHONPATH=''), cwd=self.folder)
        self.assertIn(PRINTED, done.stdout)
        self.assertEqual(done.stderr, '')

    def test_two_builds_at_once(self):
        tree = source_tree(os.path.join(self.folder, 'tree'))
        env = self.env(PYTHONPATH=tree, PATH=TOOLS)
        failures = []

        def serve():
            try:
                self.assertEqual(self.serve(env, timeout=300), '')
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=serve) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(os.listdir(os.path.join(tree, 'bin')), ['dictwire'])
        self.assertEqual(self.serve(self.env(PYTHONPATH=tree)), '')  # without Go: it is there now

    def plain(self, env, why):
        """The plain server takes over, and says why in one line."""
        self.assertEqual(self.serve(env), f'4-net: {why}; a plain Python server takes its place\n')

    def test_neither_binary_nor_go(self):
        self.plain(self.env(), 'there is neither dictwire nor Go to build it')

    def test_neither_binary_nor_source(self):
        self.plain(self.env(PATH=TOOLS), 'there is neither dictwire nor its source beside 4-net.py')

    def test_python_by_request(self):
        self.plain(self.env('python', PATH=TMP), 'DICTWIRE=python')

    def test_wrong_environment_variable(self):
        self.plain(self.env(SCRIPT + 'x'), f'DICTWIRE={SCRIPT}x is not a program that can be run')

    def test_environment_variable_without_permission(self):
        path = os.path.join(self.folder, '4-net.py')
        os.chmod(path, 0o644)
        self.plain(self.env(path), f'DICTWIRE={path} is not a program that can be run')

    def test_binary_of_no_known_format(self):
        path = os.path.join(self.folder, 'broken')
        with open(path, 'wb') as f:
            f.write(b'\x7fELF, or is it?')
        os.chmod(path, 0o755)
        self.plain(self.env(path), f"can't run {path}: Exec format error")

    def test_build_fails(self):
        for name, text in (('go.mod', 'module example.org/x\n'), ('main.go', 'package main\n\nfunc main() { oops }\n')):
            os.makedirs(os.path.join(self.folder, 'cmd', 'dictwire'), exist_ok=True)
            where = os.path.join(self.folder, 'cmd', 'dictwire') if name == 'main.go' else self.folder
            with open(os.path.join(where, name), 'w', encoding='utf-8') as f:
                f.write(text)
        env = self.env(PATH=TOOLS)
        self.plain(env, 'go build failed: cmd/dictwire/main.go:3:15: undefined: oops')
        self.assertEqual(os.listdir(os.path.join(self.folder, 'bin')), [])

    def test_nowhere_to_build(self):
        for name in ('go.mod', 'bin'):
            open(os.path.join(self.folder, name), 'w').close()
        self.plain(self.env(PATH=TOOLS), "can't build dictwire: File exists")


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
        """What Python's repr says of what Python's json reads, however it is cut."""
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
        """While one is served nobody else is, and the port is free for the next server."""
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
        """What was good before it is printed, the rest is one line."""
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
        """It is looked up when something is printed, as print does."""
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
        """The listening socket then has a low number, which the child has its own stdin under."""
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


class TestChild(unittest.TestCase):
    """What a dictwire may do, shown by programs that stand in for it."""

    def serve(self, name, text, timeout=30):
        """Run start_server with a stand-in. It can call accept()."""
        prelude = """\
            import atexit, os, signal, socket, sys, time
            fd = int([a for a in sys.argv if a.startswith('fd:')][0][3:])
            listener = socket.socket(fileno=fd)
            atexit.register(listener.close)
            """
        path = program(name, textwrap.dedent(prelude) + textwrap.dedent(text))
        port = free_port()
        done = run(f"print(__import__('4-net').start_server(port={port}))", environment(path), timeout=timeout)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def test_arguments(self):
        done = self.serve('arguments', 'print(*sys.argv[1:-1])\nprint(listener.getsockname()[0])\n')
        version = '%d.%d' % sys.version_info[:2]
        python = f' --python {version}' if (3, 8) <= sys.version_info[:2] <= (3, 14) else ''
        self.assertEqual(
            (done.stdout, done.stderr),
            (f'serve --once --quiet --insecure --print python{python} --listen\n127.0.0.1\nTrue\n', ''),
        )

    def test_unknown_python(self):
        """A Python that dictwire does not know is not named to it."""
        path = program('unknown-python', 'import sys\nprint(*sys.argv[1:-1])\n')
        with mock.patch.object(net.sys, 'version_info', (3, 99, 0)), Served(path) as server:
            pass
        self.assertEqual(server.stdout.getvalue(), 'serve --once --quiet --insecure --print python --listen\n')

    def test_much_on_both(self):
        """Neither pipe blocks the other, and the lines keep their order."""
        done = self.serve(
            'much',
            """
            for n in range(20_000):
                print(n, 'x' * 200)
                print(n, 'y' * 200, file=sys.stderr)
            """,
        )
        self.assertTrue(done.stdout == ''.join(f'{n} {"x" * 200}\n' for n in range(20_000)) + 'True\n')
        self.assertTrue(done.stderr == ''.join(f'{n} {"y" * 200}\n' for n in range(20_000)))

    def test_not_utf_8(self):
        done = self.serve('not-utf-8', r"os.write(1, b'a\xff\n\xc3'); os.write(2, b'b\xfe\n')")
        self.assertEqual((done.stdout, done.stderr), ('a\\xff\n\\xc3True\n', 'b\\xfe\n'))

    def test_failure_with_words(self):
        done = self.serve('words', "sys.exit('dictwire: no luck today')")
        self.assertEqual((done.stdout, done.stderr), ('False\n', 'dictwire: no luck today\n'))

    def test_failure_without_words(self):
        done = self.serve('no-words', 'sys.exit(3)')
        self.assertEqual((done.stdout, done.stderr), ('False\n', '4-net: dictwire ended with status 3 and no word\n'))

    def test_killed(self):
        done = self.serve('killed', 'os.kill(os.getpid(), 9)')
        self.assertEqual((done.stdout, done.stderr), ('False\n', '4-net: dictwire ended with status -9 and no word\n'))


class TestInterrupt(unittest.TestCase):
    """Ctrl-C and other ends leave nothing behind: no traceback, no process."""

    SERVER = """
        import sys
        net = __import__('4-net')
        print(net.start_server(port=%d))
    """

    def start(self, dictwire, script, port, **options):
        child = subprocess.Popen(
            [sys.executable, '-c', textwrap.dedent(script % port)],
            env=environment(dictwire),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            cwd=TMP,
            start_new_session=True,
            **options,
        )
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.stderr.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        if dictwire != 'python':
            wait_for(processes, 'started dictwire')
        connect(port).close()
        return child

    @both
    def test_by_itself(self, dictwire):
        """The signal goes to Python alone."""
        child = self.start(dictwire, self.SERVER, free_port())
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        self.assertEqual(child.communicate(timeout=10), ('False\n', notice(dictwire)))
        assert_no_processes()

    @both
    def test_by_a_terminal(self, dictwire):
        """The signal goes to all: what has come is printed."""
        port = free_port()
        child = self.start(dictwire, self.SERVER, port)
        with connect(port) as c:
            c.sendall(b'{"a": 1}\n')
            self.assertEqual(child.stdout.readline(), 'Received Dictionary from Client:\n')
            os.killpg(child.pid, signal.SIGINT)
            self.assertEqual(child.stdout.read(), "{'a': 1}\nFalse\n")
        self.assertEqual(child.stderr.read(), notice(dictwire))
        assert_no_processes()

    def test_stubborn_child(self):
        """A child that ignores all signals but one is killed."""
        path = program(
            'stubborn',
            """
            import signal, time
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print('ready', flush=True)
            time.sleep(100)
            """,
        )
        child = self.start(path, self.SERVER, free_port())
        self.assertEqual(child.stdout.readline(), 'ready\n')
        os.killpg(child.pid, signal.SIGINT)
        self.assertEqual(child.communicate(timeout=10), ('False\n', ''))
        assert_no_processes()

    def test_twice(self):
        """A second Ctrl-C does not wait."""
        path = program(
            'patient',
            """
            import signal, time
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            print('ready', flush=True)
            time.sleep(100)
            """,
        )
        child = self.start(path, self.SERVER, free_port())
        self.assertEqual(child.stdout.readline(), 'ready\n')
        began = time.monotonic()
        os.killpg(child.pid, signal.SIGINT)
        time.sleep(0.7)
        os.killpg(child.pid, signal.SIGINT)
        self.assertEqual(child.communicate(timeout=10), ('False\n', ''))
        self.assertLess(time.monotonic() - began, 1.7)
        assert_no_processes()

    def test_while_building(self):
        folder = tempfile.mkdtemp(dir=TMP)
        shutil.copy(SCRIPT, folder)
        open(os.path.join(folder, 'go.mod'), 'w').close()
        os.rename(program('go', 'import time\ntime.sleep(100)\n'), os.path.join(folder, 'go'))
        port = free_port()
        child = subprocess.Popen(
            [sys.executable, '-c', textwrap.dedent(self.SERVER % port)],
            env=environment(None, PYTHONPATH=folder, PATH=folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            cwd=TMP,
            start_new_session=True,
        )
        with child:
            wait_for(processes, 'started go')
            os.killpg(child.pid, signal.SIGINT)
            self.assertEqual(child.communicate(timeout=10), ('False\n', ''))
        self.assertEqual(os.listdir(os.path.join(folder, 'bin')), [])
        assert_no_processes()

    def test_daemon_thread(self):
        """A script that ends before its server does takes it along."""
        for dictwire in (DICTWIRE, 'python'):
            port = free_port()
            script = """
                import sys, threading, time
                net = __import__('4-net')
                threading.Thread(target=net.start_server, kwargs={'port': %d}, daemon=True).start()
                sys.stdin.readline()
            """
            child = subprocess.Popen(
                [sys.executable, '-c', textwrap.dedent(script % port)],
                env=environment(dictwire, PYTHONDEVMODE='0', PYTHONWARNINGS='default'),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                universal_newlines=True,
            )
            with self.subTest(server=dictwire), child:
                connect(port).close()
                if dictwire != 'python':
                    wait_for(processes, 'started dictwire')
                time.sleep(0.3)
                stdout, stderr = child.communicate('\n', timeout=10)
                self.assertEqual((stdout, stderr, child.returncode), ('', notice(dictwire), 0))
                assert_no_processes()


class Answering:
    """A server that reads one connection to its end, or says at once what it has to say."""

    def __init__(self, answer, at_once=False, stay=False):
        self.answer, self.at_once, self.stay = answer, at_once, stay
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
                    time.sleep(self.stay)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
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
        with Answering(b'{"received": 1}\n', stay=1) as server:
            began = time.monotonic()
            self.assertEqual(self.send(ALICE, port=server.port), ({'received': 1}, ''))
            self.assertLess(time.monotonic() - began, 0.9)

    def test_no_reply_of_a_server_that_stays(self):
        with mock.patch.object(net, 'REPLY_SECONDS', 0.3), Answering(b'', stay=1) as server:
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
        with mock.patch.object(net, 'REPLY_SECONDS', 0.3), Answering(b'{"a": ', stay=1) as server:
            line = f'4-net: 127.0.0.1:{server.port} replied with what is not a dictionary: {{"a": \n'
            self.assertEqual(self.send(ALICE, port=server.port), (False, line))

    def test_hung_up(self):
        """A server that does not read what is sent."""
        with Answering(b'', at_once=True) as server:
            result, stderr = self.send({'a': 'x' * 20_000_000}, port=server.port)
        self.assertIs(result, False)
        self.assertRegex(stderr, rf"\A4-net: can't send to 127\.0\.0\.1:{server.port}: (Connection reset by peer|Broken pipe)\n\Z")

    def test_reset_before_all_is_said(self):
        """A server that is gone when the client has sent all, and is about to say so."""
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
        time.sleep(1)
        with socket.create_server(('127.0.0.1', port)) as listener:
            connection, _ = listener.accept()
            with connection, connection.makefile('rb') as lines:
                self.assertEqual(json.loads(lines.read()), ALICE)
        client.join()
        self.assertEqual(results, [True])

    def test_connected_to_itself(self):
        """Where nothing listens, a connection may meet itself."""
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
        """Only an integer under the first key begins another protocol."""
        for value in ({'a': 0, 'dictwire': 1}, {'dictwire': '1'}, {'dictwire': 1.5}, {'dictwire': True}, {'dictwire': {}}, {'Dictwire': 1}):
            with Served(dictwire) as server:
                self.assertIs(net.send_data(value, port=server.port), True)
            self.assertEqual(server.stdout.getvalue(), f'Received Dictionary from Client:\n{value!r}\n')

    def dictwire(self, *options):
        """Start the real server with other options; return its port."""
        with socket.create_server(('127.0.0.1', 0)) as listener:
            command = [DICTWIRE, 'serve', '--once', '--quiet', '--listen', f'fd:{listener.fileno()}', *options]
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

    def program(self, *args, dictwire='python', **options):
        """Start 4-net.py."""
        child = subprocess.Popen(
            [sys.executable, SCRIPT, *args],
            env=environment(dictwire),
            cwd='/',
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding='utf-8',
            **options,
        )
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.stderr.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return child

    def outcome(self, child):
        """Return what is left of its output, and its status. communicate would lose what readline has read ahead."""
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
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                server = self.program('server', '--port', '0', dictwire=dictwire)
                server.stderr.readline()
                if dictwire != 'python':
                    wait_for(processes, 'started dictwire')
                time.sleep(0.3)
                server.send_signal(number)
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


class TestSource(unittest.TestCase):
    def test_plain_server_is_short(self):
        """At most 40 lines of code."""
        with open(SCRIPT, encoding='utf-8') as f:
            source = f.read()
        heading = '# ------------------------------------------------- the server in plain Python\n'
        section = source.split(heading)[1].split('\n# ----')[0]
        code = re.sub(r'""".*?"""\n', '', section, flags=re.S)
        lines = [line for line in code.splitlines() if line.strip() and not line.strip().startswith('#')]
        self.assertLessEqual(len(lines), 40)


if __name__ == '__main__':
    unittest.main()
