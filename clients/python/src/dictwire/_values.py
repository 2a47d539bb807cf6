"""Encoding dictionaries as records, and decoding them, without loss.

A dictionary that JSON can represent exactly is encoded as JSON, any other as a pickle of plain data. Objects of other
types are first converted by the rules of `plain`, so pickles contain no code. Received data is never unpickled.
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

MAX_DEPTH = 128  # of a record; the server has the same limit
MAX_DIGITS = 4300
BATCH = 16  # dictionaries of a list that are encoded together

Default = Callable[[Any], Any]


def _encoder() -> Callable[[Any], str]:
    """Returns a JSON encoder for plain data: that of the json module, but created once instead of for each call."""
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
    """Returns the nearest float, or a Decimal if the number would overflow to infinity or underflow to 0."""
    value = float(text)
    if value in (float('inf'), float('-inf')) or (value == 0 and re.match(r'[^eE]*[1-9]', text)):
        return Decimal(text)
    return value


_from_exact_json = json.JSONDecoder(parse_float=_float).decode
_BEYOND = re.compile(rb'[eE][+-]?0*[1-9]\d\d|\d{200}')  # matches wherever _float would return a Decimal


def encode(dictionary: Mapping[Any, Any], default: Optional[Default] = None) -> bytes:
    """Encodes a dictionary: as JSON if that is exact, else as a pickle of plain data.

    Args:
        dictionary: a dict, or an object that `plain` converts to one.
        default: a function that is called with each unsupported value, and returns a supported one.

    Raises:
        TypeError: a value is not supported; the message contains its path.
    """
    if type(dictionary) is dict and _SCALARS.issuperset(map(type, dictionary.values())) \
            and _STRINGS.issuperset(map(type, dictionary)):
        try:
            return _to_json(dictionary).encode()
        except ValueError:  # a lone surrogate or too many digits, handled below
            pass
    state = _Plain(default)
    value = state.plain(dictionary, 0)
    if not isinstance(value, dict):
        raise TypeError(f'want a dictionary, got {_name(type(dictionary))}')
    if state.json:
        try:
            return _to_json(value).encode()
        except UnicodeEncodeError:
            pass  # lone surrogates, which JSON would combine into pairs
    return pickle.dumps(value, 4)


def encode_all(dictionaries: Iterable[Mapping[Any, Any]], default: Optional[Default]) -> Iterator[bytes]:
    """Encodes dictionaries like `encode`, and yields the records.

    A list is encoded in batches, which takes a third less time. Other iterables are not read ahead, because they may
    yield the same dictionary again after changing it.
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
    """Encodes dictionaries of strings and scalars as JSON, or returns None if one contains anything else."""
    try:
        if _DICTS.issuperset(map(type, batch)) and _STRINGS.issuperset(map(type, chain.from_iterable(batch))) \
                and _SCALARS.issuperset(map(type, chain.from_iterable(map(dict.values, batch)))):
            return [_to_json(dictionary).encode() for dictionary in batch]
    except (ValueError, RuntimeError):  # a lone surrogate, too many digits, or another thread changed one
        pass
    return None


def decode(record: bytes, format: str) -> dict[Any, Any]:
    """Decodes a record in the format json or cbor. Raises ValueError if it is not a dictionary."""
    if format == 'cbor':
        value = _cbor.loads(record)
    elif format == 'json':
        from_json = _from_exact_json if _BEYOND.search(record) else _from_json
        try:
            value = from_json(record.decode('utf-8'))
        except RecursionError:
            raise ValueError('JSON is nested deeper than the stack allows') from None
    else:
        raise ValueError(f'want a record as json or cbor, got {format!r:.40}')
    if not isinstance(value, dict):
        raise ValueError(f'the record is {_name(type(value))}, want a dictionary')
    return value


FORMATS = ['json', 'cbor']  #: the formats that decode supports, preferred first


def plain(value: Any, default: Optional[Default] = None) -> Any:
    """Converts a value to plain data, as the receiver gets it.

    ===================================  =============================================================
    value                                result
    ===================================  =============================================================
    None, bool, int, float, complex,     itself
    str, bytes, bytearray, list, tuple,
    dict, OrderedDict, set, frozenset,
    datetime, date, time, timedelta,
    Decimal, UUID
    a subclass of one of these           an instance of that class: a tuple for a named tuple, a dict
                                         for a Counter
    an Enum member                       its value
    a dataclass, attrs or pydantic       a dict of its fields
    object
    a numpy scalar or array              the result of tolist(); None for NaT
    a Path                               its string
    memoryview                           bytes
    any other Mapping                    a dict
    a tzinfo of another library          its UTC offset at that time
    ===================================  =============================================================

    Raises:
        TypeError: any other value, if default is None; the message contains its path.
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
            raise TypeError(f'{self.where()}nested deeper than {MAX_DEPTH} levels, or a circular reference')
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
            except TypeError:  # a member was converted to a list or a dict
                raise TypeError(f'{self.where()}a member of a set would become a list or a dictionary') from None
            if len(made) != len(members):
                raise TypeError(f'{self.where()}two members of a set would become equal')
            return made
        if kind is datetime or kind is time:
            return self.zoned(value)
        return value

    def items(self, items: Any, depth: int) -> list[Any]:
        out = []
        self.path.append(0)
        for i, item in enumerate(items):
            if type(item) is str:  # the most common case
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
                raise TypeError(f'{self.where()}a key would become a list or a dictionary') from None
        self.path.pop()
        if len(out) != len(value):
            raise TypeError(f'{self.where()}two keys of a dictionary would become equal')
        return out

    def zoned(self, value: Any) -> Any:
        zone = value.tzinfo
        if zone is None or type(zone) is timezone or _is_zoneinfo(zone):
            return value
        offset = value.utcoffset()
        if offset is None:
            raise TypeError(f'{self.where()}a time zone ({_name(type(zone))}) without a UTC offset: use it in a '
                            'datetime, or use datetime.timezone')
        return value.replace(tzinfo=timezone(offset), fold=0)

    def other(self, value: Any, kind: type, depth: int) -> Any:
        made = self.made(value, kind)
        if made is not value:
            return self.plain(made, depth + 1)
        if self.default is not None:
            made = self.default(value)
            if type(made) is kind:
                raise TypeError(f'{self.where()}default returned another {_name(kind)}')
            return self.plain(made, depth + 1)
        raise TypeError(f'{self.where()}{_name(kind)} is not supported; convert it, or pass default=')

    def made(self, value: Any, kind: type) -> Any:
        """Converts a value that is not plain data, or returns it unchanged if no rule applies."""
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
                raise TypeError(f'{self.where()}{_name(kind)} with nanoseconds, which Python does not support: '
                                'round it, or send it as a string')
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
        if kind in 'mM':  # datetime64 and timedelta64: tolist() returns ints if they are finer than microseconds
            coarse = value.astype(f'{kind}8[us]')
            if not ((coarse == value) | (coarse != coarse)).all():
                raise TypeError(f'{self.where()}{value.dtype} with nanoseconds, which Python does not support: '
                                f'round it, for example with .astype("{kind}8[us]")')
            value = coarse
        made = value.tolist()
        if kind in 'mM' and any(isinstance(t, int) for t in value.ravel().tolist()):
            raise TypeError(f'{self.where()}{value.dtype} of a year that Python does not support')
        if type(made) is type(value):  # longdouble, which has more digits than a float
            raise TypeError(f'{self.where()}{_name(type(value))} is not supported; convert it to a float or a Decimal')
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
    """Converts an instance of a subclass to its base class."""
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
    except ValueError:  # more digits than Python converts
        return '0' * (MAX_DIGITS + 1)


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == 'builtins' else f'{kind.__module__}.{kind.__qualname__}'
