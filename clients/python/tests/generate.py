"""Random dictionaries of all supported types."""

from __future__ import annotations

import random
import string
import uuid
from collections import OrderedDict
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo


class Generator:
    """Generates plain data of all supported types."""

    def __init__(self, seed: int) -> None:
        self.r = random.Random(seed)

    def dictionary(self, depth: int = 3) -> dict[Any, Any]:
        return {self.key(): self.value(depth) for _ in range(self.r.randrange(6))}

    def text(self) -> str:
        r = self.r
        return ''.join(r.choice([r.choice(string.printable), chr(r.randrange(0x20, 0xD800)), chr(r.randrange(0x10000, 0x10FFFF)),
                                 r.choice(['\0', '"', '\\', '/', '\x7f', '\x80', '\u2028', '\ud800', '\ud83d\ude00'])]) for _ in range(r.randrange(8)))

    def int(self) -> int:
        r = self.r
        return r.choice([r.randrange(-300, 300), r.randrange(-1 << 65, 1 << 65), r.randrange(-10 ** 60, 10 ** 60)])

    def float(self) -> float:
        r = self.r
        return r.choice([r.uniform(-1e3, 1e3), r.gauss(0, 1) * 10.0 ** r.randrange(-300, 300), 0.0, -0.0, 5e-324, float('inf'),
                         float('-inf'), float(r.randrange(1 << 60))])

    def zone(self) -> Any:
        r = self.r
        return r.choice([None, timezone.utc, timezone(timedelta(minutes=r.randrange(-1400, 1400))),
                         timezone(timedelta(seconds=r.randrange(-80000, 80000))), timezone(timedelta(hours=1), 'CET'),
                         ZoneInfo('Europe/Paris'), ZoneInfo('UTC')])

    def datetime(self) -> datetime:
        r = self.r
        return datetime(r.randrange(1, 9999), r.randrange(1, 13), r.randrange(1, 29), r.randrange(24), r.randrange(60),
                        r.randrange(60), r.choice([0, r.randrange(10 ** 6)]), self.zone(), fold=r.choice([0, 0, 0, 1]))

    def time(self) -> time:
        r = self.r
        return time(r.randrange(24), r.randrange(60), r.randrange(60), r.randrange(10 ** 6), r.choice([None, timezone.utc]))

    def decimal(self) -> Decimal:
        r = self.r
        return Decimal(r.choice(['0', '-0', '-0.00', '1.50', 'NaN', 'sNaN12', '-Infinity', f'{r.randrange(-10 ** 30, 10 ** 30)}E{r.randrange(-50, 50)}']))

    def scalar(self) -> Any:
        r = self.r
        return r.choice([
            lambda: None, lambda: r.random() < 0.5, self.int, self.float, self.text, self.text, lambda: complex(self.float(), self.float()),
            lambda: r.randbytes(r.randrange(9)), self.datetime, lambda: date(r.randrange(1, 9999), r.randrange(1, 13), r.randrange(1, 29)),
            self.time, lambda: timedelta(r.randrange(-10 ** 6, 10 ** 6), r.randrange(86400), r.randrange(10 ** 6)), self.decimal,
            lambda: uuid.UUID(int=r.getrandbits(128)),
        ])()

    def key(self) -> Any:
        r = self.r
        if r.random() < 0.8:
            return self.text()
        return self.hashable(2)

    def hashable(self, depth: int) -> Any:
        r = self.r
        while True:
            if depth and r.random() < 0.2:
                return tuple(self.hashable(depth - 1) for _ in range(r.randrange(3)))
            if depth and r.random() < 0.1:
                return frozenset(self.hashable(0) for _ in range(r.randrange(3)))
            key = self.scalar()
            if not (isinstance(key, Decimal) and key.is_nan()) and key == key:
                return key

    def value(self, depth: int) -> Any:
        r = self.r
        if depth == 0 or r.random() < 0.6:
            return r.choice([self.scalar, self.scalar, lambda: bytearray(r.randbytes(r.randrange(5)))])()
        return r.choice([
            lambda: [self.value(depth - 1) for _ in range(r.randrange(4))],
            lambda: tuple(self.value(depth - 1) for _ in range(r.randrange(4))),
            lambda: {self.hashable(1) for _ in range(r.randrange(4))},
            lambda: frozenset(self.hashable(1) for _ in range(r.randrange(4))),
            lambda: self.dictionary(depth - 1),
            lambda: OrderedDict(self.dictionary(depth - 1)),
        ])()


def same(a: Any, b: Any) -> bool:
    """Returns whether two values and their types are equal in every detail that a program can observe."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(x, y) and same(a[x], b[y]) for x, y in zip(a, b))
    if isinstance(a, (set, frozenset)):
        return len(a) == len(b) and a == b and {type(x) for x in a} == {type(x) for x in b}
    if isinstance(a, (float, complex, Decimal)):
        return repr(a) == repr(b)
    if isinstance(a, (datetime, time)):
        return a.replace(tzinfo=None) == b.replace(tzinfo=None) and a.fold == b.fold and repr(a.tzinfo) == repr(b.tzinfo)
    return bool(a == b)
