"""Runs the Python code of the documentation, unchanged, against the real dictwire."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

import built
from built import ROOT, free_port

KILLS = 8


def setUpModule():
    built.build()


def blocks(page, kind='python'):
    """Return the Python blocks of a page, or its blocks of another language."""
    with open(os.path.join(ROOT, 'docs', page), encoding='utf-8') as f:
        return [text for found, text in re.findall(r'^```([^\n]*)\n(.*?)^```', f.read(), re.M | re.S) if found == kind]


class Server:
    """A dictwire that serves a store, restarted on one port."""

    def __init__(self, test, *args):
        self.store = tempfile.mkdtemp(dir=built.TMP)
        self.port = free_port()
        self.args = args
        self.start()
        test.addCleanup(self.kill)

    def start(self):
        listen = ['--listen', f'127.0.0.1:{self.port}', '--store', self.store, '--print', 'none', *self.args]
        self.process = subprocess.Popen([built.DICTWIRE, 'serve', *listen], stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if 'listening on' in line:
                return
        raise AssertionError('the server does not listen')

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def topic(self, topic):
        """Return all records of a topic, from the directory of a server that was killed."""
        export = [built.DICTWIRE, 'store', 'export', '--store', self.store, '--topic', topic]
        done = subprocess.run(export, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def run(self, *parts, **options):
        """Start a program made of parts, with the default port replaced."""
        program = '\n'.join(map(textwrap.dedent, parts)).replace('65432', str(self.port))
        pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'text': True}
        return subprocess.Popen([sys.executable, '-c', program], **pipes, **options)


class TestClient(unittest.TestCase):
    """The client of docs/protocol.md."""

    def setUp(self):
        (self.client,) = blocks('protocol.md')

    def test_length(self):
        self.assertLessEqual(len(self.client.splitlines()), 40)

    def test_kill(self):
        """Each record is stored once, however often the server is killed."""
        server = Server(self)
        program = """
            import select, sys
            client, n = Client('numbers'), 0
            while not select.select([sys.stdin], [], [], 0)[0]:
                n += 1
                client.send({'n': n})
                if n % 1711 == 0: client.flush()
            client.flush()
            print(n, client.acked, client.rejected)
        """
        with server.run(self.client, program) as sender:
            for _ in range(KILLS):
                time.sleep(random.uniform(0.02, 0.3))  # the moment is random
                server.kill()
                server.start()
            out, _ = sender.communicate('', timeout=60)
        self.assertEqual(sender.returncode, 0)
        n = int(out.split()[0])
        self.assertEqual(out, f'{n} {n} {{}}\n')
        server.kill()
        stored = [record['n'] for record in server.topic('numbers')]
        self.assertEqual(stored, list(range(1, n + 1)))

    def test_rejected(self):
        """An unreadable record does not stop later ones."""
        server = Server(self)
        program = """
            client = Client('people')
            client.send({'n': 1})
            client.send({1: 'a', '1': 'b'})  # the same key twice, in JSON
            client.send({'n': 3})
            client.flush()
            print(client.acked, [(n, r['code']) for n, r in client.rejected.items()])
        """
        with server.run(self.client, program) as sender:
            out, _ = sender.communicate('', timeout=60)
        self.assertEqual(out, "3 [(2, 'duplicate_key')]\n")

    def test_lost(self):
        """A client stops if a server has less than it promised."""
        server = Server(self)
        program = """
            client = Client('people')
            client.send({'n': 1})
            client.flush()
            print('flushed', flush=True)
            input()
            client.send({'n': 2})
            try: client.flush()
            except RuntimeError as e: print(e)
        """
        with server.run(self.client, program) as sender:
            self.assertEqual(sender.stdout.readline(), 'flushed\n')
            server.kill()
            shutil.rmtree(server.store)
            server.start()
            out, _ = sender.communicate('\n', timeout=60)
        self.assertRegex(out, '^the server has less than it promised')


class TestGuide(unittest.TestCase):
    """docs/guide/python.md, in the order of the page."""

    def test_page(self):
        server = Server(self, '--topic', 'orders')
        (client,) = blocks('protocol.md')
        package, bare, send, read, use = blocks('guide/python.md')
        env = {**os.environ, 'DICTWIRE_ADDR': f'127.0.0.1:{server.port}',
               'PYTHONPATH': os.path.join(ROOT, 'clients', 'python', 'src')}
        with server.run(package, env=env) as program:
            out, _ = program.communicate('', timeout=60)
        self.assertEqual(out, blocks('guide/python.md', '')[0])
        arrived = "while not list(read('orders', 'test')): pass"
        with server.run(bare, client, read, arrived, send, use, use) as program:
            out, _ = program.communicate('', timeout=60)
        self.assertEqual(program.returncode, 0)
        lines = out.splitlines()
        self.assertEqual(lines[0], '3 {}')
        alice = "{'name': 'Alice', 'age': 30}"
        orders = [f"{{'id': {n}, 'price': 19.9}}" for n in range(3)]
        self.assertEqual(sorted(lines[1:]), sorted([alice, *orders]))  # the second time, there is nothing new


if __name__ == '__main__':
    unittest.main()
