"""Dictionaries to records, and back: exact both ways.

A dictionary that JSON holds exactly is sent as JSON, any other as a pickle of plain data. Nobody's code runs
on the way: what is no plain data is made plain here, by the rules of `plain`, before it is pickled. What came
over a network is never unpickled.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import pickle
import re
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from itertools import chain
from pathlib import PurePath
from typing import Any, Optional, Union

from . import _cbor

MAX_DEPTH = 128  # of a record, as the server has it
MAX_DIGITS = 4300
BATCH = 16  # dictionaries of a list that are looked at together

Default = Callable[[Any], Any]


def _encoder() -> Callable[[Any], str]:
    """Returns what writes plain data as JSON: json's own encoder, without making one for each call."""
    make = getattr(json.encoder, 'c_make_encoder', None)
    if make is None:
        return json.JSONEncoder(ensure_ascii=False, separators=(',', ':')).encode
    text = vars(json.encoder)['encode_basestring']
    chunks = make(None, None, text, None, ':', ',', False, False, True)
    return lambda value: ''.join(chunks(value, 0))

_SCALARS = frozenset([str, int, float, bool, type(None)])
_STRINGS = frozenset([str])
_DICTS = frozenset([dict])
_to_json = _encoder()
_from_json = json.JSONDecoder().decode


def _float(text: str) -> Union[float, Decimal]:
    """Returns the nearest float, or a Decimal where that would be infinite, or 0 in the place of another number."""
    value = float(text)
    if value in (float('inf'), float('-inf')) or (value == 0 and re.match(r'[^eE]*[1-9]', text)):
        return Decimal(text)
    return value


_from_exact_json = json.JSONDecoder(parse_float=_float).decode
_BEYOND = re.compile(rb'[eE][+-]?0*[1-9]\d\d|\d{200}')  # what no number of JSON lacks that _float makes a Decimal of


def encode(dictionary: Mapping[Any, Any], default: Optional[Default] = None) -> bytes:
    """Returns a dictionary as a record: JSON where that is exact, else a pickle of plain data.

    Args:
        dictionary: a dict, or what `plain` makes one of.
        default: is called with a value that dictwire can't carry, and returns one that it can.

    Raises:
        TypeError: something can't be carried; the text has the path of keys that leads to it.
    """
    if type(dictionary) is dict and _SCALARS.issuperset(map(type, dictionary.values())) \
            and _STRINGS.issuperset(map(type, dictionary)):
        try:
            return _to_json(dictionary).encode()
        except ValueError:  # a lone surrogate, or too many digits: told below
            pass
    state = _Plain(default)
    value = state.plain(dictionary, 0)
    if not isinstance(value, dict):
        raise TypeError(f'want a dictionary, got {_name(type(dictionary))}')
    if state.json:
        try:
            return _to_json(value).encode()
        except UnicodeEncodeError:
            pass  # lone surrogates, which JSON would join to pairs
    return pickle.dumps(value, 4)


def encode_all(dictionaries: Iterable[Mapping[Any, Any]], default: Optional[Default]) -> Iterator[bytes]:
    """Yields dictionaries as records, as `encode` makes them.

    Those of a list are looked at some at a time, which saves a third. Other iterables are not read ahead: they may
    yield one dictionary again and again, changed.
    """
    if type(dictionaries) is not list:
        for dictionary in dictionaries:
            yield encode(dictionary, default)
        return
    begin = 0
    while begin < len(dictionaries):
        batch = dictionaries[begin:begin + BATCH]
        begin += len(batch)
        records = _flat_to_json(batch)
        if records is None:
            for dictionary in batch:
                yield encode(dictionary, default)
        else:
            yield from records


def _flat_to_json(batch: list[Any]) -> Optional[list[bytes]]:
    """Returns dictionaries of text and scalars as JSON, or None where one of them is something else."""
    try:
        if _DICTS.issuperset(map(type, batch)) and _STRINGS.issuperset(map(type, chain.from_iterable(batch))) \
                and _SCALARS.issuperset(map(type, chain.from_iterable(map(dict.values, batch)))):
            return [_to_json(dictionary).encode() for dictionary in batch]
    except (ValueError, RuntimeError):  # a lone surrogate, too many digits, or another thread changed one
        pass
    return None


def decode(record: bytes, format: str) -> dict[Any, Any]:
    """Returns the dictionary that a record is, in the format json or cbor. Raises ValueError where it is none."""
    if format == 'cbor':
        value = _cbor.loads(record)
    elif format == 'json':
        from_json = _from_exact_json if _BEYOND.search(record) else _from_json
        try:
            value = from_json(record.decode('utf-8'))
        except RecursionError:
            raise ValueError('JSON is nested deeper than this program\'s stack') from None
    else:
        raise ValueError(f'want a record as json or cbor, got {format!r:.40}')
    if not isinstance(value, dict):
        raise ValueError(f'the record is {_name(type(value))}, want a dictionary')
    return value


FORMATS = ['json', 'cbor']  #: what decode reads, preferred first


def plain(value: Any, default: Optional[Default] = None) -> Any:
    """Returns a value as plain data, as it arrives at the other end.

    ===================================  =============================================================
    a value                              becomes
    ===================================  =============================================================
    None, bool, int, float, complex,     itself
    str, bytes, bytearray, list, tuple,
    dict, OrderedDict, set, frozenset,
    datetime, date, time, timedelta,
    Decimal, UUID
    a subclass of one of these           the value of that class: a named tuple is a tuple, a Counter
                                         a dict
    an Enum member                       its value
    a dataclass, attrs or pydantic       a dict of its fields
    object
    a numpy scalar or array              what its tolist() returns; NaT is None
    a Path                               its text
    memoryview                           bytes
    another Mapping                      a dict
    a zone of another library            its offset at that time
    ===================================  =============================================================

    Raises:
        TypeError: something else, and default is None; the text has the path that leads to it.
    """
    return _Plain(default).plain(value, 0)


class _Plain:
    def __init__(self, default: Optional[Default]) -> None:
        self.default, self.json, self.path = default, True, []  # type: ignore[var-annotated]

    def plain(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _SCALARS:
            if kind is int and value.bit_length() > 14200 and len(_digits(value)) > MAX_DIGITS:
                raise TypeError(f'{self.where()}an int of more than {MAX_DIGITS} digits')
            return value
        if depth >= MAX_DEPTH:
            raise TypeError(f'{self.where()}nested deeper than {MAX_DEPTH}, or a value that holds itself')
        if kind is dict or kind is OrderedDict:
            return self.dict(value, kind, depth)
        if kind is list:
            return self.items(value, depth)
        if kind not in _PICKLED:
            return self.other(value, kind, depth)
        self.json = False
        if kind is tuple:
            return tuple(self.items(value, depth))
        if kind is set or kind is frozenset:
            members = self.items(value, depth)
            try:
                made = kind(members)
            except TypeError:  # a member that is a list or a dict now
                raise TypeError(f'{self.where()}a set of what becomes lists or dictionaries') from None
            if len(made) != len(members):
                raise TypeError(f'{self.where()}a set of which two members become the same')
            return made
        if kind is datetime or kind is time:
            return self.zoned(value)
        return value

    def items(self, items: Any, depth: int) -> list[Any]:
        out = []
        self.path.append(0)
        for i, item in enumerate(items):
            if type(item) is str:  # most are
                out.append(item)
                continue
            self.path[-1] = i
            out.append(self.plain(item, depth + 1))
        self.path.pop()
        return out

    def dict(self, value: Any, kind: type, depth: int) -> Any:
        if kind is not dict:
            self.json = False
        out = kind()
        self.path.append('')
        for key, item in value.items():
            self.path[-1] = key
            if type(key) is not str:
                self.json = False
                key = self.plain(key, depth + 1)
            item = item if type(item) is str else self.plain(item, depth + 1)
            try:
                out[key] = item
            except TypeError:
                raise TypeError(f'{self.where()}a key that becomes a list or a dictionary') from None
        self.path.pop()
        if len(out) != len(value):
            raise TypeError(f'{self.where()}a dictionary of which two keys become the same')
        return out

    def zoned(self, value: Any) -> Any:
        zone = value.tzinfo
        if zone is None or type(zone) is timezone or _is_zoneinfo(zone):
            return value
        offset = value.utcoffset()
        if offset is None:
            raise TypeError(f'{self.where()}a zone ({_name(type(zone))}) without an offset: attach it to a datetime, '
                            'or use datetime.timezone')
        return value.replace(tzinfo=timezone(offset), fold=0)

    def other(self, value: Any, kind: type, depth: int) -> Any:
        made = self.made(value, kind)
        if made is not value:
            return self.plain(made, depth + 1)
        if self.default is not None:
            made = self.default(value)
            if type(made) is kind:
                raise TypeError(f'{self.where()}default returned {_name(kind)} again')
            return self.plain(made, depth + 1)
        raise TypeError(f'{self.where()}dictwire can\'t carry {_name(kind)}; make it plain data, or give default=')

    def made(self, value: Any, kind: type) -> Any:
        """Returns what a value of no plain kind becomes, or the value where there is no rule."""
        if isinstance(value, enum.Enum):
            return value.value
        if kind is memoryview:
            return value.tobytes()
        if kind.__module__.partition('.')[0] == 'numpy' and hasattr(value, 'tolist'):
            return self.numpy(value)
        if isinstance(value, (datetime, time, timedelta)):
            if value != value:
                return None  # NaT of pandas
            if getattr(value, 'nanosecond', None) or getattr(value, 'nanoseconds', None):
                raise TypeError(f'{self.where()}{_name(kind)} with nanoseconds, which Python\'s own has not: '
                                'send its text, or round it')
        for base in _BASES:
            if isinstance(value, base):
                return _as(base, value)
        if isinstance(value, PurePath):
            return str(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        if hasattr(kind, '__attrs_attrs__'):
            return {a.name: getattr(value, a.name) for a in kind.__attrs_attrs__}
        dump = getattr(value, 'model_dump', None)
        if dump is not None and hasattr(kind, 'model_fields'):
            return dump()
        if isinstance(value, Mapping):
            return dict(value)
        return value

    def numpy(self, value: Any) -> Any:
        kind = value.dtype.kind
        if kind in 'mM':  # datetime64 and timedelta64, which tolist makes ints of where they are finer than Python's
            coarse = value.astype(f'{kind}8[us]')
            if not ((coarse == value) | (coarse != coarse)).all():
                raise TypeError(f'{self.where()}{value.dtype} with nanoseconds, which Python\'s own has not: '
                                f'round it, as by .astype("{kind}8[us]")')
            value = coarse
        made = value.tolist()
        if kind in 'mM' and any(isinstance(t, int) for t in value.ravel().tolist()):
            raise TypeError(f'{self.where()}{value.dtype} of a year that Python\'s datetime has not')
        if type(made) is type(value):  # longdouble, which has more digits than a float
            raise TypeError(f'{self.where()}dictwire can\'t carry {_name(type(value))}: make it a float or a Decimal')
        return made

    def where(self) -> str:
        if not self.path:
            return ''
        more = '…' if len(self.path) > 8 else ''
        return f'{"".join(f"[{key!r:.40}]" for key in self.path[:8])}{more}: '


_PICKLED = frozenset([bytes, bytearray, complex, datetime, date, time, timedelta, Decimal, uuid.UUID,
                      tuple, set, frozenset])
_BASES = (bool, int, float, complex, str, bytes, bytearray, datetime, date, time, timedelta, Decimal, uuid.UUID,
          OrderedDict, dict, list, tuple, set, frozenset)


def _as(base: type, value: Any) -> Any:
    """Returns the value of a subclass as one of its base."""
    if base is datetime:
        return datetime(value.year, value.month, value.day, value.hour, value.minute, value.second,
                        value.microsecond, value.tzinfo, fold=value.fold)
    if base is date:
        return date(value.year, value.month, value.day)
    if base is time:
        return time(value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold)
    if base is timedelta:
        return timedelta(value.days, value.seconds, value.microseconds)
    if base is uuid.UUID:
        return uuid.UUID(int=value.int)
    if base is str:
        return str.__str__(value)
    if base is int:
        return int.__index__(value)
    if base is float:
        return float.__float__(value)
    return base(value)


def _is_zoneinfo(zone: tzinfo) -> bool:
    kind = type(zone)
    return kind.__module__ == 'zoneinfo' and getattr(zone, 'key', None) is not None


def _digits(n: int) -> str:
    try:
        return str(abs(n))
    except ValueError:  # beyond Python's own limit
        return '0' * (MAX_DIGITS + 1)


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == 'builtins' else f'{kind.__module__}.{kind.__qualname__}'
