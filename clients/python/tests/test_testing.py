"""The pytest fixture."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest

TESTS = """
import dictwire
import pytest
from dictwire.testing import dictwire_server

servers = []

@pytest.mark.parametrize('turn', [1, 2])
def test_store(dictwire_server, turn):
    servers.append(dictwire_server)
    with dictwire.connect(dictwire_server.addr) as c:
        c.send({'turn': turn}).wait(30)
        dictwire_server.restart()
        c.send({'turn': -turn}).wait(30)
    assert dictwire_server.records() == [{'turn': turn}, {'turn': -turn}]  # of this test alone

def test_fails(dictwire_server):
    servers.append(dictwire_server)
    assert dictwire_server.records() == [{'a': 1}]

def test_ended():
    assert len(servers) == 3
    for server in servers:
        with pytest.raises(dictwire.Unavailable):
            dictwire.connect(server.addr)
        with pytest.raises(OSError):
            open(server.log)
"""


class TestFixture(unittest.TestCase):
    def test_fixture(self) -> None:
        """Each test gets a new server, which is stopped whether the test passes or not."""
        with tempfile.TemporaryDirectory() as work:
            with open(os.path.join(work, 'test_orders.py'), 'w') as f:
                f.write(TESTS)
            done = subprocess.run([sys.executable, '-W', 'error', '-m', 'pytest', '-p', 'no:cacheprovider', '-q', work],
                                  capture_output=True, text=True, timeout=120)
        self.assertIn('1 failed, 3 passed', done.stdout, done.stdout + done.stderr)
        self.assertIn("[] == [{'a': 1}]", done.stdout)


if __name__ == '__main__':
    unittest.main()
