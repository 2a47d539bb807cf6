"""Property tests with hypothesis: any division of the data, and any data."""

from __future__ import annotations

import json
import pickle
import unittest
from datetime import datetime, timedelta, timezone
from typing import Any, Union

import cbor2
from hypothesis import given, settings
from hypothesis import strategies as st

from dictwire import _cbor
from dictwire._core import Broken, Reader, Writer
from dictwire._values import decode, encode

from . import test_core
from .generate import same
from .transcripts import transcripts

settings.register_profile('ours', deadline=None, max_examples=60, derandomize=True, database=None)
settings.load_profile('ours')


def server_sides() -> list[tuple[dict[str, Any], bytes, int]]:
    """Returns the greeting, the server's data, and the number of records sent, of each connection in the transcripts."""
    found = []
    for transcript in transcripts():
        for connection in transcript:
            if not connection[0][1].startswith('{"dictwire"'):
                continue
            said = b''.join(text.encode() + (b'\n' if who == 'S:' else b'') for who, text in connection
                            if who[0] == 'S' and text[:1] == '{')
            found.append((json.loads(connection[0][1]), said, sum(who == 'C:' for who, _ in connection)))
    return found


def session(greeting: dict[str, Any], sent: int) -> Union[Writer, Reader]:
    """Returns a session that has sent its greeting."""
    if 'subscribe' in greeting:
        reader = Reader(greeting['subscribe'], cursor=greeting.get('cursor'))
        reader.connect(0.0, 1)
        return reader
    writer = Writer(greeting.get('topic', 'default'), greeting.get('producer', 'p'), accept_lost=True)
    writer.acked = greeting.get('acked', 0)
    for _ in range(sent):
        writer.send(b'{}')
    writer.connect(0.0, 1)
    return writer


def play(greeting: dict[str, Any], sent: int, pieces: list[bytes]) -> list[Any]:
    """Returns the events, with a Broken as its text. Records are sent as soon as possible."""
    s, events = session(greeting, sent), []
    for piece in pieces:
        events += s.receive_data(piece, 0.0)
        if isinstance(s, Writer):
            s.data_to_send()
    return [str(e) if isinstance(e, Broken) else e for e in events]


def cut(said: bytes, places: list[int]) -> list[bytes]:
    """Cuts the server's data. There is always a cut after the first two lines, when records are sent."""
    begin = said.find(b'\n', said.find(b'\n') + 1) + 1
    places = sorted([*places, begin])
    return [said[a:b] for a, b in zip([0, *places], [*places, len(said)])]


class TestCuts(unittest.TestCase):
    def test_every_byte(self) -> None:
        """Cuts at each byte, and into single bytes, do not change the events."""
        played = 0
        for greeting, said, sent in server_sides():
            want = play(greeting, sent, cut(said, []))
            played += len(want)
            for place in range(len(said) + 1):
                self.assertEqual(play(greeting, sent, cut(said, [place])), want)
            self.assertEqual(play(greeting, sent, cut(said, list(range(len(said))))), want)
        self.assertGreater(played, 40)

    @given(st.data())
    def test_pieces(self, data: st.DataObject) -> None:
        greeting, said, sent = data.draw(st.sampled_from(server_sides()))
        places = data.draw(st.lists(st.integers(0, len(said)), max_size=20))
        self.assertEqual(play(greeting, sent, cut(said, places)), play(greeting, sent, cut(said, [])))

    @given(st.randoms(use_true_random=False))
    @settings(max_examples=15)
    def test_connections(self, rng: Any) -> None:
        """If connections break anywhere, each record is settled once, in order, and each rejection is reported once."""
        test_core.Cuts('run_one').run_one(rng)


class TestHostile(unittest.TestCase):
    """Any data results in events, and settles no record that was not sent."""

    @given(st.data())
    @settings(max_examples=300)
    def test_mutated(self, data: st.DataObject) -> None:
        greeting, said, sent = data.draw(st.sampled_from(server_sides()))
        bad = bytearray(said)
        for _ in range(data.draw(st.integers(1, 4))):
            if bad:
                at = data.draw(st.integers(0, len(bad) - 1))
                bad[at:at + data.draw(st.integers(0, 3))] = data.draw(st.one_of(
                    st.binary(max_size=3), st.sampled_from([b'0', b'9', b'-1', b'"', b'[', b'{', b'null', b'\n', b'1e9',
                                                            b'9223372036854775808', b'[' * 2000])))
        s = session(greeting, sent)
        s.receive_data(bytes(bad), 0.0)
        if isinstance(s, Writer):
            s.data_to_send()
            self.assertLessEqual(s.pending, sent)
            self.assertEqual(s.size, 2 * s.pending)

    @given(st.binary(max_size=200))
    def test_cbor(self, data: bytes) -> None:
        try:
            _cbor.loads(data)
        except ValueError:
            pass


def dictionaries() -> st.SearchStrategy[dict[Any, Any]]:
    zones = st.one_of(st.none(), st.just(timezone.utc), st.timezones(),
                      st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23))))
    text = st.text(st.characters(), max_size=10)  # lone surrogates, too
    scalars = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), text, st.binary(max_size=10), st.complex_numbers(allow_nan=False),
        st.dates(), st.timedeltas(), st.decimals(allow_nan=False), st.uuids(), st.datetimes(timezones=zones), st.times())
    keys = st.recursive(scalars, lambda k: st.one_of(st.tuples(k, k), st.frozensets(k, max_size=3)), max_leaves=4)
    values = st.recursive(
        st.one_of(scalars, st.sets(keys, max_size=3), st.builds(bytearray, st.binary(max_size=5))),
        lambda v: st.one_of(st.lists(v, max_size=4), st.lists(v, max_size=4).map(tuple),
                            st.dictionaries(st.one_of(text, keys), v, max_size=4)), max_leaves=12)
    return st.dictionaries(st.one_of(text, keys), values, max_size=5)


class TestValues(unittest.TestCase):
    @given(dictionaries())
    @settings(max_examples=80)
    def test_exact(self, d: dict[Any, Any]) -> None:
        """Each dictionary is encoded without loss, as JSON or pickle."""
        record = encode(d)
        got = decode(record, 'json') if record[:1] == b'{' else pickle.loads(record)
        self.assertTrue(same(got, d), (got, d))

    @given(st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-1 << 70, 1 << 70), st.floats(), st.text(max_size=10), st.binary(max_size=10),
                  st.uuids(), st.decimals(allow_nan=False, allow_infinity=False), st.dates(),
                  st.datetimes(datetime(1, 1, 3), timezones=st.just(timezone.utc))),
        lambda v: st.one_of(st.lists(v, max_size=4), st.dictionaries(st.text(max_size=5), v, max_size=4)), max_leaves=15))
    def test_cbor(self, value: Any) -> None:
        """The result equals that of cbor2."""
        data = cbor2.dumps(value, date_as_datetime=False)
        self.assertTrue(same(_cbor.loads(data), cbor2.loads(data)), data.hex())


