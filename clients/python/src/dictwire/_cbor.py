"""A decoder for CBOR as dictwire stores it: RFC 8949, with the tags and objects in docs/formats.md."""

from __future__ import annotations

import struct
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

MAX_DEPTH = 500


@dataclass(frozen=True)
class CBORTag:
    """A CBOR tag without a Python type, or a time that datetime can't represent, such as a leap second."""

    tag: int
    value: Any


@dataclass(frozen=True)
class CBORSimpleValue:
    """A CBOR simple value without a Python type."""

    value: int


class ExtType(NamedTuple):
    """A MessagePack extension."""

    code: int
    data: bytes


class Timestamp(datetime):
    """A datetime with nanoseconds, from a program in another language.

    Attributes:
        nanosecond: 0 to 999, in addition to the microseconds.
    """

    nanosecond: int = 0

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, nanosecond={self.nanosecond})'


class TimeOfDay(time):
    """A time with nanoseconds. See `Timestamp`."""

    nanosecond: int = 0

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, nanosecond={self.nanosecond})'


class Duration(timedelta):
    """A timedelta with nanoseconds, from a program in another language.

    Attributes:
        nanoseconds: 0 to 999, in addition to the microseconds. Results of arithmetic have none.
    """

    nanoseconds: int = 0

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, nanoseconds={self.nanoseconds})'


def loads(data: bytes) -> Any:
    """Decodes a value. Raises ValueError if data is not CBOR as dictwire stores it."""
    r = _Reader(data)
    try:
        value = r.value(0, False)
    except IndexError:
        raise ValueError('truncated CBOR') from None
    except RecursionError:
        raise ValueError('CBOR is nested deeper than the stack allows') from None
    except (ValueError, MemoryError):
        raise
    except Exception as e:  # invalid arguments of a constructor: an unknown zone, a year beyond 9999
        raise ValueError(f'CBOR before byte {r.at}: {e}') from e
    if r.at != len(data):
        raise ValueError(f'{len(data) - r.at} bytes after the CBOR value')
    return value


_BREAK = 0xff
_FLOATS = {25: '>e', 26: '>f', 27: '>d'}


class _Reader:
    """Decodes one value.

    It uses at most two stack frames for each level, so that the deepest records leave enough stack for the program.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        end = self.at + n
        if end > len(self.data):
            raise IndexError
        taken = self.data[self.at:end]
        self.at = end
        return taken

    def head(self) -> tuple[int, Optional[int]]:
        """Returns the major type and the argument, or None for an indefinite length."""
        initial = self.data[self.at]
        self.at += 1
        info = initial & 31
        return initial >> 5, info if info < 24 else self.argument(initial)

    def argument(self, initial: int) -> Optional[int]:
        info = initial & 31
        if info < 28:
            return int.from_bytes(self.take(1 << info - 24), 'big')
        if info == 31 and 2 <= initial >> 5 <= 5:
            return None
        raise ValueError(f'CBOR head {initial:#x} at byte {self.at - 1}')

    def count(self, size: Optional[int]) -> int:
        """Returns how many items follow, or a very large number if a break ends them."""
        if size is None:
            return 1 << 63
        if size > len(self.data) - self.at:
            raise IndexError
        return size

    def broken(self) -> bool:
        """Consumes a break, and returns whether there was one."""
        if self.data[self.at] != _BREAK:
            return False
        self.at += 1
        return True

    def value(self, depth: int, in_key: bool) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f'CBOR is nested deeper than {MAX_DEPTH}')
        initial = self.data[self.at]
        self.at += 1
        major, arg = initial >> 5, initial & 31
        if major == 7:
            return self.simple(arg)
        size: Any = arg if arg < 24 else self.argument(initial)
        if major == 0:
            return size
        if major == 1:
            return -1 - size
        if major == 3:
            return (self.take(size) if size is not None else self.chunks(3)).decode('utf-8')
        if major == 2:
            return self.take(size) if size is not None else self.chunks(2)
        if major == 4:
            items: list[Any] = []
            for _ in range(self.count(size)):
                if size is None and self.broken():
                    break
                items.append(self.value(depth + 1, in_key))
            return tuple(items) if in_key else items
        if major == 5:
            pairs: dict[Any, Any] = {}
            for _ in range(self.count(size)):
                if size is None and self.broken():
                    break
                key = self.value(depth + 1, True)
                pairs[key] = self.value(depth + 1, False)
            return pairs
        known = _TAGS.get(size)
        if known is not None:
            return known(self.value(depth + 1, False))
        if size == 258:
            members: Any = self.value(depth + 1, True)
            if type(members) is not tuple:
                raise ValueError(f'CBOR tag 258 without a list before byte {self.at}')
            return frozenset(members) if in_key else set(members)
        if size == 27 and self.data[self.at] >> 5 == 4:
            return self.object(self.arguments(depth + 1), in_key)
        return CBORTag(size, self.value(depth + 1, in_key))

    def arguments(self, depth: int) -> list[Any]:
        """Decodes the list of a tag 27: a name and constructor arguments. Items of a frozenset are decoded as keys."""
        _, size = self.head()
        items: list[Any] = []
        for _ in range(self.count(size)):
            if size is None and self.broken():
                break
            items.append(self.value(depth + 1, items[:1] == ['frozenset']))
        return items

    def object(self, content: list[Any], in_key: bool) -> Any:
        known = _OBJECTS.get(content[0]) if content and isinstance(content[0], str) else None
        if known is not None:
            return known(*content[1:])
        return CBORTag(27, _hashable(content) if in_key else content)

    def chunks(self, major: int) -> bytes:
        parts = []
        while not self.broken():
            inner, n = self.head()
            if inner != major or n is None:
                raise ValueError(f'CBOR chunk of another type at byte {self.at - 1}')
            parts.append(self.take(n))
        return b''.join(parts)

    def simple(self, info: int) -> Any:
        if 20 <= info <= 22:
            return (False, True, None)[info - 20]
        if info < 24:
            return CBORSimpleValue(info)
        if info == 24:
            return CBORSimpleValue(self.take(1)[0])
        code = _FLOATS.get(info)
        if code is None:  # such as a break outside of a list, map or string
            raise ValueError(f'CBOR head {0xe0 | info:#x} at byte {self.at - 1}')
        return struct.unpack(code, self.take(1 << info - 24))[0]


def _hashable(value: Any) -> Hashable:
    key: Hashable = tuple(map(_hashable, value)) if isinstance(value, list) else value
    return key


def _decimal(parts: list[int]) -> Decimal:
    exponent, mantissa = parts
    return Decimal((int(mantissa < 0), tuple(map(int, str(abs(mantissa)))), exponent))


def _fraction(text: str) -> tuple[str, int]:
    """Splits a time into one with at most microseconds, and the nanoseconds."""
    point = text.find('.')
    if point < 0:
        return text, 0
    end = point + 1
    while end < len(text) and text[end].isdigit():
        end += 1
    digits = text[point + 1:end]
    return f'{text[:point]}.{digits[:6]:0<6}{text[end:]}', int(f'{digits[6:9]:0<3}')


def _datetime(text: str) -> Any:
    if text[17:19] == '60' or text[:4] == '0000' or _finer(text):
        return CBORTag(0, text)
    text, nanosecond = _fraction(text)
    if text[-1] in 'zZ':
        text = text[:-1] + '+00:00'
    return _stamp(datetime.fromisoformat(text), nanosecond)


def _finer(text: str) -> bool:
    """Returns whether a time is finer than nanoseconds."""
    digits = text[20:].partition('+')[0].partition('-')[0].rstrip('zZ') if text[19:20] == '.' else ''
    return digits[9:].strip('0') != ''


def _stamp(t: datetime, nanosecond: int) -> datetime:
    if not nanosecond:
        return t
    stamp = Timestamp(t.year, t.month, t.day, t.hour, t.minute, t.second, t.microsecond, t.tzinfo, fold=t.fold)
    stamp.nanosecond = nanosecond
    return stamp


def _epoch(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)


def _delta(parts: dict[int, float]) -> timedelta:
    micros, nanoseconds = divmod(parts.get(-9, 0), 1000)
    whole = timedelta(seconds=parts[1], milliseconds=parts.get(-3, 0), microseconds=parts.get(-6, 0) + micros)
    return _duration(whole.days, whole.seconds, whole.microseconds, int(nanoseconds))


def _duration(days: int, seconds: int, microseconds: int, nanoseconds: int = 0) -> timedelta:
    if not nanoseconds:
        return timedelta(days, seconds, microseconds)
    duration = Duration(days, seconds, microseconds)
    duration.nanoseconds = nanoseconds
    return duration


def _wtf8(raw: bytes) -> str:
    return raw.decode('utf-8', 'surrogatepass')


_TAGS: dict[Optional[int], Callable[[Any], Any]] = {
    0: _datetime,
    1: _epoch,
    2: lambda raw: int.from_bytes(raw, 'big'),
    3: lambda raw: -1 - int.from_bytes(raw, 'big'),
    4: _decimal,
    37: lambda raw: uuid.UUID(bytes=raw),
    100: lambda days: date(1970, 1, 1) + timedelta(days=days),
    273: _wtf8,
    1002: _delta,
    1004: date.fromisoformat,
    43000: lambda parts: complex(*parts),
    55799: lambda value: value,
}


def zone(args: Sequence[Any]) -> Optional[tzinfo]:
    """Returns the time zone in the last arguments of a datetime or time."""
    if not args:
        return None
    if isinstance(args[0], str):
        from zoneinfo import ZoneInfo  # slow to import
        return ZoneInfo(args[0])
    if len(args) > 1:
        return timezone(timedelta(microseconds=args[0]), args[1])
    return timezone(timedelta(microseconds=args[0])) if args[0] else timezone.utc


def _datetime_object(text: str, fold: int = 0, *where: Any) -> datetime:
    text, nanosecond = _fraction(text)
    return _stamp(datetime.fromisoformat(text).replace(fold=fold, tzinfo=zone(where)), nanosecond)


def _time_object(text: str, fold: int = 0, *where: Any) -> time:
    text, nanosecond = _fraction(text)
    t = time.fromisoformat(text).replace(fold=fold, tzinfo=zone(where))
    if not nanosecond:
        return t
    fine = TimeOfDay(t.hour, t.minute, t.second, t.microsecond, t.tzinfo, fold=t.fold)
    fine.nanosecond = nanosecond
    return fine


_OBJECTS: dict[str, Callable[..., Any]] = {
    'Decimal': Decimal,
    'OrderedDict': lambda pairs: OrderedDict(pairs),
    'bytearray': bytearray,
    'datetime': _datetime_object,
    'frozenset': frozenset,
    'msgpack.ExtType': ExtType,
    'str': _wtf8,
    'time': _time_object,
    'timedelta': _duration,
    'tuple': tuple,
}

