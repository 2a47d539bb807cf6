"""dictwire prints what Python serializes like Python does, and vice versa.

The dictionaries are generated, from another seed each run, which a failure prints;
DICTWIRE_TEST_SEED repeats one. The serializers are Python's own pickle and json, and
Debian's cbor2 and msgpack.
"""

import collections
import datetime
import decimal
import io
import json
import os
import pickle
import random
import subprocess
import sys
import unittest
import uuid
import zoneinfo

import cbor2
import msgpack

import built

EACH = 2500  # dictionaries a format and direction: 25,000 each way
PYTHON = '%d.%d' % sys.version_info[:2]
UTC = datetime.timezone.utc


class Generator(random.Random):
    """Makes dictionaries of the types that a format supports, given by name."""

    infinite = True  # floats may be infinite

    def __init__(self, seed, values, keys, folds):
        super().__init__(seed)
        self.folds = folds
        self.values = sorted(values)
        self.keys = sorted(keys)

    def dictionary(self, depth=0):
        return {self.key(): self.value(depth + 1) for _ in range(self.randrange(5))}

    def key(self):
        return getattr(self, self.choice(self.keys))()

    def value(self, depth):
        kind = self.choice(self.values)
        if kind in CONTAINERS:
            return getattr(self, kind)(depth + 1) if depth < 4 else None
        return getattr(self, kind)()

    def null(self):
        return None

    def bool(self):
        return self.random() < 0.5

    def int(self):
        return self.choice([0, 1, -1, self.getrandbits(self.randrange(64)), -self.getrandbits(self.randrange(64))])

    def big(self):
        return self.choice([1, -1]) * self.getrandbits(self.randrange(1, 1000))

    def float(self):
        f = self.choice([0.0, -0.0, 1e16, 1e-5, float('inf'), self.gauss(0, 1e9), round(self.gauss(0, 100), 2)])
        return f if self.infinite or f < float('inf') else 1.5

    def nan(self):
        return float('nan')

    def complex(self):
        return complex(self.choice([0.0, -0.0, 1.5]), self.choice([0.0, -0.0, 2.0]))

    def str(self):
        return ''.join(self.choice('ab\'"\\\n\x00\x7fé漢😀\u2028\u00ad') for _ in range(self.randrange(6)))

    def surrogate(self):
        return self.str() + chr(0xDC00 + self.randrange(0x400))

    def bytes(self):
        return self.randbytes(self.randrange(6))

    def bytearray(self):
        return bytearray(self.bytes())

    def decimal(self):
        digits = self.choice(['0', '-0.0', '1.10', '1E+30', '1E-9', 'NaN', 'Infinity', str(self.gauss(0, 1e6))])
        return decimal.Decimal(digits)

    def finite(self):
        return decimal.Decimal(self.choice(['1.10', '1E+30', '-1E-9', str(self.gauss(0, 1e6))]))

    def uuid(self):
        return uuid.UUID(int=self.getrandbits(128))

    def utc(self):
        return datetime.datetime(
            self.randrange(1970, 2500), self.randrange(1, 13), self.randrange(1, 29), self.randrange(24), self.randrange(60),
            self.randrange(60), self.choice([0, self.randrange(10**6)]), tzinfo=UTC,
        )  # fmt: skip

    def datetime(self):
        offset = datetime.timedelta(seconds=self.randrange(-86399, 86400))
        zone = self.choice([None, UTC, zoneinfo.ZoneInfo('Europe/Paris'), datetime.timezone(offset), datetime.timezone(offset, 'é')])
        return self.utc().replace(tzinfo=zone, fold=self.randrange(2) if self.folds else 0)

    def date(self):
        return self.utc().date()

    def time(self):
        return self.datetime().timetz()

    def timedelta(self):
        return datetime.timedelta(self.randrange(-9, 9), self.randrange(86400), self.randrange(10**6))

    def hashables(self):
        return [self.key() for _ in range(self.randrange(4))]

    def key_tuple(self):
        return tuple(self.choice([1, 'a', None, (2.5, 'b')]) for _ in range(self.randrange(3)))

    def list(self, depth):
        return [self.value(depth) for _ in range(self.randrange(4))]

    def tuple(self, depth):
        return tuple(self.list(depth))

    def set(self, depth):
        return set(self.hashables())

    def frozenset(self, depth):
        return frozenset(self.hashables())

    def dict(self, depth):
        return self.dictionary(depth)

    def ordered(self, depth):
        return collections.OrderedDict(self.dictionary(depth))


CONTAINERS = {'list', 'tuple', 'set', 'frozenset', 'dict', 'ordered'}
SCALARS = {'null', 'bool', 'int', 'float', 'str'}
EVERYTHING = SCALARS | CONTAINERS | {
    'big', 'nan', 'complex', 'surrogate', 'bytes', 'bytearray', 'decimal', 'uuid', 'datetime', 'date', 'time', 'timedelta',
}  # fmt: skip
HASHABLE = {'null', 'bool', 'int', 'float', 'str', 'big', 'bytes', 'finite', 'uuid', 'date', 'timedelta', 'key_tuple', 'surrogate'}


def json_loads(data):
    return [json.loads(line) for line in data.splitlines()]


def pickle_loads(data):
    return read_all(data, pickle.load)


def read_all(data, load):
    stream = io.BytesIO(data)
    found = []
    while stream.tell() < len(data):
        found.append(load(stream))
    return found


def python_loads(data):
    names = {
        'datetime': datetime, 'zoneinfo': zoneinfo, 'Decimal': decimal.Decimal, 'UUID': uuid.UUID,
        'OrderedDict': collections.OrderedDict, 'nan': float('nan'), 'inf': float('inf'),
    }  # fmt: skip
    return [eval(line, names) for line in data.decode().split('\n') if line]


def msgpack_loads(data):
    return list(msgpack.Unpacker(io.BytesIO(data), timestamp=3, strict_map_key=False))


# The name of the format, how Python writes it and reads it, and the types of values and keys that both support.
FORMATS = [
    *[
        ('pickle', lambda d, p=p: pickle.dumps(d, p), pickle_loads, EVERYTHING, HASHABLE)
        for p in range(6)
    ],
    (
        'cbor', cbor2.dumps, lambda data: read_all(data, cbor2.load),
        SCALARS | {'list', 'set', 'dict', 'big', 'nan', 'bytes', 'finite', 'uuid', 'utc'},
        {'null', 'bool', 'int', 'float', 'str', 'big', 'bytes', 'finite', 'uuid', 'key_tuple'},
    ),
    (
        'msgpack', lambda d: msgpack.packb(d, datetime=True), msgpack_loads,
        SCALARS | {'list', 'dict', 'nan', 'bytes', 'utc'}, {'null', 'bool', 'int', 'float', 'str', 'bytes'},
    ),
    ('json', lambda d: json.dumps(d).encode() + b'\n', json_loads, SCALARS | {'list', 'dict', 'big', 'nan', 'surrogate'}, {'str', 'surrogate'}),
    ('python', lambda d: repr(d).encode() + b'\n', python_loads, (EVERYTHING - {'complex'}) | {'finite'}, HASHABLE),
]  # fmt: skip


def canonical(value):
    """A text that is equal for equal values of the same types, regardless of the order of sets."""
    if isinstance(value, (set, frozenset)):
        return type(value).__name__ + repr(sorted(map(canonical, value)))
    if isinstance(value, dict):
        return type(value).__name__ + repr([(canonical(k), canonical(v)) for k, v in value.items()])
    if isinstance(value, (list, tuple)):
        return type(value).__name__ + repr(list(map(canonical, value)))
    return repr(value)


class TestFormats(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        built.build()
        cls.seed = int(os.environ.get('DICTWIRE_TEST_SEED') or random.randrange(2**32))

    def convert(self, data, from_, to):
        command = [built.DICTWIRE, 'convert', '--from', from_, '--to', to, '--python', PYTHON]
        done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        self.assertEqual((done.returncode, done.stderr), (0, b''), f'DICTWIRE_TEST_SEED={self.seed}')
        return done.stdout

    def dictionaries(self, number, without=frozenset()):
        _, _, _, values, keys = FORMATS[number]
        folds = number > 3  # before protocol 4, Python's pickle leaves fold out
        g = Generator(self.seed + number, values - without, keys - without, folds)
        g.infinite = 'nan' not in without
        return [g.dictionary() for _ in range(EACH)]

    def test_python_to_dictwire(self):
        for number, (name, dumps, _, _, _) in enumerate(FORMATS):
            with self.subTest(format=name, number=number):
                dictionaries = self.dictionaries(number)
                lines = self.convert(b''.join(map(dumps, dictionaries)), name, 'python').decode().split('\n')
                self.assertEqual(len(lines), EACH + 1)
                for d, line in zip(dictionaries, lines):
                    self.assertEqual(line, repr(d), f'DICTWIRE_TEST_SEED={self.seed}')

    def test_dictwire_to_python(self):
        for number, (name, _, loads, _, _) in enumerate(FORMATS):
            with self.subTest(format=name, number=number):
                # We write JSON as in RFC 8259, and read it as Python writes it.
                dictionaries = self.dictionaries(number, {'nan', 'surrogate'} if name == 'json' else set())
                if name == 'python':
                    data = self.convert(b''.join(map(pickle.dumps, dictionaries)), 'pickle', name)
                else:
                    data = self.convert(''.join(repr(d) + '\n' for d in dictionaries).encode(), 'python', name)
                back = loads(data)
                self.assertEqual(len(back), EACH)
                for d, b in zip(dictionaries, back):
                    self.assertEqual(canonical(b), canonical(d), f'DICTWIRE_TEST_SEED={self.seed}')


if __name__ == '__main__':
    unittest.main()
