package disk_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/dictwire/dictwire/internal/crashfs"
	"github.com/dictwire/dictwire/spool"
	"github.com/dictwire/dictwire/spool/disk"
	"github.com/dictwire/dictwire/spool/spooltest"
)

// TestModel uses a spool at random, and compares it with a model.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{fs: crashfs.New(1), topics: map[string]*modelTopic{}}
		m.open(t)
		defer func() { _ = m.s.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"append": m.append,
			"settle": m.settle,
			"read":   m.read,
			"reopen": func(t *rapid.T) {
				m.close(t)
				m.open(t)
			},
			"crash": func(t *rapid.T) {
				rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
				left := m.fs.Crash(true, rng)
				m.close(t)
				m.fs = left
				m.open(t)
			},
			"": m.check,
		})
	})
}

type model struct {
	fs      *crashfs.FS
	s       *disk.Spool
	name    string
	attempt uint64
	topics  map[string]*modelTopic
}

type modelTopic struct {
	records []string // the first one has number 1
	formats []string
	acked   uint64 // as settled
}

const modelBytes = 3000

func (m *model) open(t *rapid.T) {
	s, err := disk.Open(context.Background(), "spool", &disk.Options{FS: m.fs, MaxBytes: modelBytes, NoWait: true})
	if err != nil {
		t.Fatal(err)
	}
	m.s = s
	if m.name == "" {
		m.name = s.Producer()
	}
	if s.Producer() != m.name {
		t.Fatalf("the spool is %s, was %s", s.Producer(), m.name)
	}
	n, err := s.Attempt(context.Background())
	if err != nil || n <= m.attempt {
		t.Fatalf("attempt %d after %d: %v", n, m.attempt, err)
	}
	m.attempt = n
	held, err := s.Topics(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range held {
		mt := m.topics[st.Topic]
		if st.Acked > mt.acked {
			t.Fatalf("%+v, and %d are settled", st, mt.acked)
		}
		mt.acked = st.Acked // less after a crash
	}
}

func (m *model) close(t *rapid.T) {
	if err := m.s.Close(); err != nil {
		t.Fatal(err)
	}
}

func (m *model) drawTopic(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "a.b", "c"}).Draw(t, "topic")
}

func (m *model) append(t *rapid.T) {
	topic := m.drawTopic(t)
	format := rapid.SampledFrom([]string{"json", "cbor"}).Draw(t, "format")
	mt := m.topics[topic]
	if mt == nil {
		mt = &modelTopic{}
	}
	var all [][]byte
	size := 0
	for range rapid.IntRange(1, 5).Draw(t, "records") {
		r := rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "record")
		all = append(all, r)
		size += len(r)
	}
	first, err := m.s.Append(context.Background(), topic, format, all...)
	if unsettled := m.unsettled(); errors.Is(err, spool.ErrFull) && unsettled+size > modelBytes-1500 {
		return // settled records are trimmed in whole blocks
	}
	if err != nil || first != uint64(len(mt.records))+1 {
		t.Fatalf("record %d: %v, want %d; %+v", first, err, len(mt.records)+1, m.s.Stats())
	}
	for _, r := range all {
		mt.records, mt.formats = append(mt.records, string(r)), append(mt.formats, format)
	}
	m.topics[topic] = mt
}

// unsettled returns how many bytes the spool must have.
func (m *model) unsettled() (n int) {
	for _, mt := range m.topics {
		for _, r := range mt.records[mt.acked:] {
			n += len(r)
		}
	}
	return n
}

func (m *model) settle(t *rapid.T) {
	topic := m.drawTopic(t)
	mt := m.topics[topic]
	if mt == nil {
		return
	}
	n := rapid.Uint64Range(1, uint64(len(mt.records))).Draw(t, "number")
	if err := m.s.Settle(context.Background(), topic, n, spooltest.Sum([]byte(mt.records[n-1]))); err != nil {
		t.Fatal(err)
	}
	mt.acked = max(mt.acked, n)
}

func (m *model) read(t *rapid.T) {
	topic := m.drawTopic(t)
	mt := m.topics[topic]
	if mt == nil || mt.acked == uint64(len(mt.records)) {
		return
	}
	from := rapid.Uint64Range(mt.acked+1, uint64(len(mt.records))).Draw(t, "from")
	for n := from; n <= uint64(len(mt.records)); {
		for b, err := range m.s.Read(context.Background(), topic, n) {
			if err != nil || b.First != n {
				t.Fatalf("record %d: %v, want %d", b.First, err, n)
			}
			for _, r := range b.Records {
				if string(r) != mt.records[n-1] || b.Format != mt.formats[n-1] {
					t.Fatalf("record %d is %q (%s), want %q (%s)", n, r, b.Format, mt.records[n-1], mt.formats[n-1])
				}
				n++
			}
			if rapid.Bool().Draw(t, "again") || n > uint64(len(mt.records)) {
				break
			}
		}
	}
}

// check compares the spool's state with the model.
func (m *model) check(t *rapid.T) {
	held, err := m.s.Topics(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(held) != len(m.topics) {
		t.Fatalf("topics %+v, want %d", held, len(m.topics))
	}
	records := uint64(0)
	for _, st := range held {
		mt := m.topics[st.Topic]
		want := spool.Topic{Topic: st.Topic, First: st.First, Next: uint64(len(mt.records)) + 1, Acked: mt.acked}
		if mt.acked > 0 {
			want.Sum = spooltest.Sum([]byte(mt.records[mt.acked-1]))
		}
		if st != want || st.First > mt.acked+1 {
			t.Fatalf("%+v, want %+v", st, want)
		}
		records += uint64(len(mt.records)) - mt.acked
	}
	if st := m.s.Stats(); st.Records != records || st.Bytes < int64(m.unsettled()) || st.Bytes > modelBytes {
		t.Fatalf("%+v, want %d records", st, records)
	}
}
