"""What all Python tests here share: the real dictwire, built once in a run, and ports."""

import atexit
import contextlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

TMP = ''  # a directory for everything that the tests write; the binary is in it
DICTWIRE = ''  # the binary
TOOLS = ''  # a PATH with go and nothing else


def build():
    """Build dictwire unless an earlier module has. Without Go it fails: nothing is skipped."""
    global TMP, DICTWIRE, TOOLS
    if DICTWIRE:
        return
    TMP = tempfile.mkdtemp(prefix='test-dictwire-')
    atexit.register(shutil.rmtree, TMP, ignore_errors=True)
    binary = os.path.join(TMP, 'dictwire')
    command = ['go', 'build', '-trimpath', '-ldflags', '-s -w', '-o', binary, './cmd/dictwire']
    subprocess.run(command, cwd=ROOT, env={**os.environ, 'CGO_ENABLED': '0'}, check=True)
    TOOLS = os.path.join(TMP, 'tools')
    os.mkdir(TOOLS)
    os.symlink(shutil.which('go'), os.path.join(TOOLS, 'go'))
    DICTWIRE = binary


def free_port():
    """Return a port below the ephemeral range, so that no client takes it before a server does."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(('127.0.0.1', port))
            return port


def wait_for(condition, what):
    """Wait until condition() is true. If it never is, the error says that what never happened."""
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f'never {what() if callable(what) else what}')
        time.sleep(0.01)
