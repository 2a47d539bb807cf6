"""Pastes the shell blocks of the documentation into a shell."""

import concurrent.futures
import os
import re
import signal
import subprocess
import tempfile
import unittest

import built
from built import ROOT, free_port


def setUpModule():
    built.build()


class TestTours(unittest.TestCase):
    """Pages that are pasted into a shell, block by block: each block must print what the page shows below it."""

    def test_pages(self):
        """They wait most of the time: all at once."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            tours = {page: pool.submit(self.tour, page) for page in ('README.md', 'docs/guide/tour.md', 'docs/guide/start.md')}
        for page, tour in tours.items():
            with self.subTest(page=page):
                tour.result()

    def tour(self, page):
        home = tempfile.mkdtemp(dir=built.TMP)
        port = str(free_port())
        os.mkdir(os.path.join(home, 'bin'))
        os.symlink(built.DICTWIRE, os.path.join(home, 'bin', 'dictwire'))
        with open(os.path.join(home, 'Makefile'), 'w', encoding='utf-8') as f:
            f.write('build:\n')
        env = {
            'PATH': built.TMP + os.pathsep + os.environ['PATH'],
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
            built.wait_for(found, lambda: f'in {page}: {what}\n{written()}')

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
