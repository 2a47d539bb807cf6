package dialect_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/msgpack"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
)

// A body has all of its bytes, and reveals them step by step: a source that is not a
// connection.
type body struct {
	all     []byte
	at, end int
	step    int
}

func (b *body) Buffered() []byte { return b.all[b.at:b.end] }
func (b *body) Discard(n int)    { b.at += n }
func (b *body) Offset() int64    { return int64(b.at) }

func (b *body) More(context.Context, bool, dialect.Holder) error {
	if b.end == len(b.all) {
		return io.EOF
	}
	b.end = min(b.end+b.step, len(b.all))
	return nil
}

// A sequence is found in any source, however its bytes arrive.
func TestSequenceOfBytes(t *testing.T) {
	for _, test := range []struct {
		codec  codec.Codec
		strict bool
		text   string
		want   string
	}{
		{json.Codec{}, false, "{\"a\":1}\n{\"b\":2}{\"c\":3}", `{"a":1} {"b":2} {"c":3}`},
		{json.Codec{}, false, "[{\"a\":1},7,\n{\"b\":2}]", `{"a":1} !not_a_dictionary@9 {"b":2}`},
		{json.Codec{}, false, "{\"a\":1}\n{\"b\":oops}\n{\"c\":3}\n{\"d\"", `{"a":1} !malformed@13 {"c":3} !truncated@31`},
		{json.Codec{}, true, "{\"a\":1}\n{\"b\":oops}\n{\"c\":3}", `{"a":1} !malformed@13 ends: malformed`},
		{msgpack.Codec{}, false, "\x81\xa1a\x01\x81\xa1b\x02", "\x81\xa1a\x01 \x81\xa1b\x02"},
		{json.Codec{}, false, "", ""},
	} {
		for _, step := range []int{1, 2, 3, 7, 1000} {
			q := dialect.NewSequence(&body{all: []byte(test.text), step: step}, test.codec, codec.Limits{})
			q.Strict = test.strict
			var got []string
			err := q.Each(t.Context(), func(b *dialect.WriteBatch) error {
				for i, r := range b.Records {
					if k := slices.IndexFunc(b.Bad, func(bad dialect.Bad) bool { return bad.Index == i }); k >= 0 {
						got = append(got, fmt.Sprintf("!%s@%d", b.Bad[k].Err.Code, b.Bad[k].Err.At))
						continue
					}
					got = append(got, string(r))
				}
				return nil
			})
			var f *fault.Error
			if errors.As(err, &f) {
				got = append(got, "ends: "+string(f.Code))
			} else if err != nil {
				t.Error(err)
			}
			text := ""
			for i, g := range got {
				if i > 0 {
					text += " "
				}
				text += g
			}
			if text != test.want {
				t.Errorf("%q in steps of %d:\n%s, want\n%s", test.text, step, text, test.want)
			}
		}
	}
}

// The errors for unreadable records are limited, however many a peer sends at once.
func TestBadRecordsAreFewAtATime(t *testing.T) {
	const all = 10_000
	q := dialect.NewSequence(&body{all: bytes.Repeat([]byte("7\n"), all), step: 1 << 20}, json.Codec{}, codec.Limits{})
	bad := 0
	if err := q.Each(t.Context(), func(b *dialect.WriteBatch) error {
		if bad += len(b.Bad); len(b.Bad) > 64 {
			return fmt.Errorf("%d at once", len(b.Bad))
		}
		return nil
	}); err != nil || bad != all {
		t.Errorf("%d bad records, %v", bad, err)
	}
}
