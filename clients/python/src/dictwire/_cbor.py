"""Reads CBOR as dictwire stores it: RFC 8949 and the tags and objects of the project's docs/formats.md."""

from __future__ import annotations

import struct
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

MAX_DEPTH = 500


@dataclass(frozen=True)
class CBORTag:
    """A CBOR tag that has no kind of value of its own, or a time that no datetime is, such as a leap second."""

    tag: int
    value: Any


@dataclass(frozen=True)
class CBORSimpleValue:
    """A CBOR simple value that has no kind of value of its own."""

    value: int


class ExtType(NamedTuple):
    """A MessagePack extension."""

    code: int
    data: bytes


class Timestamp(datetime):
    """A datetime whose fraction has nanoseconds, as programs in other languages send them.

    Attributes:
        nanosecond: 0 to 999, after the microseconds.
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
    """A timedelta with nanoseconds, as programs in other languages send them.

    Attributes:
        nanoseconds: 0 to 999, after the microseconds. What is computed with it has none.
    """

    nanoseconds: int = 0

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, nanoseconds={self.nanoseconds})'


def loads(data: bytes) -> Any:
    """Returns the value that data is. Raises ValueError where it is not CBOR as dictwire stores it."""
    r = _Reader(data)
    try:
        value = r.value(0, False)
    except (IndexError, struct.error):
        raise ValueError('CBOR is cut off') from None
    except RecursionError:
        raise ValueError('CBOR is nested deeper than this program\'s stack') from None
    if r.at != len(data):
        raise ValueError(f'{len(data) - r.at} bytes after the CBOR value')
    return value


_BREAK = object()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        end = self.at + n
        if end > len(self.data):
            raise IndexError
        taken = self.data[self.at:end]
        self.at = end
        return taken

    def head(self) -> tuple[int, int, Optional[int]]:
        """Returns the major type, the additional information, and the argument: None if indefinite."""
        initial = self.data[self.at]
        self.at += 1
        major, info = initial >> 5, initial & 31
        if info < 24:
            return major, info, info
        if info < 28:
            n = 1 << info - 24
            return major, info, int.from_bytes(self.take(n), 'big')
        if info == 31 and major not in (0, 1, 6):
            return major, info, None
        raise ValueError(f'CBOR head {initial:#x} at byte {self.at - 1}')

    def value(self, depth: int, in_key: bool) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f'CBOR is nested deeper than {MAX_DEPTH}')
        major, info, arg = self.head()
        if major == 0:
            return arg
        if major == 1:
            return -1 - arg  # type: ignore[operator]  # never None
        if major in (2, 3):
            return self.string(major, arg)
        if major == 4:
            items = self.items(arg, depth, in_key)
            return tuple(items) if in_key else items
        if major == 5:
            return self.mapping(arg, depth)
        if major == 6:
            return self.tagged(arg, depth, in_key)
        return self.simple(info, arg)

    def string(self, major: int, size: Optional[int]) -> Any:
        if size is None:
            parts = []
            while True:
                inner, _, n = self.head()
                if inner == 7 and n is None:
                    break
                if inner != major or n is None:
                    raise ValueError(f'CBOR chunk of another type at byte {self.at - 1}')
                parts.append(self.take(n))
            raw = b''.join(parts)
        else:
            raw = self.take(size)
        return raw if major == 2 else raw.decode('utf-8')

    def items(self, size: Optional[int], depth: int, in_key: bool) -> list[Any]:
        if size is not None:
            if size > len(self.data) - self.at:
                raise IndexError
            return [self.value(depth + 1, in_key) for _ in range(size)]
        out: list[Any] = []
        while True:
            item = self.value(depth + 1, in_key)
            if item is _BREAK:
                return out
            out.append(item)

    def mapping(self, size: Optional[int], depth: int) -> dict[Any, Any]:
        out: dict[Any, Any] = {}
        if size is not None:
            if size > len(self.data) - self.at:
                raise IndexError
            for _ in range(size):
                key = self.value(depth + 1, True)
                out[key] = self.value(depth + 1, False)
            return out
        while True:
            key = self.value(depth + 1, True)
            if key is _BREAK:
                return out
            out[key] = self.value(depth + 1, False)

    def simple(self, info: int, arg: Optional[int]) -> Any:
        if arg is None:
            return _BREAK
        if info < 24 or info == 24:
            if info < 24 and arg in (20, 21, 22):
                return (False, True, None)[arg - 20]
            return CBORSimpleValue(arg)
        code = {25: '>e', 26: '>f', 27: '>d'}[info]
        return struct.unpack(code, arg.to_bytes(1 << info - 24, 'big'))[0]

    def tagged(self, tag: Optional[int], depth: int, in_key: bool) -> Any:
        known = _TAGS.get(tag)
        if known is not None:
            return known(self.value(depth + 1, False))
        if tag == 258:
            major, _, size = self.head()
            if major != 4:
                raise ValueError(f'CBOR tag 258 wants a list at byte {self.at - 1}')
            items = self.items(size, depth + 1, True)
            return frozenset(items) if in_key else set(items)
        if tag == 27:
            return self.object(depth, in_key)
        return CBORTag(tag or 0, self.value(depth + 1, in_key))

    def object(self, depth: int, in_key: bool) -> Any:
        begin = self.at
        content = self.value(depth + 1, False)
        if isinstance(content, list) and content and isinstance(content[0], str):
            name, *args = content
            if name == 'frozenset' and len(args) == 1:
                self.at = begin  # its items are keys, so lists in them are tuples
                self.head()
                self.value(depth + 1, False)
                _, _, size = self.head()
                return frozenset(self.items(size, depth + 1, True))
            known = _OBJECTS.get(name)
            if known is not None:
                return known(*args)
        if in_key:
            content = _hashable(content)
        return CBORTag(27, content)


def _hashable(value: Any) -> Hashable:
    key: Hashable = tuple(map(_hashable, value)) if isinstance(value, list) else value
    return key


def _decimal(parts: list[int]) -> Decimal:
    exponent, mantissa = parts
    return Decimal((int(mantissa < 0), tuple(map(int, str(abs(mantissa)))), exponent))


def _fraction(text: str) -> tuple[str, int]:
    """Returns a time's text with six digits of fraction at most, and the nanoseconds after them."""
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
    """Reports whether a time's text has more than nanoseconds."""
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


def zone(args: tuple[Any, ...]) -> Optional[tzinfo]:
    """Returns the time zone that the last arguments of a datetime or time name."""
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
    'msgpack.ExtType': ExtType,
    'str': _wtf8,
    'time': _time_object,
    'timedelta': _duration,
    'tuple': tuple,
}

