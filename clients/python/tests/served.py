"""A server for the tests of a class, and programs in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest

import dictwire
from dictwire.testing import Server


class Served(unittest.TestCase):
    """Tests that share a server."""

    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server()
        cls.server.start()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)


def run_python(program: str, addr: str) -> subprocess.CompletedProcess[str]:
    """Run a program whose default server is at addr, with warnings as errors."""
    env = {**os.environ, 'DICTWIRE_ADDR': addr, 'PYTHONPATH': os.path.dirname(os.path.dirname(dictwire.__file__))}
    return subprocess.run([sys.executable, '-W', 'error', '-c', program], env=env, capture_output=True, text=True, timeout=60)
