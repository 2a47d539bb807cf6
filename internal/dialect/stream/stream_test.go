package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/dialect/stream"
	"github.com/dictwire/dictwire/internal/lease"
	"github.com/dictwire/dictwire/store"
)

// An intake records what it is given, and answers each record by answer.
type intake struct {
	dialect.Operator // nil: a bare sequence asks nothing

	batches  [][]string
	rejected []string // code and bytes
	answer   func(record string) (dialect.Answer, error)
}

func (in *intake) Open(context.Context, dialect.Credentials) (dialect.Session, error) {
	return in, nil
}

func (in *intake) Principal() string { return store.Anonymous }

func (in *intake) Write(context.Context, dialect.WriteRequest) (dialect.Writer, error) {
	return in, nil
}

func (in *intake) Read(context.Context, dialect.ReadRequest) (dialect.Reader, error) {
	return nil, errors.New("a bare sequence reads nothing")
}

func (in *intake) Claim() store.Claim { return store.Claim{} }

func (in *intake) Rejections(context.Context, uint64) iter.Seq2[store.Rejection, error] {
	return func(func(store.Rejection, error) bool) {}
}

func (in *intake) Close() {}

func (in *intake) Submitter(context.Context, func(dialect.Settled, error)) func(*dialect.WriteBatch) (bool, error) {
	return nil
}

func (in *intake) Take(_ context.Context, b *dialect.WriteBatch, answer func(dialect.Answer) error) (dialect.Settled, error) {
	var batch []string
	bad := b.Bad
	for i, r := range b.Records {
		if len(bad) > 0 && bad[0].Index == i {
			in.rejected = append(in.rejected, fmt.Sprintf("%s %s", bad[0].Err.Code, r))
			if err := answer(dialect.Answer{Index: i, Err: bad[0].Err, Bad: true}); err != nil {
				return dialect.Settled{Records: i}, err
			}
			bad = bad[1:]
			continue
		}
		batch = append(batch, string(r))
		if in.answer == nil {
			continue
		}
		a, err := in.answer(string(r))
		if err != nil {
			return dialect.Settled{Records: i}, err
		}
		if a.Reply == nil && a.Err == nil {
			continue
		}
		if err := answer(a); err != nil {
			return dialect.Settled{Records: i}, err
		}
	}
	in.batches = append(in.batches, batch)
	return dialect.Settled{Records: len(b.Records)}, nil
}

// converse serves one connection on which the given pieces arrive, with time between them.
// It returns what the peer is told and the result of Serve.
func converse(t *testing.T, in *intake, pieces ...string) (told string, ended error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		rules := &dialect.Rules{
			Memory: lease.NewBudget(16<<20, 2<<20), Building: lease.NewPot(8 << 20), Reading: lease.NewBudget(8<<20, 2<<20), Turns: lease.NewTurns(), MaxRecord: 1 << 20,
			FirstTimeout: time.Minute, OpenTimeout: 10 * time.Second, IdleTimeout: time.Hour, RecordTimeout: time.Minute, WriteTimeout: time.Second,
		}
		c := dialect.NewConn(server, rules)
		heard := make(chan string)
		go func() {
			all, _ := io.ReadAll(client)
			heard <- string(all)
		}()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for _, p := range pieces {
				if _, err := io.WriteString(client, p); err != nil {
					return // it was cut off
				}
				synctest.Wait()
			}
			time.Sleep(time.Second)
			c.Drain() // a pipe can't be half-closed
		}()
		d := stream.Kind.New(dialect.Config{
			Codecs: map[string]codec.Codec{"json": json.Codec{}}, Limits: func() codec.Limits { return codec.Limits{} },
		})
		if _, err := c.Sniff(t.Context(), nil); err != nil {
			t.Error(err)
		}
		serving, err := d.Open(t.Context(), c, in)
		if err == nil {
			err = serving.Close(serving.Serve(t.Context()))
		}
		ended = err
		if c.Codec == nil {
			t.Error("the connection has no codec for its errors")
		}
		_ = c.Flush()
		_ = c.Abort()
		told = <-heard
		<-sent
		_ = client.Close()
	})
	return told, ended
}

// Records that arrive together are passed on together, at most 4,096.
func TestBatches(t *testing.T) {
	in := new(intake)
	if told, err := converse(t, in, `{"a":1}{"a":2}{"a"`, `:3}`, strings.Repeat(`{}`, 20000)); told != "" || err != nil {
		t.Errorf("told %q, %v", told, err)
	}
	var sizes []int
	for _, b := range in.batches {
		sizes = append(sizes, len(b))
	}
	sum := 0
	for _, n := range sizes {
		sum += n
	}
	if !slices.Equal(sizes[:2], []int{2, 1}) || sum != 20003 || slices.Max(sizes) != 4096 {
		t.Errorf("batches of %v", sizes)
	}
	if got := fmt.Sprint(in.batches[:2]); got != `[[{"a":1} {"a":2}] [{"a":3}]]` {
		t.Error(got)
	}
}

// Replies and rejections are in the order of the records, each on a line.
func TestAnswers(t *testing.T) {
	in := &intake{answer: func(record string) (dialect.Answer, error) {
		switch record {
		case `{"a":1}`:
			return dialect.Answer{Reply: dict.Of("one", 1)}, nil
		case `{"a":2}`:
			return dialect.Answer{Err: &fault.Error{Code: fault.Handler, Text: "no", At: -1}}, nil
		default:
			return dialect.Answer{}, nil
		}
	}}
	told, err := converse(t, in, `{"a":1}{"a":2}{"a":3}{"a":1}`)
	if want := "{\"one\":1}\n{\"error\":\"no\",\"code\":\"handler\"}\n{\"one\":1}\n"; told != want || err != nil {
		t.Errorf("told %q, %v, want %q", told, err, want)
	}
}

// An error of the intake ends the connection.
func TestIntakeFails(t *testing.T) {
	full := &fault.Error{Code: fault.Unavailable, Text: "full"}
	in := &intake{answer: func(string) (dialect.Answer, error) { return dialect.Answer{}, full }}
	if _, err := converse(t, in, `{"a":1}`); !errors.Is(err, full) {
		t.Errorf("Serve = %v", err)
	}
}

// Bad records are rejected with their bytes and reported with their offset in the
// connection, and the good ones around them are stored. Only a fault after which no record
// can be found ends the sequence.
func TestFaults(t *testing.T) {
	in := new(intake)
	told, err := converse(t, in, "{\"a\":1}\n{\"b\":oops}\n{\"c\":2}\n[3]\n{\"d\":4}\n")
	if got := fmt.Sprint(in.batches); got != `[[{"a":1} {"c":2} {"d":4}]]` || err != nil {
		t.Errorf("taken in: %s, %v", got, err)
	}
	if want := []string{"malformed {\"b\":oops}\n", "not_a_dictionary [3]"}; !slices.Equal(in.rejected, want) {
		t.Errorf("rejected %q, want %q", in.rejected, want)
	}
	want := `{"error":"json: want a value, got 'o' (at byte 5, in /b)","code":"malformed","at":13}` + "\n" +
		`{"error":"json: want a dictionary, got a list (at byte 0); wrap it, as in {\"value\": …}","code":"not_a_dictionary","at":27}` + "\n"
	if told != want {
		t.Errorf("told %s\nwant %s", told, want)
	}

	in = new(intake)
	told, err = converse(t, in, "{\n\"a\":1}\n{\n\"b\":oops}\n{\"c\":2}\n")
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != fault.Malformed || f.At != 15 || told != "" {
		t.Errorf("Serve = %#v, told %q", err, told) // the server sends the last fault
	}
	if got := fmt.Sprint(in.batches); got != "[[{\n\"a\":1}]]" {
		t.Errorf("taken in: %q", got)
	}
}

// A peer is told of 16 bad records, so that one that never reads is not blocked.
func TestToldOften(t *testing.T) {
	in := new(intake)
	told, err := converse(t, in, strings.Repeat("{\"a\":oops}\n", 30)+`{"a":1}`)
	if got := strings.Count(told, "\n"); got != 16 || len(in.rejected) != 30 || len(in.batches[0]) != 0 || err != nil {
		t.Errorf("told %d times, %d rejected, %d batches, %v", got, len(in.rejected), len(in.batches), err)
	}
}
