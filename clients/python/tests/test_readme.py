"""The examples in the README, run as one program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unittest

import dictwire
from dictwire.testing import Server

README = os.path.join(os.path.dirname(__file__), '..', 'README.md')


class TestReadme(unittest.TestCase):
    def test_examples(self) -> None:
        with open(README, encoding='utf-8') as f:
            blocks = re.findall(r'^```(\w*)\n(.*?)^```', f.read(), re.DOTALL | re.MULTILINE)
        program = '\n'.join(text for kind, text in blocks if kind == 'python')
        want = ''.join(text for kind, text in blocks if kind == '')
        with Server() as server:
            env = {**os.environ, 'DICTWIRE_ADDR': server.addr,
                   'PYTHONPATH': os.path.dirname(os.path.dirname(dictwire.__file__))}
            ran = subprocess.run([sys.executable, '-'], input=program, env=env, capture_output=True, text=True, timeout=120)
            self.assertEqual((ran.returncode, ran.stdout), (0, want), ran.stderr)
            self.assertEqual([r['msg'] for r in server.records('logs')], ['order 7 failed'])


if __name__ == '__main__':
    unittest.main()
