"""Encoding and decoding values."""

from __future__ import annotations

import collections
import dataclasses
import enum
import pathlib
import pickle
import random
import struct
import unittest
import uuid
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, Optional

import dictwire
from dictwire import _cbor
from dictwire._values import BATCH, decode, encode, encode_all
from dictwire.testing import Server

from .generate import Generator, same


class Colour(enum.Enum):
    RED = 'red'


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Point:
    x: int
    y: tuple


class Config(dict):
    pass


class Odd(tzinfo):
    def utcoffset(self, when: Optional[datetime]) -> timedelta:
        return timedelta(hours=2)


class TestPlain(unittest.TestCase):
    def test_json(self) -> None:
        """Dictionaries that JSON can represent exactly are encoded as JSON."""
        for d in [{}, {'a': 1}, {'a': [1, {'b': None}], 'c': True}, {'a': 1 << 100}, {'a': float('nan')}, {'a': 'ü\u2028'},
                  {'a': Level.HIGH, 'b': Colour.RED}, {'a': {'b': {'c': []}}}]:
            record = encode(d)
            self.assertEqual(record[:1], b'{', d)
            self.assertEqual(repr(decode(record, 'json')), repr(dictwire.plain(d)))

    def test_pickle(self) -> None:
        """Dictionaries that JSON would change are encoded as pickles of plain data."""
        for d in [{1: 2}, {'a': (1,)}, {'a': {1}}, {'a': b''}, {'a': datetime.now()}, {None: None}, {'a': {1: 2}}, {'a': [()]},
                  {'a': (1,), 'b': Level.HIGH}, collections.OrderedDict(a=1)]:
            record = encode(d)
            self.assertEqual(record[:1], b'\x80', d)
            self.assertTrue(same(pickle.loads(record), dictwire.plain(d)), d)

    def test_surrogates(self) -> None:
        record = encode({'a': '\ud800', '\udfff': 1})
        self.assertEqual(pickle.loads(record), {'a': '\ud800', '\udfff': 1})

    def test_rules(self) -> None:
        pair = collections.namedtuple('pair', 'a b')
        for value, want in [
            (Colour.RED, 'red'), (Level.HIGH, 3), (Point(1, (2, 3)), {'x': 1, 'y': (2, 3)}), (Config(a=1), {'a': 1}),
            (collections.Counter('aab'), {'a': 2, 'b': 1}), (collections.defaultdict(list, a=[1]), {'a': [1]}),
            (pair(1, 2), (1, 2)), (pathlib.PurePosixPath('/tmp/x'), '/tmp/x'), (memoryview(b'ab'), b'ab'),
            (collections.ChainMap({'a': 1}), {'a': 1}), (type('S', (str,), {})('x'), 'x'), (type('I', (int,), {})(7), 7),
            (type('F', (float,), {})(1.5), 1.5), (type('D', (date,), {})(2026, 1, 2), date(2026, 1, 2)),
            (datetime(2026, 1, 2, tzinfo=Odd()), datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2)))),
            (collections.OrderedDict(a=1), collections.OrderedDict(a=1)),
        ]:
            got = dictwire.plain({'v': value})['v']
            self.assertTrue(same(got, want), (value, got, want))

    def test_other_packages(self) -> None:
        """Values of numpy, pandas, pydantic and attrs, and those that plain data can't represent."""
        import attrs
        import numpy as np
        import pandas as pd
        import pydantic

        class Model(pydantic.BaseModel):
            when: datetime
            points: list[Point]

        @attrs.define
        class Pair:
            a: int
            b: Any

        when = datetime(2026, 1, 2, tzinfo=timezone.utc)
        for value, want in [
            (np.float32(1.5), 1.5), (np.int64(1 << 60), 1 << 60), (np.bool_(True), True), (np.str_('a'), 'a'), (np.complex128(1j), 1j),
            (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]), (np.datetime64('2026-01-02', 'ns'), datetime(2026, 1, 2)),
            (np.array(['2026-01-02', 'NaT'], 'M8[ns]'), [datetime(2026, 1, 2), None]), (np.timedelta64(5, 's'), timedelta(seconds=5)),
            (pd.Timestamp(when), when), (pd.NaT, None), (pd.Timedelta(5, 's'), timedelta(seconds=5)),
            (Model(when=when, points=[Point(1, (2,))]), {'when': when, 'points': [{'x': 1, 'y': (2,)}]}),
            (Pair(1, Pair(2, b'x')), {'a': 1, 'b': {'a': 2, 'b': b'x'}}),
        ]:
            got = dictwire.plain({'v': value})['v']
            self.assertTrue(same(got, want), (value, got, want))
        for value, why in [
            (np.datetime64('2026-01-01T00:00:00.000000001'), 'nanoseconds'), (np.array([1, 2], 'm8[ns]'), 'nanoseconds'),
            (pd.Timestamp(1), 'nanoseconds'), (pd.Timedelta(1), 'nanoseconds'), (np.longdouble(1), 'longdouble'),
            (np.datetime64('20260-01-01'), 'a year'), (np.array(['20260-01-01'], 'M8[us]'), 'a year'), (pd.NA, 'NAType'),
        ]:
            with self.assertRaisesRegex(TypeError, rf"\['v'\].*{why}"):
                encode({'v': value})

    def test_beyond_floats(self) -> None:
        """Numbers beyond the range of a float are exact."""
        for text, want in [('1e400', Decimal('1e400')), ('-1e400', Decimal('-1e400')), ('1e-400', Decimal('1e-400')), ('0e400', 0.0),
                           ('5e-324', 5e-324), ('1e308', 1e308), (f'1{"0" * 250}e99', Decimal(f'1{"0" * 250}e99'))]:
            self.assertTrue(same(decode(f'{{"a":[{text}]}}'.encode(), 'json'), {'a': [want]}), text)

    def test_many(self) -> None:
        """The dictionaries of a list are encoded independently of each other."""
        g = Generator(1)
        flat = [{'a': i, 'b': 'ü', 'c': None, 'd': 1.5, 'e': True} for i in range(3 * BATCH + 1)]
        odd = [{1: 2}, {'a': (1,)}, {'a': [1]}, Config(a=1), {'a': Level.HIGH}, {'\ud83d\ude00': '\ud83d\ude00'}, {'a': '\ud800'}, {},
               {'a': type('S', (str,), {})('x')}, {type('S', (str,), {})('x'): 1}, {'a': 10 ** 4299}, g.dictionary(), Point(1, ())]
        for other in odd:
            for at in [0, 1, BATCH - 1, BATCH, len(flat)]:
                many = [*flat[:at], other, *flat[at:]]
                self.assertEqual(list(encode_all(many, None)), [encode(d) for d in many], other)
        for at in [0, 1, BATCH - 1, BATCH, len(flat)]:
            for fault in [{'a': print}, {'a': 10 ** 4300}, 'text', None]:
                got = []
                with self.assertRaises(TypeError):
                    for record in encode_all([*flat[:at], fault, *flat[at:]], None):
                        got.append(record)
                self.assertEqual(len(got), at)
        self.assertEqual(list(encode_all([{'a': print}, *flat], lambda v: 7))[:2], [b'{"a":7}', encode(flat[0])])

    def test_many_in_turn(self) -> None:
        """Iterables other than lists are not read ahead, as they may yield the same dictionary again."""
        def turns() -> Any:
            d: dict[str, int] = {}
            for i in range(3 * BATCH):
                d['i'] = i
                yield d
        self.assertEqual([decode(r, 'json')['i'] for r in encode_all(turns(), None)], list(range(3 * BATCH)))

    def test_paths(self) -> None:
        class Opaque:
            def __reduce__(self) -> Any:
                raise AssertionError('somebody\'s code ran')
        for d, want in [({'a': Opaque()}, r"\['a'\]: .*Opaque"), ({'a': [0, {'b': Opaque()}]}, r"\['a'\]\[1\]\['b'\]: "),
                        ({'a': {Opaque(): 1}}, r"\['a'\]\[<"), ({'f': print}, 'builtin_function'), ({'a': 10 ** 5000}, '4300 digits')]:
            with self.assertRaisesRegex(TypeError, want):
                encode(d)
        deep: list[Any] = []
        deep.append(deep)
        with self.assertRaisesRegex(TypeError, 'deeper than 128'):
            encode({'a': deep})
        with self.assertRaisesRegex(TypeError, 'default returned'):
            encode({'a': Opaque()}, default=lambda v: v)


class TestCBOR(unittest.TestCase):
    def test_appendix(self) -> None:
        """Examples of RFC 8949, appendix A, and of its tags."""
        for text, want in [
            ('00', 0), ('1bffffffffffffffff', 18446744073709551615), ('c249010000000000000000', 1 << 64), ('3863', -100),
            ('c349010000000000000000', -(1 << 64) - 1), ('f93c00', 1.0), ('fa47c35000', 100000.0), ('fb3ff199999999999a', 1.1),
            ('f4', False), ('f5', True), ('f6', None), ('40', b''), ('4401020304', b'\1\2\3\4'), ('62c3bc', 'ü'),
            ('83010203', [1, 2, 3]), ('a201020304', {1: 2, 3: 4}), ('9f018202039f0405ffff', [1, [2, 3], [4, 5]]),
            ('bf61610161629f0203ffff', {'a': 1, 'b': [2, 3]}), ('7f657374726561646d696e67ff', 'streaming'),
            ('5f42010243030405ff', b'\1\2\3\4\5'), ('a1820102f6', {(1, 2): None}), ('f7', _cbor.CBORSimpleValue(23)),
            ('c074' + b'2016-12-31T23:59:60Z'.hex(), _cbor.CBORTag(0, '2016-12-31T23:59:60Z')),
            ('c074' + b'0000-12-31T23:59:00Z'.hex(), _cbor.CBORTag(0, '0000-12-31T23:59:00Z')),
            ('c0781f' + b'2016-12-31T23:59:00.0123456789Z'.hex(), _cbor.CBORTag(0, '2016-12-31T23:59:00.0123456789Z')),
            ('d81b8263737472' + '46eda0bdedb880', '\ud83d\ude00'),
            ('d81b84' + '6974696d6564656c7461' + '20' + '0203', timedelta(-1, 2, 3)),
            ('d903ea' + 'a2012a28' + '1907d0', timedelta(-1, 86389, 2)),
            ('f8ff', _cbor.CBORSimpleValue(255)), ('d82076687474703a2f2f7777772e6578616d706c652e636f6d', _cbor.CBORTag(32, 'http://www.example.com')),
            ('c074323031332d30332d32315432303a30343a30305a', datetime(2013, 3, 21, 20, 4, tzinfo=timezone.utc)),
            ('c11a514b67b0', datetime(2013, 3, 21, 20, 4, tzinfo=timezone.utc)),
        ]:
            got = _cbor.loads(bytes.fromhex(text))
            self.assertTrue(same(got, want), (text, got, want))

    def test_nanoseconds(self) -> None:
        t = _cbor.loads(b'\xc0\x78\x1e2013-03-21T20:04:00.123456789Z')
        self.assertEqual((t.microsecond, t.nanosecond), (123456, 789))
        values = [t]
        for text, days, seconds, micros in [
            ('d81b85' + '6974696d6564656c7461' + '20' + '0203' + '04', -1, 2, 3),
            ('d903ea' + 'a2012a28' + '03', -1, 86389, 0), ('d903ea' + 'a20101281907d4', 0, 1, 2),
        ]:
            d = _cbor.loads(bytes.fromhex(text))
            self.assertEqual((d.days, d.seconds, d.microseconds), (days, seconds, micros))
            values.append(d)
        self.assertEqual([d.nanoseconds for d in values[1:]], [4, 3, 4])
        self.assertEqual(repr(values[1]), 'Duration(days=-1, seconds=2, microseconds=3, nanoseconds=4)')
        clock = _cbor.loads(bytes.fromhex('d81b82' + '6474696d65' + '72') + b'01:02:03.123456789')
        self.assertEqual((clock, clock.nanosecond), (time(1, 2, 3, 123456), 789))
        for value in [*values, clock]:
            with self.assertRaisesRegex(TypeError, r"\['t'\]: .*nanoseconds"):
                encode({'t': value})

    def test_hostile(self) -> None:
        """Any data results in a value or a ValueError."""
        r = random.Random(1)
        good = bytes.fromhex('bf61610161629f0203ff6163c249010000000000000000ff')
        for _ in range(20_000):
            data = bytearray(good)
            for _ in range(r.randrange(1, 4)):
                data[r.randrange(len(data))] = r.randrange(256)
            try:
                _cbor.loads(bytes(data[:r.randrange(len(data) + 1)]))
            except (ValueError, TypeError, ArithmeticError, KeyError, AttributeError):
                pass
        nested = b'\xd8\x1b\x82ifrozenset\x81' * 60 + b'\x80'  # a decoder that reads each twice takes exponential time
        want: Any = ()
        for _ in range(60):
            want = frozenset([want])
        self.assertEqual(_cbor.loads(nested), want)
        for data in [b'\x81\xff', b'\xa1\x01\xff', b'\xc1\xff', b'\x9b' + struct.pack('>Q', 1 << 62), b'\xbb' + b'\xff' * 8, b'\x5b' + b'\xff' * 8, b'\x81' * 100_000, b'']:
            with self.assertRaises(ValueError):
                _cbor.loads(data)


class TestThroughServer(unittest.TestCase):
    """Records are read back with equal values and types, also with a cursor after a restart."""

    COUNT = 20_000

    def test_exact(self) -> None:
        seed = random.randrange(1 << 30)
        g = Generator(seed)
        sent = [g.dictionary() for _ in range(self.COUNT)]
        with Server() as server, dictwire.connect(server.addr) as c:
            c.send_many(sent, 'all', timeout=60)
            reader = c.read('all', cursor='c', timeout=60)
            for i, want in enumerate(sent):
                if i == self.COUNT // 2:
                    reader.close()
                    server.restart()
                    reader = c.read('all', cursor='c', timeout=60)
                    self.assertTrue(same(next(reader).data, sent[i - 1]))  # it was not committed
                got = next(reader).data
                if not same(got, want):
                    self.fail(f'seed {seed}, record {i}: sent {want!r}, read {got!r}')
            self.assertEqual(list(reader), [])

    def test_uuid_and_friends(self) -> None:
        d = {'id': uuid.UUID(int=5), 'when': datetime(2026, 11, 25, 10, tzinfo=timezone.utc), (1, 'a'): {b'x'}}
        with Server() as server, dictwire.connect(server.addr) as c:
            c.send(d).wait(30)
            self.assertTrue(same(next(c.read('default')).data, d))


if __name__ == '__main__':
    unittest.main()
