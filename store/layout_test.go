package store_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dictwire/dictwire/store"
)

var update = flag.Bool("update", false, "write the golden files")

// golden are blocks whose layout is kept for good in testdata, one file each.
func golden() map[string]*store.Block {
	at := time.Date(2026, 11, 23, 10, 0, 0, 123456789, time.UTC)
	p := store.Producer{Principal: "till", Topic: "orders", Name: "till-7.k2x9"}
	loose := &store.Block{Topic: "orders.eu", Codec: "cbor", Received: at, Principal: store.Anonymous, Peer: "192.0.2.1:4711"}
	loose.Add([]byte{0xa1, 0x61, 0x61, 0x01})
	loose.Add([]byte{0xa0})
	numbered := &store.Block{
		Topic: "orders", Codec: "json", Received: at, Principal: "till", Peer: "[2001:db8::1]:4711",
		Producer: p, Epoch: 1<<32 + 7, First: 4182, Note: []byte("1a2b3c4d"),
	}
	for i := range 20 { // of one length, and compressed
		numbered.Add(fmt.Appendf(nil, `{"name": "Alice", "age": %d, "city": "Paris"}`, i+30))
	}
	rejected := &store.Block{
		Topic: store.Rejected, Codec: "cbor", Principal: "till", Producer: p, Epoch: 1<<32 + 7, First: 4202,
	}
	for i := range uint64(3) {
		rejected.Add([]byte{0xa1, 0x64, 'c', 'o', 'd', 'e', 0x66, 's', 'c', 'h', 'e', 'm', 'a'})
		r := store.Rejection{Number: 4202 + i, Code: "schema", Text: "/age: want an int"}
		if i == 2 {
			r = store.Rejection{Number: 4204, Code: "handler", Reason: "sold_out", Text: "no milk today"}
		}
		rejected.Rejected = append(rejected.Rejected, r)
	}
	timed := &store.Block{Topic: "events", Codec: "json", Principal: "sensor", Extended: true}
	for _, moment := range []int64{at.UnixNano(), at.UnixNano() + 1e6, store.UnknownTime, at.UnixNano() - 1, math.MaxInt64} {
		timed.Add([]byte(`{"t":NaN}`))
		timed.Times = append(timed.Times, moment)
	}
	return map[string]*store.Block{"loose": loose, "numbered": numbered, "rejected": rejected, "timed": timed}
}

func TestGolden(t *testing.T) {
	for name, b := range golden() {
		file := filepath.Join("testdata", "v2-"+name+".hex")
		if *update {
			if err := os.WriteFile(file, []byte(dump(b.AppendEncoded(nil, nil))), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
		if err != nil {
			t.Fatal(err)
		}
		var got store.Block
		if err := got.Decode(encoded); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if !reflect.DeepEqual(got.Clone(), b) {
			t.Errorf("%s is\n%+v, want\n%+v", file, &got, b)
		}
		// How S2 compresses may change; how all else is laid out may not.
		if again := b.AppendEncoded(nil, nil); name != "numbered" && !bytes.Equal(again, encoded) {
			t.Errorf("%s is laid out as\n%s", name, dump(again))
		}
	}
	if files, _ := filepath.Glob("testdata/v*.hex"); len(files) != len(golden()) {
		t.Errorf("%d golden files for %d blocks", len(files), len(golden()))
	}
}

// dump returns lines of 32 bytes in hexadecimal.
func dump(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		n := min(32, len(b))
		fmt.Fprintf(&s, "%x\n", b[:n])
		b = b[n:]
	}
	return s.String()
}

func blocks(t *rapid.T) *store.Block {
	b := &store.Block{
		Topic:     rapid.StringMatching(`[a-z]{1,9}(\.[a-z0-9_-]{1,9}){0,2}`).Draw(t, "topic"),
		Codec:     rapid.SampledFrom([]string{"json", "cbor"}).Draw(t, "codec"),
		Received:  time.Unix(0, rapid.Int64Range(math.MinInt64+1, math.MaxInt64).Draw(t, "received")).UTC(),
		Peer:      rapid.StringN(0, 20, 80).Draw(t, "peer"),
		Principal: rapid.StringN(0, 10, 40).Draw(t, "principal"),
		Extended:  rapid.Bool().Draw(t, "extended"),
	}
	numbered := rapid.Bool().Draw(t, "numbered")
	if numbered {
		b.Producer = store.Producer{
			Principal: b.Principal,
			Topic:     rapid.SampledFrom([]string{b.Topic, "another"}).Draw(t, "of"),
			Name:      rapid.StringMatching(`[!-~]{1,128}`).Draw(t, "name"),
		}
		b.Epoch = rapid.Uint64().Draw(t, "epoch")
		b.First = rapid.Uint64Range(1, math.MaxUint64-1000).Draw(t, "first")
		if note := rapid.SliceOfN(rapid.Byte(), 0, store.MaxNote).Draw(t, "note"); len(note) > 0 {
			b.Note = note
		}
	}
	for range rapid.IntRange(1, 40).Draw(t, "count") {
		b.Add(bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "record"), rapid.IntRange(1, 9).Draw(t, "times")))
	}
	if rapid.Bool().Draw(t, "timed") {
		for range b.Lengths {
			b.Times = append(b.Times, rapid.Int64().Draw(t, "time"))
		}
	}
	if numbered && rapid.Bool().Draw(t, "rejected") {
		for i := range b.Lengths {
			b.Rejected = append(b.Rejected, store.Rejection{
				Number: b.First + uint64(i),
				Code:   rapid.SampledFrom([]string{"schema", "handler"}).Draw(t, "code"),
				Text:   rapid.SampledFrom([]string{"", "no", strings.Repeat("long ", 200)}).Draw(t, "text"),
			})
		}
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	var got store.Block // as readers do, one for all
	rapid.Check(t, func(t *rapid.T) {
		b := blocks(t)
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		prefix := []byte("before")
		encoded, head := b.AppendWithHead(prefix, nil)
		if n, err := got.PeekHead(encoded[len(prefix):][:head]); n != head || err != nil {
			t.Fatalf("a head of %d bytes, of which %d are read, %v", head, n, err)
		}
		if n := len(encoded) - len(prefix); n > b.MaxEncoded() {
			t.Fatalf("%d bytes, and MaxEncoded says %d", n, b.MaxEncoded())
		}
		if err := got.Decode(encoded[len(prefix):]); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Clone(), b.Clone()) {
			t.Fatalf("got\n%+v, want\n%+v", got, b)
		}
	})
}

// Rejections by themselves are decoded as they were encoded, and malformed ones refused.
func TestRejections(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := blocks(t)
		got, err := store.DecodeRejections(b.First, store.AppendRejections(nil, b.Rejected))
		if err != nil || !slices.Equal(got, b.Rejected) {
			t.Fatalf("got\n%+v, %v, want\n%+v", got, err, b.Rejected)
		}
	})
	for _, bad := range []string{"\x00\x00\x00\x00", "\x01\x00\x00", "\x01\x02a\x00\x00", "\x80", "\x81\x80\x04\x00\x00\x00"} {
		if got, err := store.DecodeRejections(1, []byte(bad)); err == nil {
			t.Errorf("%q: %d rejections, want an error", bad, len(got))
		}
	}
}

// TestEveryFlippedBit flips each bit of a block, and cuts it at each byte.
func TestEveryFlippedBit(t *testing.T) {
	for name, b := range golden() {
		encoded := b.AppendEncoded(nil, nil)
		var got store.Block
		for i := range len(encoded) * 8 {
			encoded[i/8] ^= 1 << (i % 8)
			if got.Decode(encoded) == nil {
				t.Fatalf("%s: nobody saw that bit %d was flipped", name, i)
			}
			encoded[i/8] ^= 1 << (i % 8)
		}
		for i := range encoded {
			if got.Decode(encoded[:i]) == nil {
				t.Fatalf("%s: nobody saw that it was cut at byte %d", name, i)
			}
		}
	}
}

// FuzzDecode decodes what has a checksum that fits, whatever it says.
func FuzzDecode(f *testing.F) {
	for _, b := range golden() {
		encoded := b.AppendEncoded(nil, nil)
		f.Add(encoded[:len(encoded)-4])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var b store.Block
		if b.Decode(store.Seal(body)) != nil {
			return
		}
		var again store.Block
		if err := again.Decode(b.AppendEncoded(nil, nil)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(again.Clone(), b.Clone()) {
			t.Fatalf("got\n%+v, want\n%+v", again, b)
		}
	})
}

func TestParsePosition(t *testing.T) {
	for _, s := range []string{"", "k3f9.18234.5", "a.0.0", "0123456789abcdef.18446744073709551615.4294967295"} {
		if p, err := store.ParsePosition(s); err != nil || p.String() != s {
			t.Errorf("%q: %+v, %v", s, p, err)
		}
	}
	for _, s := range []string{
		"a", "a.1", "a.1.", ".1.1", "a..1", "a.1.1.1", "a.01.1", "a.1.+1", "A.1.1", "a.-1.1", " a.1.1", "a.1.1\n",
		"a.18446744073709551616.0", "a.1.4294967296", "0123456789abcdefg.1.1", "ü.1.1",
	} {
		if p, err := store.ParsePosition(s); err == nil {
			t.Errorf("%q is %+v", s, p)
		}
	}
}

func TestCheckTopic(t *testing.T) {
	for name, good := range map[string]bool{
		"a": true, "orders.eu-1.x_y": true, "_rejected": true, strings.Repeat("a", 200): true,
		"": false, ".": false, "a.": false, ".a": false, "a..b": false, "a b": false, "ä": false, "a/b": false,
		strings.Repeat("a", 201): false, "a.*": false,
	} {
		if err := store.CheckTopic(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}
