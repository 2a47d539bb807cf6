"""Writes dictionaries and their pickles: for each, a 4-byte length and the repr,
then a 4-byte length and the pickle. Arguments: seed, how many.

With the argument "check" it reads pairs of pickles instead, the second ours, and
prints what differs when both are loaded."""

import collections, datetime, decimal, io, logging, logging.handlers, os, pickle, pickletools
import random, string, struct, sys, uuid, zoneinfo


ZONES = [zoneinfo.ZoneInfo(key) for key in ('Europe/Paris', 'UTC', 'America/St_Johns', 'Asia/Kolkata')]
ZONES.append(zoneinfo.ZoneInfo.no_cache('Europe/Rome'))


def write(b):
    sys.stdout.buffer.write(struct.pack('>I', len(b)) + b)


class Generator:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.fold = True
        self.pool = []

    def text(self):
        r = self.r
        n = r.randrange(8) if r.random() < 0.95 else r.randrange(600)
        if r.random() < 0.6:
            return ''.join(r.choices(string.ascii_lowercase, k=n))
        alphabet = [
            lambda: chr(r.randrange(97, 123)),
            lambda: r.choice('\'"\\\0\n\r\t\x1a\x7f\x80\xa0\xad\xff\ufeff\u2028'),
            lambda: chr(r.randrange(0x100)),
            lambda: chr(r.randrange(0x10000)),
            lambda: chr(r.randrange(0x110000)),
            lambda: r.choice(['\\u0041', '\\U0001F600', '\\\\u', '\\u', '\ud83d\ude00']),
        ]
        return ''.join(r.choice(alphabet)() for _ in range(n))

    def int(self):
        r = self.r
        return [
            lambda: r.randrange(-3, 4),
            lambda: r.randrange(-300, 300),
            lambda: r.choice([-1, 1]) * (1 << r.randrange(0, 140)) + r.randrange(-1, 2),
            lambda: r.randrange(-1 << 63, 1 << 63),
            lambda: r.choice([-1, 1]) * r.randrange(10 ** r.randrange(1, 60)),
            lambda: r.choice([-1, 1]) * (10 ** r.choice([600, 2000, 4299]) + r.randrange(10 ** 9)),
        ][r.choices(range(6), [6, 6, 6, 6, 3, 0.2])[0]]()

    def float(self):
        r = self.r
        return r.choice([
            struct.unpack('>d', r.randbytes(8))[0], round(r.gauss(0, 1e3), 3), float(r.randrange(-5, 5)), -0.0,
            float('nan'), float('inf'), float('-inf'), 1e16, 1e15, 1e-4, 1e-5, 5e-324, 1.7976931348623157e308,
        ])

    def bytes(self):
        r = self.r
        return r.randbytes(r.choice([0, 1, 3, 10, r.randrange(300)]))

    def zone(self):
        r = self.r
        sign = r.choice([-1, 1])
        offset = datetime.timedelta(seconds=sign * r.randrange(86400), microseconds=sign * r.choice([0, 0, r.randrange(10 ** 6)]))
        return r.choice([
            lambda: None, lambda: None, lambda: datetime.timezone.utc,
            lambda: datetime.timezone(datetime.timedelta(hours=r.randrange(-12, 15))),
            lambda: datetime.timezone(offset), lambda: datetime.timezone(offset, self.text()[:100]),
            lambda: datetime.timezone(datetime.timedelta(0), 'UTC'), lambda: r.choice(ZONES),
        ])()

    def time_parts(self):
        r = self.r
        return dict(hour=r.randrange(24), minute=r.randrange(60), second=r.choice([0, r.randrange(60)]),
                    microsecond=r.choice([0, r.randrange(10 ** 6)]), tzinfo=self.zone(),
                    fold=r.choice([0, 0, 1]) if self.fold else 0)

    def date(self):
        r = self.r
        return datetime.date.fromordinal(r.choice([1, datetime.date.max.toordinal(), r.randrange(1, 3652060)]))

    def datetime(self):
        d = self.date()
        return datetime.datetime(d.year, d.month, d.day, **self.time_parts())

    def timedelta(self):
        r = self.r
        return r.choice([
            datetime.timedelta(0), datetime.timedelta.max, datetime.timedelta.min,
            datetime.timedelta(r.randrange(-10 ** 9 + 1, 10 ** 9), r.randrange(86400), r.randrange(10 ** 6)),
            datetime.timedelta(seconds=r.randrange(-10, 10)),
        ])

    def decimal(self, key=False):
        r = self.r
        return decimal.Decimal(r.choice([
            lambda: '0', lambda: '-0.00', lambda: '1.50', lambda: 'Infinity', lambda: '-NaN', lambda: 'NaN12',
            lambda: 'NaN' if key else 'sNaN', lambda: str(r.gauss(0, 1)), lambda: '%dE%d' % (r.randrange(10 ** 20), r.randrange(-999, 999)),
            lambda: '9E-999999', lambda: '1E+999999999999999999', lambda: '0E-1999999999999999997',
        ])())

    def uuid(self):
        r = self.r
        return r.choice([
            lambda: uuid.UUID(int=r.getrandbits(128)), lambda: uuid.UUID(int=r.getrandbits(r.randrange(1, 129))),
            lambda: uuid.UUID(int=r.getrandbits(128), is_safe=r.choice(list(uuid.SafeUUID))), lambda: uuid.UUID(int=0),
            lambda: uuid.UUID(int=(1 << 128) - 1),
        ])()

    def scalar(self, key=False):
        r = self.r
        return r.choice([
            lambda: None, lambda: r.random() < 0.5, self.int, self.int, self.float, self.text, self.text, self.bytes,
            lambda: complex(self.float(), self.float()), lambda: self.decimal(key), self.uuid, self.datetime, self.date,
            lambda: datetime.time(**self.time_parts()), self.timedelta,
            self.text if key else lambda: bytearray(self.bytes()),
        ])()

    def count(self):
        r = self.r
        return r.choices([r.randrange(5), r.randrange(40), r.choice([999, 1000, 1001, 2500])], [80, 1, 0.005])[0]

    def key(self, depth=0):
        r = self.r
        if depth > 2 or r.random() < 0.85:
            return self.text() if r.random() < 0.5 else self.scalar(True)
        if r.random() < 0.3:
            return frozenset(self.key(depth + 1) for _ in range(r.randrange(4)))
        return tuple(self.key(depth + 1) for _ in range(r.randrange(5)))

    def value(self, depth):
        r = self.r
        if self.pool and r.random() < 0.1:
            return r.choice(self.pool)
        if depth > 3 or r.random() < 0.8:
            v = self.scalar()
        else:
            depth += 1
            v = r.choice([
                lambda: [self.value(depth) for _ in range(self.count())],
                lambda: tuple(self.value(depth) for _ in range(self.count())),
                lambda: {self.key() for _ in range(self.count())},
                lambda: frozenset(self.key() for _ in range(self.count())),
                lambda: self.dict(dict(), depth),
                lambda: self.dict(dict(), depth),
                lambda: self.dict(collections.OrderedDict(), depth),
            ])()
        if r.random() < 0.2 and len(repr(v)) < 500:
            self.pool.append(v)
        return v

    def dict(self, d, depth=0):
        for _ in range(self.count()):
            d[self.key()] = self.value(depth)
        return d

    def top(self, protocol):
        self.fold = protocol >= 4
        self.pool = []
        return self.dict(collections.OrderedDict() if self.r.random() < 0.1 else {})


def record(r):
    """A log record as SocketHandler sends it, without the length."""
    log = logging.LogRecord('a.b', r.choice([10, 20, 50]), '/srv/app.py', r.randrange(999), 'got %s of %r', (3, 'é'), None, 'f')
    log.extra = r.choice([None, 1.5, 'x', [1, (2,)]])
    return logging.handlers.SocketHandler('localhost', 1).makePickle(log)[4:]


def main():
    if hasattr(sys, 'set_int_max_str_digits'):
        sys.set_int_max_str_digits(0)
    if sys.argv[1] == 'check':
        return check()
    g = Generator(int(sys.argv[1]))
    for i in range(int(sys.argv[2])):
        protocol = i % 6
        if i % 50 == 7:
            b = record(g.r)
            d = pickle.loads(b)
        else:
            d = g.top(protocol)
            f = io.BytesIO()
            [pickle.Pickler, pickle._Pickler][i // 6 % 2](f, protocol, fix_imports=g.r.random() < 0.8).dump(d)
            b = f.getvalue()
        if i // 12 % 3 == 0:
            b = pickletools.optimize(b)
        write(repr(d).encode())
        write(b)


def dump(v):
    """The repr with the type of each value."""
    name = type(v).__qualname__
    if isinstance(v, dict):
        return name + '{%s}' % ', '.join(dump(k) + ': ' + dump(x) for k, x in v.items())
    if isinstance(v, (list, tuple, set, frozenset)):
        items = list(map(dump, v))
        if isinstance(v, (set, frozenset)) and 'nan' in str(items).lower():
            items.sort()  # a NaN's hash is another one each time
        return name + '(%s)' % ', '.join(items)
    return name + ' ' + repr(v)


def check():
    read = sys.stdin.buffer.read
    while head := read(4):
        theirs = read(*struct.unpack('>I', head))
        ours = read(*struct.unpack('>I', read(4)))
        # A set is loaded in the order in which it was written, by either.
        want = dump(pickle.loads(theirs))
        for load in [pickle.loads, pickle._loads][:1 + (len(ours) % 8 == 0)]:
            got = dump(load(ours))
            if got != want:
                at = max(len(os.path.commonprefix([got, want])) - 40, 0)
                print(' got … %s\nwant … %s' % (got[at:at + 200], want[at:at + 200]))


main()
