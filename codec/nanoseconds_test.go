package codec_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/codec/python"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/substitute"
	"github.com/dictwire/dictwire/internal/testrand"
)

// The nanoseconds of a Go program pass through CBOR and MessagePack, and are in texts,
// whatever their digits and the zone.
func TestNanoseconds(t *testing.T) {
	for _, nanos := range []int{0, 1, 789, 1_000, 123_456_000, 123_456_789, 999_999_999} {
		for _, zone := range []*time.Location{time.UTC, time.FixedZone("", 3600), time.FixedZone("", -86399)} {
			want := time.Date(2013, 3, 21, 20, 4, 0, nanos, zone)
			for _, c := range []codec.Codec{cbor.Codec{}, msgpack.Codec{}} {
				if c.Name() == "msgpack" && zone != time.UTC {
					continue
				}
				b, err := c.Append(nil, dict.Of("t", want, "d", time.Duration(nanos)))
				if c.Name() == "msgpack" {
					b, err = c.Append(nil, dict.Of("t", want))
				}
				if err != nil {
					t.Fatal(err)
				}
				d, err := c.Decode(b, codec.Limits{})
				if err != nil {
					t.Fatal(err)
				}
				var got struct {
					T time.Time     `dict:"t"`
					D time.Duration `dict:"d"`
				}
				if err := d.To(&got); err != nil || !got.T.Equal(want) || c.Name() == "cbor" && got.D != time.Duration(nanos) {
					t.Errorf("%s: %v became %v, %v, %v", c.Name(), want, got.T, got.D, err)
				}
			}
			text := string(json.Render(nil, dict.Of("t", want), nil))
			layout := "2006-01-02T15:04:05.000000000-07:00"
			switch {
			case nanos == 0:
				layout = "2006-01-02T15:04:05-07:00"
			case nanos%1000 == 0:
				layout = "2006-01-02T15:04:05.000000-07:00"
			}
			if _, offset := want.Zone(); offset%60 == 0 && text != `{"t":"`+want.Format(layout)+`"}` {
				t.Errorf("%v is written as %s", want, text)
			}
		}
	}
}

// Python has no nanoseconds: they are a named loss, or cut off.
func TestNanosecondsInPython(t *testing.T) {
	at := must(dict.DateTime{Date: dict.Date{Year: 2013, Month: 3, Day: 21}, TimeOfDay: dict.TimeOfDay{Microsecond: 5, Nanosecond: 7}}.Value())
	clock := must(dict.TimeOfDay{Hour: 1, Nanosecond: 7, Zone: dict.NamedFixedZone(time.Hour, "CET")}.Value())
	delta := must(dict.TimeDelta{Days: -1, Nanoseconds: 999}.Value())
	same := new(dict.Dict)
	set := must(dict.SetOf(clock))
	for i, nanos := range []int{1, 2} {
		k := must(dict.TimeDelta{Nanoseconds: nanos}.Value())
		if err := same.SetKey(dict.Tuple(k), dict.Int(int64(i))); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		d               *dict.Dict
		want, lossy, is string
	}{
		{dict.Of("a", []any{at}), "/a/0: %s can't hold a datetime", "{'a': [datetime.datetime(2013, 3, 21, 0, 0, 0, 5)]}", "{'a': [datetime.datetime(2013, 3, 21, 0, 0, 0, 5, nanosecond=7)]}"},
		{dict.Of("nanosecond", dict.Tuple(set)), "", "{'nanosecond': ({datetime.time(1, 0, tzinfo=datetime.timezone(datetime.timedelta(seconds=3600), 'CET'))},)}", ""},
		{dict.Of("a", dict.Of("b", delta)), "/a/b: %s can't hold a timedelta", "{'a': {'b': datetime.timedelta(days=-1)}}", "{'a': {'b': datetime.timedelta(days=-1, nanoseconds=999)}}"},
		{dict.Of("a", dict.Of(delta, 1).Ordered()), "/a: %s can't hold a timedelta as a key", "{'a': OrderedDict({datetime.timedelta(days=-1): 1})}", ""},
		{dict.Of("a", "nanosecond"), "-", "{'a': 'nanosecond'}", "{'a': 'nanosecond'}"},
		{dict.Of("a", same), "", "", ""},
	} {
		if test.is != "" && test.d.String() != test.is {
			t.Errorf("repr is %v, want %s", test.d, test.is)
		}
		for _, c := range []struct{ strict, lossy codec.Codec }{
			{pickle.Codec{}, pickle.Codec{Lossy: true}}, {python.Codec{}, python.Codec{Lossy: true}},
		} {
			name := c.strict.Name()
			b, err := c.strict.Append([]byte("x"), test.d)
			var loss *codec.LossError
			switch {
			case test.want == "-":
				if err != nil {
					t.Errorf("%s: %v: %v", name, test.d, err)
				}
			case !errors.As(err, &loss) || string(b) != "x" || test.want != "" && loss.Text() != fmt.Sprintf(test.want, name):
				t.Errorf("%s: %v: %q, %v", name, test.d, b, err)
			}
			b, err = c.lossy.Append(nil, test.d)
			if test.lossy == "" {
				if !errors.As(err, &loss) || !loss.Key {
					t.Errorf("%s: two keys that become one: %q, %v", name, b, err)
				}
				continue
			}
			d, err := c.lossy.Decode(b, codec.Limits{})
			if err != nil || d.String() != test.lossy {
				t.Errorf("%s: %v became %v, %v, want %s", name, test.d, d, err, test.lossy)
			}
		}
	}
}

// Without its nanoseconds, a generated dictionary is one that Python can represent.
func TestCutNanoseconds(t *testing.T) {
	g := codectest.NewGenerator(codectest.Seed(t), dict.Kinds(), dict.Kinds())
	cuts := 0
	for range testrand.Many(3000) {
		d := g.Dict()
		before := substitute.LossOfNanoseconds("python", d.Value())
		v, loss := substitute.CutNanoseconds("python", d.Value())
		if loss != nil {
			continue // two keys became one
		}
		if before != nil {
			cuts++
		} else if !dict.Equal(v, d.Value()) {
			t.Fatalf("%v became %v", d, v)
		}
		if again := substitute.LossOfNanoseconds("python", v); again != nil {
			t.Fatal(again)
		}
	}
	if cuts < testrand.Many(100) {
		t.Errorf("only %d had nanoseconds", cuts)
	}
}
