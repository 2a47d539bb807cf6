"""The wheel for this platform, installed in a new virtual environment."""

from __future__ import annotations

import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[3]

PROGRAM = """
import dictwire.testing
with dictwire.testing.Server() as server, dictwire.connect(server.addr) as c:
    c.send({'name': 'Alice'}).wait()
    print([r.data for r in c.read('default')])
"""


def run(*command: object) -> str:
    env = {k: v for k, v in os.environ.items() if k not in ('DICTWIRE', 'PYTHONPATH')}
    done = subprocess.run([str(word) for word in command], env=env, capture_output=True, text=True, timeout=200)
    if done.returncode:
        raise AssertionError(f'{command[0]}: {done.stdout}{done.stderr}')
    return done.stdout


class TestWheel(unittest.TestCase):
    def test_install(self) -> None:
        machine = {'x86_64': 'amd64', 'aarch64': 'arm64'}[platform.machine()]
        with tempfile.TemporaryDirectory() as work:
            os.environ['OUT'] = work
            self.addCleanup(os.environ.pop, 'OUT')
            wheel, sdist = run(sys.executable, ROOT / 'scripts' / 'wheels', f'linux/{machine}', 'sdist').split()
            run(sys.executable, '-m', 'pip', 'wheel', '--no-index', '--no-build-isolation', '--no-deps', '--quiet', '--wheel-dir', work, sdist)
            (pure,) = pathlib.Path(work).glob('*-none-any.whl')
            names = [{n for n in zipfile.ZipFile(w).namelist() if n.startswith('dictwire/')} for w in (wheel, pure)]
            self.assertEqual(*names)
            self.assertIn('dictwire/py.typed', names[0])
            self.assertIsNone(zipfile.ZipFile(wheel).testzip())
            venv = pathlib.Path(work, 'venv')
            run(sys.executable, '-m', 'venv', '--without-pip', venv)  # installing pip takes seconds
            pip = sys.executable, '-m', 'pip', '--python', venv / 'bin' / 'python'
            run(*pip, 'install', '--no-index', '--quiet', wheel)
            self.assertIn('dictwire', run(venv / 'bin' / 'dictwire', 'version'))
            self.assertEqual(run(venv / 'bin' / 'python', '-c', PROGRAM), "[{'name': 'Alice'}]\n")
            self.assertIn('dictwire 0.', run(*pip, 'list', '--format=freeze').replace('==', ' '))
            run(*pip, 'uninstall', '--yes', '--quiet', 'dictwire')
            self.assertFalse((venv / 'bin' / 'dictwire').exists())


if __name__ == '__main__':
    unittest.main()
