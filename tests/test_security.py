"""The session of docs/security.md, between two hosts that are network namespaces."""

import os
import re
import subprocess
import unittest

import built
import test_docs

VARYING = {
    r'\d{4}-\d\d-\d\dT[\d:.]+Z': 'TIME',
    r'\bsend\.[a-z2-7]{16}\b': 'PRODUCER',
}


def setUpModule():
    built.build()


class TestTwoHosts(unittest.TestCase):
    def test_session(self):
        (page,) = test_docs.blocks('security.md', 'console')
        env = {**os.environ, 'DICTWIRE': built.DICTWIRE}
        played = subprocess.run(
            [os.path.join(built.ROOT, 'scripts', 'two-hosts')], env=env, stdout=subprocess.PIPE, text=True, timeout=120
        )
        self.assertEqual(played.returncode, 0)
        self.maxDiff = None
        self.assertEqual(same(played.stdout), same(page))


def same(session):
    """Replace what differs between runs."""
    for pattern, name in VARYING.items():
        session = re.sub(pattern, name, session)
    return session


if __name__ == '__main__':
    unittest.main()
