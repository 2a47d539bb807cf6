"""Pastes the shell blocks of the documentation into a shell."""

import os
import re
import signal
import subprocess
import tempfile
import time
import unittest

import test_docs

ROOT = test_docs.ROOT


def setUpModule():
    test_docs.build()


class TestTours(unittest.TestCase):
    """Pages that are pasted into a shell, block by block: each block must print what the page shows below it."""

    def test_readme(self):
        self.tour('README.md')

    def test_tour(self):
        self.tour('docs/guide/tour.md')

    def test_start(self):
        self.tour('docs/guide/start.md')

    def tour(self, page):
        home = tempfile.mkdtemp(dir=test_docs.TMP)
        port = str(test_docs.free_port())
        os.mkdir(os.path.join(home, 'bin'))
        os.symlink(test_docs.DICTWIRE, os.path.join(home, 'bin', 'dictwire'))
        with open(os.path.join(home, 'Makefile'), 'w', encoding='utf-8') as f:
            f.write('build:\n')
        env = {
            'PATH': test_docs.TMP + os.pathsep + os.environ['PATH'],
            'HOME': home,
            'LC_ALL': 'C.UTF-8',
            'DICTWIRE_LISTEN': '127.0.0.1:' + port,
            'DICTWIRE_ADDR': '127.0.0.1:' + port,
        }
        out = os.path.join(home, 'output')
        with open(out, 'wb') as f:
            shell = subprocess.Popen(
                ['bash'], stdin=subprocess.PIPE, stdout=f, stderr=f, cwd=home, env=env, text=True, start_new_session=True
            )

        def written():
            with open(out, encoding='utf-8') as f:
                return f.read()

        def wait_for(found, what):
            deadline = time.monotonic() + 30
            while not found():
                if time.monotonic() > deadline:
                    raise AssertionError(f'{page}: {what} never comes:\n{written()}')
                time.sleep(0.05)

        try:
            begin = None
            with open(os.path.join(ROOT, page), encoding='utf-8') as f:
                fenced = re.findall('^```(.*)\n((?s:.*?))^```$', f.read(), re.M)
            for n, (kind, block) in enumerate(fenced):
                if kind == 'sh':
                    begin = len(written())
                    shell.stdin.write(block.replace('65432', port) + f'echo __end {n}\n')
                    shell.stdin.flush()
                    wait_for(lambda: f'__end {n}\n' in written(), block)
                elif kind:
                    begin = None
                elif begin is not None:
                    lines = (re.escape(line).replace('…', '.*') for line in block.splitlines())
                    pattern = re.compile('(?:.*\n)*?'.join(f'^{line}\n' for line in lines), re.M)
                    wait_for(lambda: pattern.search(written(), begin), block)
        finally:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.stdin.close()
            shell.wait()


if __name__ == '__main__':
    unittest.main()
