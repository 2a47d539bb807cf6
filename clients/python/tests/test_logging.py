"""The logging handler."""

from __future__ import annotations

import logging
import logging.config
import os
import socket
import subprocess
import sys
import time
import unittest

import dictwire
import dictwire.logging
from dictwire.testing import Server


class TestLogging(unittest.TestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.server.start()
        self.addCleanup(self.server.__exit__, None, None, None)
        self.log = logging.Logger(self.id())

    def handler(self, **options: object) -> dictwire.logging.Handler:
        h = dictwire.logging.Handler('logs', self.server.addr, **options)  # type: ignore[arg-type]
        self.addCleanup(h.close)
        self.log.addHandler(h)
        return h

    def test_records(self) -> None:
        h = self.handler()
        self.log.warning('order %d of %s', 7, 'Alice', extra={'shop': 'Paris', 'tags': ('a', {1}), 'odd': object})
        try:
            raise ValueError('no tea')
        except ValueError:
            self.log.exception('failed')
        self.log.info('bad %d', 'format')
        h.flush()
        first, second, third = self.server.records('logs')
        self.assertEqual((first['msg'], first['args'], first['level'], first['shop'], first['tags']),
                         ('order 7 of Alice', (7, 'Alice'), 'WARNING', 'Paris', ('a', {1})))
        self.assertEqual(first['odd'], repr(object))
        self.assertLess(abs(first['time'].timestamp() - time.time()), 60)
        self.assertEqual((second['exception']['type'], second['exception']['text']), ('ValueError', 'no tea'))
        self.assertIn('raise ValueError', second['exception']['trace'])
        self.assertIn('bad %d', third['msg'])

    def test_server_away(self) -> None:
        """While the server is down, logging does not block, and the records arrive later."""
        h = self.handler()
        self.log.warning('before')
        h.flush()
        self.server.kill()
        begin = time.monotonic()
        for i in range(100):
            self.log.warning('away %d', i)
        self.assertLess(time.monotonic() - begin, 2)
        self.server.start()
        h.flush(30)
        self.assertEqual([r['msg'] for r in self.server.records('logs')], ['before', *(f'away {i}' for i in range(100))])

    def test_full_queue(self) -> None:
        with socket.socket() as s:  # nothing listens there
            s.bind(('127.0.0.1', 0))
            h = dictwire.logging.Handler('logs', f'127.0.0.1:{s.getsockname()[1]}', queue=10)
            self.log.addHandler(h)
            for i in range(1000):
                self.log.warning('%d', i)
            self.assertLessEqual(len(h._queue), 10)
            self.assertGreater(h._dropped, 0)
            h._reset()  # or close would wait for it
            h.close()

    def test_dict_config(self) -> None:
        """With a dictConfig as in the docs, everything is sent before the program exits."""
        program = f'''
import logging, logging.config
logging.config.dictConfig({{
    'version': 1, 'root': {{'level': 'INFO', 'handlers': ['dictwire']}},
    'handlers': {{'dictwire': {{'class': 'dictwire.logging.Handler', 'topic': 'app', 'addr': {self.server.addr!r}}}}},
}})
for i in range(50): logging.info('line %d', i)
'''
        env = {**os.environ, 'PYTHONPATH': os.path.dirname(os.path.dirname(dictwire.__file__))}
        ran = subprocess.run([sys.executable, '-c', program], env=env, capture_output=True, text=True, timeout=60)
        self.assertEqual((ran.returncode, ran.stderr), (0, ''))
        self.assertEqual([r['msg'] for r in self.server.records('app')], [f'line {i}' for i in range(50)])


if __name__ == '__main__':
    unittest.main()
