"""The core: the transcripts of docs/protocol.md, each rule, and cuts at every byte."""

from __future__ import annotations

import json
import random
import unittest

from dictwire._core import (
    Batch,
    Broken,
    Committed,
    Damaged,
    End,
    Ended,
    Progress,
    Reader,
    Rejected,
    Reply,
    Settled,
    Skipped,
    Welcomed,
    Writer,
    advanced,
    follows,
)
from dictwire._core._crc32c import crc32c

from .transcripts import transcripts

WELCOME = b'{"dictwire":1,"next":%d,"durability":"fsync","max_record":1048576,"window":65536,"features":[]}\n'


def writer(**options: object) -> Writer:
    return Writer('orders', 'me.x1', **options)  # type: ignore[arg-type]


def opened(w: Writer, next: int = 1, **fields: object) -> list[object]:
    """Opens a connection, and returns the events."""
    w.connect(0.0, 1)
    welcome = {**json.loads(WELCOME % next), **fields}
    return w.receive_data(json.dumps(welcome).encode() + b'\n' + b'{"ack":%d}\n' % (next - 1), 0.0)


class Transcripts(unittest.TestCase):
    """In each transcript, the core sends what C sends, and accepts what S sends."""

    def test_all(self) -> None:
        played = 0
        for transcript in transcripts():
            sides: dict[str, object] = {}
            for connection in transcript:
                who, first = connection[0]
                if who != 'C:' or not first.startswith('{"dictwire"'):
                    continue
                greeting = json.loads(first)
                if 'subscribe' in greeting:
                    self.read(greeting, connection)
                else:
                    self.write(greeting, connection, sides)
                played += 1
        self.assertGreaterEqual(played, 15)

    def write(self, greeting: dict, connection: list, sides: dict) -> None:
        name = greeting.get('producer')
        w = sides.get(name) if name else None
        if w is None:
            w = Writer(greeting.get('topic', 'default'), name or 'none', format=greeting.get('format', 'json'),
                       token=greeting.get('token'))
            w.acked = greeting.get('acked', 0)
        if name:
            sides[name] = w
        w.accept_lost = greeting.get('accept_lost', False)
        if w.acked != greeting.get('acked', 0):  # an old copy of the log, or lost acks
            self.assertGreater(w.acked, greeting.get('acked', 0))
            w = Writer(w.topic, w.producer)
            w.acked = greeting.get('acked', 0)
            for record in sides.get(f'{name} said', [])[w.acked:]:
                w.send(record)
        said = json.loads(w.connect(0.0, greeting.get('attempt', 0)))
        for field, value in greeting.items():
            if field != 'attempt' or value:
                if field == 'acked' and w.acked != value:
                    continue
                self.assertEqual(said.get(field), value, field)
        for who, text in connection[1:]:
            if who == 'C:' and text.startswith('{'):
                w.send(text.encode())
                sides.setdefault(f'{name} said', []).append(text.encode())
                w.data_to_send()
            elif who == 'S:' and text.startswith('{'):
                for event in w.receive_data(text.encode() + b'\n', 0.0):
                    self.assertFalse(isinstance(event, Ended) and event.code not in text, (event, connection))
            elif who == 'S>':
                w.receive_data(text.encode(), 0.0)

    def read(self, greeting: dict, connection: list) -> None:
        r = Reader(greeting['subscribe'], cursor=greeting.get('cursor'), follow=greeting.get('follow', False),
                   format=greeting.get('format'), token=greeting.get('token'))
        said = json.loads(r.connect(0.0, 1))
        for field, value in greeting.items():
            if field != 'lossy':
                self.assertEqual(said.get(field), value, field)
        for who, text in connection[1:]:
            if who == 'S:' and text.startswith('{'):
                r.receive_data(text.encode() + b'\n', 0.0)
            elif who == 'S>':
                r.receive_data(text.encode(), 0.0)
            elif who == 'C:' and 'commit' in text:
                r.commit(json.loads(text)['commit'])
                self.assertEqual(json.loads(r.data_to_send(0.0)), json.loads(text))


class Writing(unittest.TestCase):
    def test_session(self) -> None:
        w = writer()
        self.assertEqual([w.send(b'{"a":1}'), w.send(b'{"a":2}')], [1, 2])
        self.assertEqual(json.loads(w.connect(0.0, 7)), {
            'dictwire': 1, 'topic': 'orders', 'producer': 'me.x1', 'format': 'json', 'attempt': 7})
        self.assertEqual(w.data_to_send(), b'', 'records before the welcome')
        self.assertEqual(w.receive_data(WELCOME % 1, 0.0), [Welcomed(1, 'fsync', 1 << 20)])
        self.assertEqual(w.data_to_send(), b'', 'records before the ack that follows the welcome')
        self.assertEqual(w.receive_data(b'{"ack":0}\n', 0.0), [])
        self.assertEqual(w.data_to_send(), b'{"a":1}{"a":2}')
        self.assertEqual(w.data_to_send(), b'')
        self.assertEqual(w.receive_data(b'{"ack":1}\n{"ack":2}\n', 0.0), [Settled(1), Settled(2)])
        self.assertEqual((w.pending, w.size, w.acked), (0, 0, 2))

    def test_resume(self) -> None:
        """Records that arrived are not sent again, but only an ack settles them."""
        w = writer()
        for i in range(5):
            w.send(b'{"n":%d}' % i)
        opened(w)
        w.data_to_send()
        w.connect(0.0, 2)
        self.assertEqual(w.receive_data(WELCOME % 4, 0.0), [Welcomed(4, 'fsync', 1 << 20)])
        self.assertEqual(w.pending, 5)
        self.assertEqual(w.receive_data(b'{"rejected":2,"code":"handler","reason":"sold_out","error":"no"}\n{"ack":3}\n', 0.0),
                         [Rejected(2, 'handler', 'no', 'sold_out'), Settled(3)])
        self.assertEqual(w.data_to_send(), b'{"n":3}{"n":4}')
        self.assertEqual(json.loads(w.connect(0.0, 3))['acked'], 3)

    def test_window(self) -> None:
        w = writer()
        for i in range(10):
            w.send(b'{"n":%d}' % i)
        opened(w, window=4)
        self.assertEqual(w.data_to_send(), b''.join(b'{"n":%d}' % i for i in range(4)))
        self.assertEqual(w.data_to_send(), b'')
        w.receive_data(b'{"ack":2}\n', 0.0)
        self.assertEqual(w.data_to_send(), b'{"n":4}{"n":5}')

    def test_limit(self) -> None:
        w = writer()
        for i in range(1000):
            w.send(b'{"n":%03d}' % i)
        opened(w)
        sent = []
        while data := w.data_to_send(limit=100):
            self.assertLess(len(data), 120)
            sent.append(data)
        self.assertEqual(b''.join(sent), b''.join(b'{"n":%03d}' % i for i in range(1000)))

    def test_sum(self) -> None:
        """A checksum that differs means that two logs use one name."""
        record = b'{"id":1,"price":19.9}'
        for name, fields, conflict in [
            ('its own', {'sum': f'{crc32c(record):08x}'}, False),
            ('another', {'sum': '00000000'}, True),
            ('of the first bytes', {'sum': f'{crc32c(record[:5]):08x}', 'of': 5}, False),
            ('of other first bytes', {'sum': '00000000', 'of': 5}, True),
            ('of more than there is', {'sum': '00000000', 'of': 500}, True),
            ('not known', {}, False),
        ]:
            with self.subTest(name):
                w = writer()
                w.send(record)
                opened(w)
                w.data_to_send()
                events = opened(w, 2, **fields)
                self.assertEqual(any(isinstance(e, Ended) and e.code == 'conflict' for e in events[:1]), conflict)
                if conflict:
                    self.assertEqual(w.pending, 1, 'it dropped a record')

    def test_conflicts(self) -> None:
        w = writer()
        self.assertEqual(w.connect(0.0, 1)[:1], b'{')
        event = w.receive_data(WELCOME % 5, 0.0)[0]
        assert isinstance(event, Ended)
        self.assertEqual((event.code, event.stop), ('conflict', True))

    def test_sum_of_acked(self) -> None:
        w = writer()
        w.send(b'{"a":1}')
        opened(w)
        w.data_to_send()
        w.receive_data(b'{"ack":1}\n', 0.0)
        self.assertIsInstance(opened(w, 2, sum=f'{crc32c(RECORD):08x}')[0], Welcomed)
        event = opened(w, 2, sum='12345678')[0]
        assert isinstance(event, Ended)
        self.assertEqual(event.code, 'conflict')

    def test_ends(self) -> None:
        for code, before, after in [
            ('lost', True, True), ('fenced', True, True), ('stale', True, True), ('topic', True, True),
            ('version', True, True), ('unauthenticated', True, True), ('forbidden', True, True),
            ('unavailable', False, False), ('shutdown', False, False), ('internal', False, False),
            ('idle', False, False), ('rate', False, False), ('malformed', True, False), ('too_large', True, False),
            ('a new one', True, False),
        ]:
            for welcomed, stop in ((False, before), (True, after)):
                with self.subTest(code, welcomed=welcomed):
                    w = writer()
                    if welcomed:
                        opened(w)
                    else:
                        w.connect(0.0, 1)
                    line = json.dumps({'error': 'why', 'code': code, 'retry_ms': 500}).encode() + b'\n'
                    self.assertEqual(w.receive_data(line, 0.0), [Ended(code, 'why', stop, 0.5)])

    def test_replies(self) -> None:
        w = writer()
        for _ in range(3):
            w.send(b'{}')
        opened(w)
        w.data_to_send()
        self.assertEqual(
            w.receive_data(b'{"reply":1,"length":7}\n{"a":1}{"reply":2,"length":0,"code":"loss","error":"no"}\n{"ack":3}\n', 0.0),
            [Reply(1, b'{"a":1}'), Reply(2, None, 'no'), Settled(3)])

    def test_silence(self) -> None:
        w = writer()
        opened(w)
        self.assertFalse(w.dead(14.9))
        self.assertTrue(w.dead(15.0))
        w.receive_data(b'{"ack":0}\n', 10.0)
        self.assertFalse(w.dead(24.9))
        self.assertEqual(w.deadline(), 25.0)

    def test_strangers(self) -> None:
        """Anything but a native session raises an error, and acknowledges nothing."""
        for said in [b'SSH-2.0-OpenSSH_9.2\n', b'HTTP/1.1 400 Bad Request\r\n', b'[1]\n', b'{"ack":0}\n', b'{"dictwire":2}\n',
                     b'{"dictwire":1}\n', b'{"a":' * 5000 + b'\n', b'{"dictwire":1,"next":0}\n', b'{"dictwire":1,"next":true}\n', b'x' * (2 << 20)]:
            with self.subTest(said[:20]):
                w = writer()
                w.connect(0.0, 1)
                self.assertIsInstance(w.receive_data(said, 0.0)[-1], Broken)
        for said in [b'{"ack":3}\n', b'{"ack":-1}\n', b'{"ack":"1"}\n', b'{"hello":1}\n', b'{"reply":1}\n', b'\n']:
            with self.subTest(said):
                w = writer()
                w.send(b'{}')
                opened(w)
                w.data_to_send()
                w.receive_data(b'{"rejected":1,"code":"handler","error":"no"}\n', 0.0)
                said = b'{"rejected":1,"code":"handler","error":"no"}\n{"ack":1}\n' + said
                events = w.receive_data(said, 0.0)
                self.assertEqual(events[:2], [Rejected(1, 'handler', 'no'), Settled(1)], 'what stood before it')
                self.assertIsInstance(events[2], Broken)
                self.assertEqual(w.receive_data(b'{"ack":1}\n', 0.0), [], 'after it')


RECORD = b'{"a":1}'
AT = (b'{"at":"t.1.0","next":"t.2.0","topic":"orders","producer":"p","first":5,"time":"2026-11-23T10:00:00Z",'
      b'"format":"json","lengths":[7,7,7]}\n{"a":1}{"a":2}{"a":3}')


class Reading(unittest.TestCase):
    def reader(self, **options: object) -> Reader:
        r = Reader('orders', **options)  # type: ignore[arg-type]
        r.connect(0.0, 1)
        r.receive_data(b'{"dictwire":1,"next":"t.1.0"}\n', 0.0)
        return r

    def test_messages(self) -> None:
        r = self.reader()
        said = AT + (b'{"next":"t.3.0"}\n{"skipped":{"from":"t.3.0","to":"t.4.0","topic":"orders"},"next":"t.4.0"}\n'
                     b'{"damaged":{"from":"t.4.0","to":"t.5.0","error":"bad"},"next":"t.5.0"}\n{"end":"t.6.0"}\n')
        want = [
            Batch('t.1.0', 't.2.0', 'orders', None, 'p', 5, '2026-11-23T10:00:00Z', 'json', [b'{"a":1}', b'{"a":2}', b'{"a":3}']),
            Progress('t.3.0'), Skipped('t.3.0', 't.4.0', 'orders', 't.4.0'),
            Damaged('t.4.0', 't.5.0', None, 'bad', 't.5.0'), End('t.6.0'),
        ]
        self.assertEqual(r.receive_data(said, 0.0), want)
        for cut in range(len(said)):
            r = self.reader()
            self.assertEqual(r.receive_data(said[:cut], 0.0) + r.receive_data(said[cut:], 0.0), want)
        r = self.reader()
        self.assertEqual([e for i in range(len(said)) for e in r.receive_data(said[i:i + 1], 0.0)], want)

    def test_resume(self) -> None:
        r = self.reader()
        r.receive_data(AT, 0.0)
        self.assertEqual(json.loads(r.connect(0.0, 2))['from'], 't.2.0')

    def test_seen_before(self) -> None:
        """With a cursor, the server starts at the commit, but no record is returned twice."""
        r = self.reader(cursor='c')
        self.assertEqual(len(r.receive_data(AT, 0.0)), 1)
        self.assertEqual(json.loads(r.connect(0.0, 2))['from'], 'earliest')
        r.receive_data(b'{"dictwire":1,"next":"t.1.0"}\n', 0.0)
        self.assertEqual(r.receive_data(AT, 0.0), [])
        more = AT.replace(b't.2.0', b't.3.0').replace(b't.1.0', b't.2.0')
        self.assertEqual(len(r.receive_data(more, 0.0)), 1)

    def test_seen_in_part(self) -> None:
        r = self.reader(cursor='c')
        r.position = 't.1.2'
        batch = r.receive_data(AT, 0.0)[0]
        assert isinstance(batch, Batch)
        self.assertEqual((batch.at, batch.first, batch.records), ('t.1.2', 7, [b'{"a":3}']))

    def test_commits(self) -> None:
        r = self.reader(cursor='c')
        r.receive_data(AT, 0.0)
        r.commit('t.1.1')
        self.assertEqual(r.data_to_send(0.0), b'{"commit":"t.1.1"}\n')
        r.commit('t.2.0')
        self.assertEqual(r.data_to_send(0.0), b'', 'two commits at once')
        self.assertEqual(r.receive_data(b'{"committed":"t.1.1"}\n', 0.0), [Committed('t.1.1')])
        self.assertTrue(r.uncommitted)
        self.assertEqual(r.data_to_send(0.0), b'{"commit":"t.2.0"}\n')
        r.receive_data(b'{"committed":"t.2.0"}\n', 0.0)
        self.assertFalse(r.uncommitted)

    def test_commit_without_an_answer(self) -> None:
        """A server that sends records but does not answer a commit for 15 s is dead."""
        r = self.reader(cursor='c')
        r.receive_data(AT, 0.0)
        r.commit('t.2.0')
        r.data_to_send(2.0)
        r.receive_data(b'{"next":"t.2.0"}\n', 14.0)
        self.assertEqual((r.deadline(), r.dead(16.9), r.dead(17.0)), (17.0, False, True))
        r.receive_data(b'{"committed":"t.2.0"}\n', 15.0)
        self.assertEqual(r.deadline(), 30.0)

    def test_seen_beyond(self) -> None:
        """After a position in a later block, repeated records are not returned again."""
        r = self.reader(cursor='c')
        r.position = 't.3.0'
        self.assertEqual(r.receive_data(AT.replace(b't.2.0', b't.4.0'), 0.0), [])

    def test_commit_after_a_cut(self) -> None:
        """After a reconnect, a commit waits until its records were delivered again, because the server would refuse it."""
        r = self.reader(cursor='c')
        r.receive_data(AT, 0.0)
        r.commit('t.2.0')
        r.data_to_send(0.0)
        r.connect(0.0, 2)
        self.assertEqual(r.data_to_send(0.0), b'')
        r.receive_data(b'{"dictwire":1,"next":"t.1.0"}\n', 0.0)
        self.assertEqual(r.data_to_send(0.0), b'')
        self.assertEqual(r.receive_data(AT, 0.0), [])
        self.assertEqual(r.data_to_send(0.0), b'{"commit":"t.2.0"}\n')
        r.connect(0.0, 3)
        r.receive_data(b'{"dictwire":1,"next":"t.2.0"}\n', 0.0)  # it was committed, but the answer was lost
        self.assertEqual(r.data_to_send(0.0), b'')

    def test_strangers(self) -> None:
        for said in [b'{"lengths":[]}\n', b'{"lengths":[0]}\n', b'{"lengths":[1.5]}\n', b'{"lengths":7}\n', b'{"next":1}\n',
                     b'{"next":"x"}\n', b'{"next":"a.b.c"}\n', b'{"hello":1}\n', b'{"skipped":1,"next":"t.2.0"}\n']:
            with self.subTest(said):
                self.assertIsInstance(self.reader().receive_data(said, 0.0)[-1], Broken)

    def test_positions(self) -> None:
        self.assertEqual(advanced('t.7.2', 3), 't.7.5')
        self.assertTrue(follows('t.10.0', 't.9.5'))
        self.assertFalse(follows('t.9.5', 't.10.0'))
        self.assertFalse(follows('u.10.0', 't.9.5'))


class Cuts(unittest.TestCase):
    """With a small server and a network that cuts anywhere, each record is settled once, in order."""

    def test_random_cuts(self) -> None:
        for seed in range(300):
            with self.subTest(seed):
                self.run_one(random.Random(seed))

    def run_one(self, rng: random.Random) -> None:
        w = writer()
        total = rng.randrange(1, 40)
        records = [b'{"n":%d,"x":"%s"}' % (i, b'x' * rng.randrange(0, 30)) for i in range(total)]
        stored: list[bytes] = []
        settled: list[int] = []
        told: dict[int, int] = {}
        queued = 0
        for connection in range(200):
            if len(settled) == total:
                break
            up = w.connect(0.0, connection + 1)
            acked = json.loads(up).get('acked', 0)
            known = {'sum': f'{crc32c(stored[-1]):08x}'} if stored else {}
            down = json.dumps({**json.loads(WELCOME % (len(stored) + 1)), **known}).encode() + b'\n'
            down += b''.join(b'{"rejected":%d,"code":"handler","error":"no"}\n' % n
                             for n in range(acked + 1, len(stored) + 1) if n % 7 == 0)
            down += b'{"ack":%d}\n' % len(stored)
            alive = True
            while alive and len(settled) < total:
                if connection < 100 and rng.random() < 0.1:
                    down, alive = down[:rng.randrange(len(down) + 1)], False
                while down:
                    n = rng.randrange(1, len(down) + 1)
                    for event in w.receive_data(down[:n], 0.0):
                        if isinstance(event, Settled):
                            settled += range(len(settled) + 1, event.number + 1)
                        elif isinstance(event, Rejected):
                            told[event.number] = told.get(event.number, 0) + 1
                        elif isinstance(event, Ended):
                            self.fail(f'{event}')
                    down = down[n:]
                if not alive:
                    break
                while queued < total and rng.random() < 0.7:
                    w.send(records[queued])
                    queued += 1
                up = w.data_to_send(rng.randrange(1, 200))
                if up and connection < 100 and rng.random() < 0.1:  # the server receives only the beginning
                    up, alive = up[:rng.randrange(len(up))], False
                while up:
                    record = records[len(stored)]
                    if not up.startswith(record):
                        self.assertTrue(record.startswith(up), 'a record out of turn')
                        break
                    stored.append(record)
                    up = up[len(record):]
                    if len(stored) % 7 == 0:
                        down += b'{"rejected":%d,"code":"handler","error":"no"}\n' % len(stored)
                down += b'{"ack":%d}\n' % len(stored)
        self.assertEqual(settled, list(range(1, total + 1)))
        self.assertEqual(stored, records)
        self.assertEqual(sorted(told), [n for n in range(1, total + 1) if n % 7 == 0], 'rejections')


if __name__ == '__main__':
    unittest.main()
