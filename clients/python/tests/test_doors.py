"""TLS and replies."""

from __future__ import annotations

import os
import ssl
import subprocess
import tempfile
import unittest

import dictwire
from dictwire.testing import Server, binary

from .shells import Loop, Threads


class TestReplies(unittest.TestCase):
    def test_ask(self) -> None:
        """Replies of the server's handler, and NoReply without one."""
        with Server('--reply') as server:
            for shell in (Threads, Loop):
                c = shell(server.addr, wait=10)
                answers = [c.ask({'i': i, 'x': (i,)}, 'asked', timeout=30) for i in range(3)]
                self.assertEqual([sorted(a) for a in answers], [['received']] * 3)
                c.send({'i': 3}, 'asked').wait(30)
                c.close()
        with Server() as server, dictwire.connect(server.addr) as c, self.assertRaises(dictwire.NoReply):
            c.ask({'i': 1}, timeout=30)


class TestTLS(unittest.TestCase):
    def test_tls(self) -> None:
        """Both clients over TLS: sending, replies and reading; errors without the CA and without TLS."""
        with tempfile.TemporaryDirectory() as certs:
            subprocess.run([binary(), 'cert', '--dir', certs], check=True, capture_output=True)
            context = ssl.create_default_context(cafile=os.path.join(certs, 'ca.pem'))
            pair = [os.path.join(certs, name) for name in ('server.pem', 'server-key.pem')]
            with Server('--reply', '--tls-cert', pair[0], '--tls-key', pair[1]) as server:
                for shell in (Threads, Loop):
                    c = shell(server.addr, tls=context, wait=10)
                    self.assertEqual(c.send_many(({'i': i, 'x': 'x' * 300} for i in range(5000)), shell.name, timeout=60), 5000)
                    for i in range(20):
                        c.send({'i': 5000 + i}, shell.name).wait(30)
                    self.assertIn('received', c.ask({'i': 5020}, shell.name, timeout=30))
                    self.assertEqual([r.data['i'] for r in c.read(shell.name, cursor='c', timeout=60)], list(range(5021)))
                    server.restart()
                    c.send({'i': 5021}, shell.name).wait(60)
                    self.assertEqual([r.data['i'] for r in c.read(shell.name, cursor='c', timeout=60)], [5021])
                    c.close()
                    with self.assertRaisesRegex(dictwire.Unavailable, 'CERTIFICATE_VERIFY_FAILED|certificate'):
                        shell(server.addr, tls=True)
                    c = shell(server.addr)
                    with self.assertRaises(dictwire.Error) as told:
                        c.send({'i': 1}).wait(30)
                    self.assertNotIsInstance(told.exception, dictwire.Timeout)
                    with self.assertRaises(dictwire.NotSettled):
                        c.close(0)


if __name__ == '__main__':
    unittest.main()
