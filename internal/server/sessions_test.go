package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/lease"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// openIntake returns a server as seen by a connection.
func openIntake(t *testing.T, s *Server) *intake {
	t.Helper()
	s.setup()
	near, far := net.Pipe()
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return newIntake(s, dialect.NewConn(near, s.timed.Load()), &endpoint{authorize: s.Authorize}, nil)
}

// take has an anonymous session of the connection store records of JSON in the topic t.
func take(t *testing.T, in *intake, records ...[]byte) {
	t.Helper()
	session, err := in.Open(t.Context(), dialect.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := session.Write(t.Context(), dialect.WriteRequest{Topic: "t"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Take(t.Context(), &dialect.WriteBatch{Codec: json.Codec{}, Records: records}, nil); err != nil {
		t.Fatal(err)
	}
}

// crowd lets all places for first turns of strangers rest for a while.
func crowd(t *testing.T, turns *lease.Turns) {
	t.Helper()
	turns.Host("known").Turn().Known()
	for range max(runtime.GOMAXPROCS(0)/4, 1) {
		turn := turns.Host("stranger").Turn()
		if err := turn.Begin(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		turn.End()
	}
}

// A session whose welcome fails, here since the store is away, is told why and closed.
func TestFailedWelcome(t *testing.T) {
	st := awayStore{memory.New(nil), make(chan store.Producer, 1)}
	s := &Server{Topic: "default", Store: st}
	s.setup()
	near, far := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.serve(dialect.NewConn(near, s.timed.Load()), &endpoint{dialects: s.dialects.all}, nil)
	}()
	if _, err := fmt.Fprintln(far, `{"dictwire":1,"topic":"t","producer":"p"}`); err != nil {
		t.Fatal(err)
	}
	told, err := io.ReadAll(far)
	if want := `"code":"unavailable"`; err != nil || !strings.Contains(string(told), want) {
		t.Errorf("told %s, %v; want %s", told, err, want)
	}
	<-served
	if len(st.released) == 0 {
		t.Error("the producer is not released")
	}
}

// An awayStore can't list rejections.
type awayStore struct {
	store.Store
	released chan store.Producer
}

func (awayStore) Rejections(context.Context, store.Producer, uint64) iter.Seq2[store.Rejection, error] {
	return func(yield func(store.Rejection, error) bool) { yield(store.Rejection{}, store.ErrUnavailable) }
}

func (s awayStore) Release(p store.Producer, epoch uint64) {
	s.released <- p
	s.Store.Release(p, epoch)
}

// Sessions of one connection write and read concurrently.
func TestSessionsAtOnce(t *testing.T) {
	const sessions, rounds = 4, 50
	s := &Server{Topic: "default", Logger: slog.New(slog.DiscardHandler)}
	in := openIntake(t, s)
	var working sync.WaitGroup
	for i := range sessions {
		working.Go(func() {
			session, err := in.Open(t.Context(), dialect.Credentials{Worker: in.conn.Worker()})
			if err != nil {
				t.Error(err)
				return
			}
			topic := fmt.Sprint("t", i)
			w, err := session.Write(t.Context(), dialect.WriteRequest{Topic: topic, Producer: "p"})
			if err != nil {
				t.Error(err)
				return
			}
			for n := range rounds {
				d := dict.Of("n", n)
				pickled, err := pickle.Codec{}.Append(nil, d)
				if err != nil {
					t.Error(err)
				}
				for _, b := range []*dialect.WriteBatch{
					{Codec: json.Codec{}, Records: [][]byte{fmt.Appendf(nil, `{"n":%d}`, n)}},
					{Codec: pickle.Codec{}, Records: [][]byte{pickled, []byte("bad")}},
				} {
					if settled, err := w.Take(t.Context(), b, nil); err != nil || settled.Records != len(b.Records) {
						t.Errorf("%+v, %v", settled, err)
					}
				}
			}
			w.Close()
			r, err := session.Read(t.Context(), dialect.ReadRequest{Topics: []string{topic}, Forms: []dialect.Form{dialect.FormOf(json.Codec{})}})
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			var got, want strings.Builder
			for p, err := range r.Batches(t.Context()) {
				if err != nil {
					t.Error(err)
				}
				got.Write(p.Data)
			}
			for n := range rounds {
				fmt.Fprintf(&want, `{"n":%d}{"n":%d}`, n, n)
			}
			if got.String() != want.String() {
				t.Errorf("session %d has read %s", i, got.String())
			}
		})
	}
	working.Wait()
	if st := s.Stats(); st.Records != 2*sessions*rounds || st.Rejected != sessions*rounds {
		t.Errorf("%+v", st)
	}
	in.ended(nil)
}

// A dialect has forms of its own, which know the position of each record. The first form
// that can represent a record is used.
func TestForms(t *testing.T) {
	s := &Server{Topic: "default"}
	session := openSession(t, s)
	w, err := session.Write(t.Context(), dialect.WriteRequest{Topic: "t"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	b := &dialect.WriteBatch{Codec: cbor.Codec{}}
	for _, v := range []any{1, []byte{2}, 3} {
		record, err := cbor.Codec{}.Append(nil, dict.Of("n", v))
		if err != nil {
			t.Fatal(err)
		}
		b.Records = append(b.Records, record)
	}
	if _, err := w.Take(t.Context(), b, nil); err != nil {
		t.Fatal(err)
	}
	own := func(keep string) dialect.Form {
		return dialect.Form{Append: func(dst []byte, b *store.ReadBatch, i uint32, d *dict.Dict) ([]byte, error) {
			v, _ := d.Get("n")
			if _, isBytes := v.Bytes(); isBytes && keep == "" {
				return nil, &codec.LossError{Codec: "own", Path: "/n"}
			}
			return fmt.Appendf(dst, "%s%s/%d/%v ", keep, b.Block.Topic, i, v), nil
		}}
	}
	for want, forms := range map[string][]dialect.Form{
		"t/0/1 |!t/1/b'\\x02' |t/2/3 ":    {own(""), own("!")},
		"!t/0/1 !t/1/b'\\x02' !t/2/3 ":    {own("!")},
		"t/0/1 |loss":                     {own("")},
		"\xa1an\x01\xa1anA\x02\xa1an\x03": {own(""), dialect.FormOf(cbor.Codec{})},
	} {
		r, err := session.Read(t.Context(), dialect.ReadRequest{Topics: []string{"t"}, Forms: forms})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for p, err := range r.Batches(t.Context()) {
			if f := (*fault.Error)(nil); errors.As(err, &f) {
				got = append(got, string(f.Code))
			} else if err != nil {
				t.Fatal(err)
			}
			if p.Block != nil && err == nil {
				got = append(got, string(p.Data))
			}
		}
		r.Close()
		if !slices.Equal(got, strings.Split(want, "|")) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
