package dictwire_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/spool"
)

// A memorySpool is a spool that does not survive the test.
type memorySpool struct {
	delay time.Duration // of Append
	late  time.Duration // of its return

	mu      sync.Mutex
	attempt uint64
	topics  map[string]*spooledTopic
	full    error         // what Append returns
	changed chan struct{} // closed at the next Append
	settles []string      // what Settle was told
	damaged [2]uint64     // numbers from one on, below another, that can't be read
}

type spooledTopic struct {
	spool.Topic
	formats []string
	records []string // the first is record 1
}

func newSpool() *memorySpool {
	return &memorySpool{topics: make(map[string]*spooledTopic), changed: make(chan struct{})}
}

func (s *memorySpool) Producer() string { return "spool" }

func (s *memorySpool) Attempt(context.Context) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempt++
	return s.attempt, nil
}

func (s *memorySpool) Append(ctx context.Context, topic, format string, records ...[]byte) (uint64, error) {
	if s.delay > 0 {
		time.Sleep(s.delay)
	}
	defer func() { time.Sleep(s.late) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full != nil || ctx.Err() != nil {
		return 0, errors.Join(s.full, ctx.Err())
	}
	t := s.topics[topic]
	if t == nil {
		t = &spooledTopic{Topic: spool.Topic{Topic: topic, First: 1, Next: 1}}
		s.topics[topic] = t
	}
	first := t.Next
	for _, r := range records {
		t.records, t.formats = append(t.records, string(r)), append(t.formats, format)
		t.Next++
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return first, nil
}

func (s *memorySpool) Topics(context.Context) ([]spool.Topic, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []spool.Topic
	for _, t := range s.topics {
		all = append(all, t.Topic)
	}
	return all, nil
}

func (s *memorySpool) Read(ctx context.Context, topic string, from uint64) iter.Seq2[spool.Batch, error] {
	return func(yield func(spool.Batch, error) bool) {
		for ctx.Err() == nil {
			s.mu.Lock()
			var b spool.Batch
			if t := s.topics[topic]; t != nil {
				from = max(from, t.First)
				for i := from; i < t.Next && (i < s.damaged[0] || i >= s.damaged[1]) && t.formats[i-1] == t.formats[from-1] && len(b.Records) < 3; i++ {
					b.Records = append(b.Records, []byte(t.records[i-1]))
					b.Format = t.formats[i-1]
				}
			}
			b.First = from
			if d := s.damaged; from >= d[0] && from < d[1] {
				s.mu.Unlock()
				yield(spool.Batch{}, &spool.GapError{From: from, To: d[1], Err: errors.New("damaged")})
				return
			}
			changed := s.changed
			s.mu.Unlock()
			if len(b.Records) > 0 {
				if !yield(b, nil) {
					return
				}
				from += uint64(len(b.Records))
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

func (s *memorySpool) Settle(_ context.Context, topic string, number uint64, sum uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[topic]
	if number > t.Acked {
		t.Acked, t.Sum, t.First = number, sum, number+1
	}
	s.settles = append(s.settles, fmt.Sprintf("%s %d %08x", topic, number, sum))
	return nil
}

// fill puts the records 1 to count of topic t into the spool.
func (s *memorySpool) fill(t *testing.T, count int) {
	t.Helper()
	for i := 1; i <= count; i++ {
		if _, err := s.Append(t.Context(), "t", "json", []byte(line(i))); err != nil {
			t.Fatal(err)
		}
	}
}

// A record is in the spool before its first byte is sent, and Send returns when it
// is settled, which the spool is told.
func TestSpool(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		sp := newSpool()
		sp.delay = time.Hour
		c := srv.dial(dictwire.Dialer{Spool: sp})
		done := send(c, "t", n(1))
		at := time.Now()
		p := srv.accept()
		if d := time.Since(at); d < time.Hour {
			t.Errorf("connected after %v", d)
		}
		g := p.welcome(1)
		if g.Producer != "spool" || g.Attempt != 1 || g.Acked != 0 || g.First != 1 {
			t.Errorf("greeting %+v", g)
		}
		p.want(line(1))
		synctest.Wait()
		if len(done) > 0 {
			t.Error("Send did not wait")
		}
		p.say(`{"rejected":1,"code":"schema","error":"no"}`)
		p.ack(1)
		var rejected *dictwire.RejectedError
		if r := <-done; !errors.As(r.err, &rejected) || string(rejected.Record) != line(1) {
			t.Errorf("Send = %+v", r)
		}
		synctest.Wait()
		if want := []string{"t 1 " + sum(line(1))}; !slices.Equal(sp.settles, want) {
			t.Errorf("settled %q", sp.settles)
		}
		settled(t, c)
		p.ended()
	})
}

// A client begins to send what the spool holds, without being asked, and resumes
// where the server says.
func TestSpoolResumes(t *testing.T) {
	for name, test := range map[string]struct {
		next   int
		sum    string
		resent []int
		err    error
	}{
		"all is there":            {6, sum(line(5)), nil, nil},
		"some are there":          {4, sum(line(3)), []int{4, 5}, nil},
		"none came":               {3, sum(line(2)), []int{3, 4, 5}, nil},
		"the sum is not known":    {4, "", []int{4, 5}, nil},
		"another in flight":       {4, sum(line(4)), nil, dictwire.ErrConflict},
		"another that is acked":   {3, sum(line(1)), nil, dictwire.ErrConflict},
		"an old copy came back":   {7, sum(line(6)), nil, dictwire.ErrConflict},
		"the server went back":    {2, "", nil, dictwire.ErrLost},
		"the newest is another's": {6, sum(line(4)), nil, dictwire.ErrConflict},
	} {
		t.Run(name, func(t *testing.T) {
			scriptedTest(t, func(t *testing.T, srv *scripted) {
				sp := newSpool()
				sp.fill(t, 5)
				sp.topics["t"].Acked, sp.topics["t"].Sum = 2, crc(line(2))
				sp.topics["t"].First = 3
				c := srv.dial(dictwire.Dialer{Spool: sp})
				p := srv.accept()
				if g := p.greeting(); g.Acked != 2 || g.First != 3 {
					t.Errorf("greeting %+v", g)
				}
				m := `{"dictwire":1,"next":` + itoa(test.next)
				if test.sum != "" {
					m += `,"sum":"` + test.sum + `"`
				}
				p.say(m + "}")
				done := flush(c)
				if test.err != nil {
					if err := <-done; !errors.Is(err, test.err) {
						t.Errorf("Flush = %v, want %v", err, test.err)
					}
					settled(t, c)
					p.ended()
					return
				}
				for _, i := range test.resent {
					p.want(line(i))
				}
				p.ack(test.next - 1)
				p.ack(5)
				if err := <-done; err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if got := sp.topics["t"]; got.Acked != 5 || got.Sum != crc(line(5)) {
					t.Errorf("the spool stands at %+v", got.Topic)
				}
				settled(t, c)
			})
		})
	}
}

// A client whose spool is damaged sends what is before, and stops, or goes on behind
// where that is accepted. What the server has already is not missed.
func TestSpoolDamaged(t *testing.T) {
	for name, test := range map[string]struct {
		accepts bool
		next    int   // of the first session
		sent    []int // in it
		err     error // of Flush
		again   int   // the first record of the next session; 0: there is none
	}{
		"told":              {false, 1, []int{1, 2}, spool.ErrDamaged, 0},
		"accepted":          {true, 1, []int{1, 2}, spool.ErrDamaged, 5},
		"the server has it": {false, 5, nil, nil, 5},
		"it has the first":  {true, 4, nil, spool.ErrDamaged, 5},
	} {
		t.Run(name, func(t *testing.T) {
			scriptedTest(t, func(t *testing.T, srv *scripted) {
				sp := newSpool()
				sp.fill(t, 6)
				sp.damaged = [2]uint64{3, 5}
				c := srv.dial(dictwire.Dialer{Spool: sp, AcceptLost: test.accepts})
				p := srv.accept()
				if g := p.greeting(); g.First != 1 || g.AcceptLost {
					t.Errorf("greeting %+v", g)
				}
				p.say(`{"dictwire":1,"next":` + itoa(test.next) + `}`)
				p.ack(test.next - 1)
				for _, i := range test.sent {
					p.want(line(i))
				}
				if n := len(test.sent); n > 0 {
					p.ack(test.sent[n-1])
				}
				p.ended()
				if test.again > 0 {
					p = srv.accept()
					g := p.greeting()
					if g.AcceptLost != test.accepts || g.First > uint64(test.again) {
						t.Errorf("the second greeting %+v", g)
					}
					p.say(`{"dictwire":1,"next":` + itoa(test.again) + `}`)
					p.ack(test.again - 1)
					p.want(line(5), line(6))
					p.ack(6)
				}
				if err := <-flush(c); !errors.Is(err, test.err) {
					t.Errorf("Flush = %v, want %v", err, test.err)
				}
				if !test.accepts {
					settled(t, c)
				} else if err := c.Close(); err == nil || !strings.HasSuffix(err.Error(), "not settled") {
					t.Errorf("Close = %v, want what is not settled", err)
				}
			})
		})
	}
}

// Send and Flush return at the spool if asked, whatever the server does.
func TestAtSpool(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		sp := newSpool()
		rejected := make(chan uint64, 1)
		c := srv.dial(dictwire.Dialer{Spool: sp, AtSpool: true, OnRejected: func(e *dictwire.RejectedError) { rejected <- e.Number }})
		sendAsync(t, c, 2)
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if r := <-send(c, "t", n(3)); r.err != nil {
			t.Error(r.err)
		}
		if got := sp.topics["t"].records; !slices.Equal(got, []string{line(1), line(2), line(3)}) {
			t.Errorf("%q", got)
		}
		p := srv.accept()
		p.welcome(1)
		p.want(line(1), line(2), line(3))
		p.say(`{"rejected":3,"code":"schema","error":"no"}`)
		p.ack(3)
		if number := <-rejected; number != 3 {
			t.Errorf("%d is rejected", number)
		}
		settled(t, c)
	})
}

// A record may be settled before it is known to be in the spool.
func TestSpoolOvertaken(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		sp := newSpool()
		c := srv.dial(dictwire.Dialer{Spool: sp})
		done := send(c, "t", n(1))
		p := srv.accept()
		p.welcome(1)
		p.want(line(1))
		p.ack(1)
		if r := <-done; r.err != nil {
			t.Error(r.err)
		}
		sp.late = time.Second
		done = send(c, "t", n(2))
		p.want(line(2))
		p.say(`{"rejected":2,"code":"schema","error":"no"}`)
		p.ack(2)
		var rejected *dictwire.RejectedError
		if r := <-done; !errors.As(r.err, &rejected) {
			t.Errorf("Send = %v", r.err)
		}
		settled(t, c)
	})
}

// What does not get into the spool is not sent, and said.
func TestSpoolFails(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		sp := newSpool()
		sp.full = fmt.Errorf("full: %w", spool.ErrFull)
		c := srv.dial(dictwire.Dialer{Spool: sp})
		if r := <-send(c, "t", n(1)); !errors.Is(r.err, spool.ErrFull) {
			t.Errorf("Send = %v", r.err)
		}
		sendAsync(t, c, 2)
		err := c.Flush(t.Context()) // whether they are tried together or not
		if text := fmt.Sprint(err); !errors.Is(err, spool.ErrFull) ||
			!strings.Contains(text, "2 records of topic t") && strings.Count(text, "1 record of topic t") != 2 {
			t.Errorf("Flush = %v", err)
		}
		srv.silent()
		sp.full = nil
		done := send(c, "t", n(3))
		p := srv.accept()
		p.welcome(1)
		p.want(line(3))
		p.ack(1)
		if r := <-done; r.err != nil {
			t.Error(r.err)
		}
		if err := c.Close(); err == nil || !strings.Contains(err.Error(), "2 records") {
			t.Errorf("Close = %v", err)
		}
	})
}

// Flush waits for what is in the spool, also where what comes behind it does not
// get there.
func TestFlushBehindFailure(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		sp := newSpool()
		c := srv.dial(dictwire.Dialer{Spool: sp})
		sendAsync(t, c, 1)
		p := srv.accept()
		p.welcome(1)
		p.want(line(1))
		sp.full, sp.delay = spool.ErrFull, time.Second
		sent, flushed := send(c, "t", n(2)), flush(c)
		if r := <-sent; !errors.Is(r.err, spool.ErrFull) {
			t.Errorf("Send = %v", r.err)
		}
		synctest.Wait()
		select {
		case err := <-flushed:
			t.Fatalf("Flush = %v before record 1 was settled", err)
		default:
		}
		p.ack(1)
		if err := <-flushed; err != nil {
			t.Error(err)
		}
		settled(t, c)
	})
}

// Close puts into the spool what was sent.
func TestSpoolClose(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		sp := newSpool()
		sp.delay = time.Second
		c := srv.dial(dictwire.Dialer{Spool: sp})
		sendAsync(t, c, 1)
		done := send(c, "t", n(2))
		settled(t, c)
		if r := <-done; !errors.Is(r.err, dictwire.ErrClientClosed) {
			t.Errorf("Send = %v", r.err)
		}
		if got := sp.topics["t"].records; !slices.Equal(got, []string{line(1), line(2)}) {
			t.Errorf("%q", got)
		}

		sp.delay = time.Minute // more than Close waits
		c = srv.dial(dictwire.Dialer{Spool: sp})
		p := srv.accept()
		p.welcome(3, sum(line(2)))
		sendAsync(t, c, 1)
		if err := c.Close(); err == nil || err.Error() != "dictwire: close: 1 record not settled" {
			t.Errorf("Close = %v", err)
		}
	})
}

// Where a spool's records are of several formats, each gets a session of its own;
// no more is read from it than fits into the window.
func TestSpoolFormats(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		sp := newSpool()
		sp.fill(t, 5)
		two, _ := cbor.Codec{}.Append(nil, n(6))
		if _, err := sp.Append(t.Context(), "t", "cbor", two); err != nil {
			t.Fatal(err)
		}
		c := srv.dial(dictwire.Dialer{Spool: sp, Codec: cbor.Codec{}, WindowRecords: 2})
		p := srv.accept()
		if g := p.greeting(); g.Format != "cbor" {
			t.Errorf("greeting %+v", g)
		}
		p.say(`{"dictwire":1,"next":1}`)
		p.ended()
		p = srv.accept()
		if g := p.welcome(1); g.Format != "json" {
			t.Errorf("greeting %+v", g)
		}
		p.want(line(1), line(2))
		_ = p.conn.SetReadDeadline(time.Now().Add(time.Second))
		if b, err := p.in.ReadByte(); err == nil {
			t.Fatalf("%q above the window", b)
		}
		p.ack(2)
		p.want(line(3), line(4))
		p.ack(4)
		p.want(line(5))
		p.ack(5)
		p.ended()
		p = srv.accept()
		if g := p.welcome(6, sum(line(5))); g.Format != "cbor" {
			t.Errorf("greeting %+v", g)
		}
		got := make([]byte, len(two))
		if _, err := p.in.Read(got); err != nil || string(got) != string(two) {
			t.Fatalf("%x, %v", got, err)
		}
		p.ack(6)
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		settled(t, c)
	})
}

// The sender of a topic that was settled and idle goes on when the spool gets more.
func TestSpoolIdle(t *testing.T) {
	scriptedTest(t, func(t *testing.T, srv *scripted) {
		sp := newSpool()
		c := srv.dial(dictwire.Dialer{Spool: sp, IdleTimeout: time.Second})
		for i := 1; i <= 2; i++ {
			done := send(c, "t", n(i))
			p := srv.accept()
			if g := p.welcome(i); g.Acked != uint64(i-1) || g.First != uint64(i) {
				t.Errorf("greeting %+v", g)
			}
			p.want(line(i))
			p.ack(i)
			if r := <-done; r.err != nil {
				t.Error(r.err)
			}
			time.Sleep(5 * time.Second)
			p.ack(i)
			p.ended()
		}
		settled(t, c)
	})
}

// Records come and go through a spool while connections break and the client is
// made anew.
func TestSpoolExactlyOnce(t *testing.T) {
	addr := start(t, &dictwire.Server{Handler: dictwire.HandlerFunc(judge)})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sp := newSpool()
	const count, lives = 400, 5
	for life := range lives {
		cut := &cutter{seed: uint64(life), up: 2000, down: 6000}
		c, err := dictwire.Dialer{
			Spool: sp, DialContext: cut.dial, MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond, WindowRecords: 100,
		}.Dial(ctx, addr)
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; i <= count; i++ {
			if err := c.SendAsync(ctx, "t", n(life*count+i)); err != nil {
				t.Fatal(err)
			}
		}
		if life == lives-1 {
			var rejected *dictwire.RejectedError
			if err := c.Flush(ctx); err != nil && !errors.As(err, &rejected) {
				t.Error(err)
			}
		}
		settled(t, c)
	}
	c, err := dictwire.Dialer{Codec: json.Codec{}}.Dial(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := 1
	for b, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{}) {
		if err != nil {
			t.Fatal(err)
		}
		for d := range b.All() {
			if want%7 == 0 {
				want++
			}
			if !d.Equal(n(want)) {
				t.Fatalf("%v, want %d", d, want)
			}
			want++
		}
	}
	if want != lives*count+1 {
		t.Errorf("%d records", want-1)
	}
}
