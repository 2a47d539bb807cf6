"""Helpers for the tests of 4-net.py: python3 -m unittest discover -s tests -v

They run against the real dictwire and against the plain Python server. Nothing is
skipped: without Go they fail.
"""

import contextlib
import errno
import io
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import time
import unittest
from unittest import mock

import built
from built import ROOT, free_port

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


def setUpModule():
    """Set up a module that imports this function, and check that its tests leave no process behind."""
    built.build()
    unittest.addModuleCleanup(assert_no_processes)


def processes():
    """Return the running processes of programs in built.TMP."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        with contextlib.suppress(OSError):
            with open(f'/proc/{pid}/cmdline', 'rb') as f:
                words = f.read().decode(errors='replace').split('\0')
            if any(word.startswith(built.TMP) and os.access(word, os.X_OK) for word in words[:2]):
                found.append((int(pid), words))
    return found


def assert_no_processes():
    """Fail if a process that the tests started is still running."""
    deadline = time.monotonic() + 5
    while processes():
        if time.monotonic() > deadline:
            raise AssertionError(f'left behind: {processes()}')
        time.sleep(0.05)


def environment(dictwire, **more):
    """Return an environment in which 4-net.py finds dictwire. None: 4-net.py has to look for it."""
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
    options.setdefault('cwd', built.TMP)
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


def start(test, args, env, **options):
    """Start Python with pipes, and end it with the test."""
    pipes = {'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'encoding': 'utf-8'}
    child = subprocess.Popen([sys.executable, *args], env=env, **{**pipes, 'cwd': built.TMP, **options})
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe:
            test.addCleanup(pipe.close)
    test.addCleanup(child.wait)
    test.addCleanup(child.kill)
    return child


def program(name, text):
    """Write an executable Python program and return its path."""
    path = os.path.join(built.TMP, name)
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
        for dictwire in (built.DICTWIRE, 'python'):
            with self.subTest(server=os.path.basename(dictwire)):
                test(self, dictwire)

    run_both.__name__ = test.__name__
    run_both.__doc__ = test.__doc__
    return run_both


def notice(dictwire):
    """The stderr of a successful run."""
    return PLAIN if dictwire == 'python' else ''


def source_tree(where):
    """Copy the sources of dictwire, without binaries, and 4-net.py."""

    def copy(source, target):
        with contextlib.suppress(FileNotFoundError):  # somebody's scratch file
            shutil.copy2(source, target)

    ignore = shutil.ignore_patterns('.git', 'bin', '.tools', '__pycache__')
    shutil.copytree(ROOT, where, ignore=ignore, copy_function=copy)
    return where
