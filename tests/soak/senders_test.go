package soak_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/dictwire/dictwire/tests/peer"
)

// pace is how long a sender waits between bursts.
const pace = 2 * time.Millisecond

func senders() []*sender {
	return []*sender{
		numbered("native.0", nil), numbered("native.1", nil), numbered("ws.0", dialWebSocket),
		inBatches("http.0", post), inBatches("http.1", post),
		inBatches("forward.0", forward), inBatches("forward.1", forward),
		bare("default"),
	}
}

// appendRecord appends record n of a topic.
func appendRecord(b []byte, topic string, n uint64) []byte {
	return fmt.Appendf(b, `{"topic":%q,"n":%d,"text":%q}`, topic, n, text[n*31%3000:][:100+n%64])
}

// text is the source of the records' texts.
var text = func() string {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for range 4096 {
		b.WriteByte("etaoin shrdlu"[r.IntN(13)])
	}
	return b.String()
}()

// numbered sends over native sessions.
func numbered(topic string, dial func(string) (net.Conn, error)) *sender {
	p := &peer.Producer{
		Name: fmt.Sprintf("%s-%x", topic, rand.Uint64()), Topic: topic, Durability: "fsync", Dial: dial,
		Append: func(b []byte, n uint64) []byte { return appendRecord(b, topic, n) },
		Code:   func(uint64) string { return "" },
		Again:  []string{"idle", "unavailable", "rate", "shutdown"},
	}
	return &sender{topic: topic, state: p.State, run: func(ctx context.Context, addr string) error {
		p.Send = func(p *peer.Producer, s *peer.Session, next uint64) { sendBursts(ctx, p, s, next) }
		ended := make(chan error, 1)
		go func() { ended <- p.Run(func() string { return addr }) }()
		for {
			select {
			case err := <-ended:
				return err
			case <-time.After(pace):
			}
			if settled, sent := p.State(); ctx.Err() != nil && settled == sent {
				p.Stop()
				return <-ended
			}
		}
	}}
}

// sendBursts sends over one session: first unacknowledged records again, then new ones
// until ctx is done.
func sendBursts(ctx context.Context, p *peer.Producer, s *peer.Session, next uint64) {
	for {
		room, ok := p.Room(next, 2000)
		if !ok {
			return
		}
		_, sent := p.State()
		end := next + min(room, 1+rand.Uint64N(64))
		if ctx.Err() != nil {
			end = min(end, sent+1)
		}
		if end <= next {
			time.Sleep(pace)
			continue
		}
		p.Sending(end - 1)
		var burst []byte
		for ; next < end; next++ {
			burst = append(p.Append(burst, next), '\n')
		}
		if _, err := s.Write(burst); err != nil {
			return
		}
		time.Sleep(pace)
	}
}

func dialWebSocket(addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, resp, err := websocket.Dial(ctx, "ws://"+addr+"/v1/connect", &websocket.DialOptions{Subprotocols: []string{"dictwire.1"}})
	if err != nil {
		time.Sleep(5 * time.Millisecond)
		return nil, err
	}
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	return &messages{Conn: websocket.NetConn(context.Background(), c, websocket.MessageText), c: c}, nil
}

// messages presents the messages of a WebSocket as lines.
type messages struct {
	net.Conn
	c *websocket.Conn
	r io.Reader // the current message; nil between messages
}

func (m *messages) Read(p []byte) (n int, err error) {
	if m.r == nil {
		if _, m.r, err = m.c.Reader(context.Background()); err != nil {
			return 0, err
		}
	}
	n, err = m.r.Read(p)
	if err == io.EOF && n < len(p) {
		p[n] = '\n'
		m.r = nil
		return n + 1, nil
	} else if err == io.EOF {
		err = nil
	}
	return n, err
}

func (m *messages) SetDeadline(time.Time) error { return nil } // the network breaks it instead

// inBatches sends one batch after another, and repeats each until it is settled.
func inBatches(topic string, settle func(ctx context.Context, addr, topic string, batch int, first, n uint64) error) *sender {
	var settled, sent atomic.Uint64
	return &sender{
		topic: topic,
		state: func() (uint64, uint64) { return settled.Load(), sent.Load() },
		run: func(ctx context.Context, addr string) error {
			for batch := 0; ctx.Err() == nil; batch++ {
				first, n := settled.Load()+1, 1+rand.Uint64N(500)
				sent.Add(n)
				for {
					once, cancel := context.WithTimeout(context.Background(), 20*time.Second)
					err := settle(once, addr, topic, batch, first, n)
					cancel()
					var broken *peer.BrokenError
					if errors.As(err, &broken) {
						return err
					}
					if err == nil {
						break
					}
					time.Sleep(5 * time.Millisecond)
				}
				settled.Add(n)
				time.Sleep(pace) // so that most faults hit something in flight
			}
			return nil
		},
	}
}

// post sends a batch in a request with a key.
func post(ctx context.Context, addr, topic string, batch int, first, n uint64) error {
	var body []byte
	for i := range n {
		body = append(appendRecord(body, topic, first+i), '\n')
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/v1/topics/"+topic, bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/x-ndjson")
	q.Header.Set("Idempotency-Key", fmt.Sprintf("batch-%d", batch))
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	told, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	var answer struct {
		Accepted uint64
		Rejected []any
	}
	switch {
	case r.StatusCode == http.StatusConflict || r.StatusCode == http.StatusServiceUnavailable:
		return errBroken // the same request is in progress, or the server is shutting down
	case r.StatusCode != http.StatusOK:
		return peer.Fault("batch %d: status %d: %s", batch, r.StatusCode, told)
	case json.Unmarshal(told, &answer) != nil || answer.Accepted != n || len(answer.Rejected) > 0:
		return peer.Fault("batch %d of %d records: %s", batch, n, told)
	}
	return nil
}

// forward sends a batch as a chunk of Fluent Forward.
func forward(_ context.Context, addr, topic string, batch int, first, n uint64) error {
	var entries []byte
	for i := range n {
		record := text[(first+i)*31%3000:][:100+(first+i)%64]
		entries = append(entries, "\x92\xce\x65\x53\xf1\x02\x83\xa5topic"...)
		entries = appendString(entries, topic)
		entries = binary.BigEndian.AppendUint64(append(entries, "\xa1n\xcf"...), first+i)
		entries = appendString(append(entries, "\xa4text"...), record)
	}
	chunk := fmt.Sprintf("%s-%d", topic, batch)
	message := appendString([]byte{0x93}, topic)
	message = append(binary.BigEndian.AppendUint32(append(message, 0xc6), uint32(len(entries))), entries...)
	message = appendString(append(message, "\x81\xa5chunk"...), chunk)

	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write(message); err != nil {
		return err
	}
	want := appendString([]byte("\x81\xa3ack"), chunk)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) && got[0] == 0x81 {
		return peer.Fault("chunk %q: told %q", chunk, got)
	} else if !bytes.Equal(got, want) {
		return errBroken // told why the connection ends
	}
	return nil
}

// appendString appends a string in MessagePack.
func appendString(b []byte, s string) []byte {
	return append(append(b, 0xd9, byte(len(s))), s...)
}

// bare sends records over connections without guarantees.
func bare(topic string) *sender {
	var sent atomic.Uint64
	return &sender{
		topic: topic, promise: onceSome,
		state: func() (uint64, uint64) { return 0, sent.Load() },
		run: func(ctx context.Context, addr string) error {
			for ctx.Err() == nil {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					time.Sleep(5 * time.Millisecond)
					continue
				}
				for ctx.Err() == nil && rand.IntN(200) > 0 {
					if _, err := c.Write(append(appendRecord(nil, topic, sent.Add(1)), '\n')); err != nil {
						break
					}
					time.Sleep(pace)
				}
				_ = c.Close()
			}
			return nil
		},
	}
}
