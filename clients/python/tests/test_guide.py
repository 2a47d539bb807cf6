"""The examples in docs/guide/python.md with other packages and a relay; the docstrings of the public API."""

from __future__ import annotations

import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time
import unittest
from typing import Any

import dictwire
from dictwire.testing import Server, binary

GUIDE = pathlib.Path(__file__).parents[3] / 'docs' / 'guide' / 'python.md'


def block(kind: str) -> str:
    (text,) = re.findall(rf'^```{kind}\n(.*?)^```', GUIDE.read_text(encoding='utf-8'), re.DOTALL | re.MULTILINE)
    return str(text)


def start(program: str, addr: str) -> subprocess.Popen[str]:
    env = {**os.environ, 'DICTWIRE_ADDR': addr, 'PYTHONPATH': os.path.dirname(os.path.dirname(dictwire.__file__))}
    return subprocess.Popen([sys.executable, '-c', program], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class TestGuide(unittest.TestCase):
    def run_block(self, kind: str, server: Server) -> tuple[str, str]:
        with start(block(kind), server.addr) as program:
            out, err = program.communicate(timeout=100)
        self.assertEqual(program.returncode, 0, err)
        return out, err

    def test_others(self) -> None:
        with Server() as server:
            out, err = self.run_block('python notebook', server)
            self.assertRegex(out, r'(?s)city\s+km\n0\s+Paris\s+3\.50\n1\s+Rome\s+7\.25\n10\.75\n<dictwire client of .*: 0 records '
                             r"pending> <dictwire reader of trips: at its start> <trips \S+: {'city': 'Paris', 'km': 3\.5}>\n")
            self.assertIn('100%', err, 'the bar')
            self.run_block('python structlog', server)
            self.run_block('python loguru', server)
            first, second = server.records('logs')
            self.assertEqual(first, {'order': 7, 'event': 'paid', 'level': 'info'})
            self.assertEqual((second['event'], second['level'], second['order']), ('late', 'WARNING', 8))
            self.assertIsNotNone(second['time'].utcoffset())

    def test_relay(self) -> None:
        """While relay and server are killed repeatedly, each record arrives once, in order."""
        with Server() as server, tempfile.TemporaryDirectory() as work:
            def local(text: str) -> str:
                return text.replace('/run/', f'{work}/').replace('/var/lib/', f'{work}/').replace('central.example:65432', server.addr)

            command = [binary(), *local(block('sh relay')).split()[1:]]
            relay: list[Any] = []

            def restart() -> None:
                if relay:
                    relay[0].kill()
                    relay.pop().wait()
                relay.append(subprocess.Popen([*command, '--reserve', '-1'], stderr=subprocess.DEVNULL))

            restart()
            text = local(block('python relay')).replace('range(1000)', 'range(100_000)')
            with start(f'import dictwire\n{text}', server.addr) as program:
                for kill in (restart, server.restart, restart, server.restart):
                    time.sleep(random.uniform(0.02, 0.2))  # the moment is random
                    kill()
                _, err = program.communicate(timeout=100)
            self.assertEqual(program.returncode, 0, err)
            try:
                found: list[int] = []
                with dictwire.connect(server.addr) as c:
                    for r in c.read('default', follow=True, timeout=60):
                        found.append(r.data['i'])
                        if r.data['i'] == 99_999:
                            break
                self.assertEqual(found, list(range(100_000)))
            finally:
                relay[0].kill()
                relay[0].wait()


class TestAPI(unittest.TestCase):
    def test_one_screen(self) -> None:
        with start('import pydoc, dictwire; print(pydoc.plain(pydoc.render_doc(dictwire)))', '') as program:
            out, _ = program.communicate(timeout=60)
        api = out[:out.index('DATA')] if 'DATA' in out else out
        self.assertLessEqual(len(api.splitlines()), 90)
        for name in ('connect(', 'send(', 'send_many', 'Receipt', 'RejectedError'):
            self.assertIn(name, api)

    def test_documented(self) -> None:
        """All public names have docstrings."""
        for owner in (dictwire, dictwire.Client, dictwire.Reader, dictwire.Receipt, dictwire.Record):
            for name, value in vars(owner).items():
                if not name.startswith('_') and (callable(value) or isinstance(value, property)):
                    self.assertTrue(value.__doc__, f'{owner}.{name}')


if __name__ == '__main__':
    unittest.main()
