package soak_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/dictwire/dictwire/tests/peer"
)

// A reader follows all topics, resuming after each fault where it was.
type reader struct {
	name    string
	follow  func(ctx context.Context, addr string) error
	promise map[string]promise // by topic

	from      string // where to resume
	connected int

	mu            sync.Mutex
	last          map[string]uint64 // by topic
	some          map[uint64]bool   // records read of the topic that may lose some
	count         int
	lost, doubled int
	faults        []string // the first ones
}

func newReader(name string, senders []*sender) *reader {
	r := &reader{name: name, from: "earliest", last: map[string]uint64{}, some: map[uint64]bool{}, promise: map[string]promise{}}
	for _, x := range senders {
		r.promise[x.topic] = x.promise
	}
	r.follow = r.followNative
	if name == "sse" {
		r.follow = r.followEvents
	}
	return r
}

func (r *reader) lastOf(topic string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[topic]
}

// run follows until ctx is done.
func (r *reader) run(ctx context.Context, addr string) {
	for ctx.Err() == nil {
		r.connected++
		if err := r.follow(ctx, addr); err != nil && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// A record is what senders send.
type record struct {
	Topic string
	N     uint64
	Text  string
}

// see checks a record, or the error in its place.
func (r *reader) see(topic string, d record, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	last := r.last[topic]
	switch promise, known := r.promise[topic]; {
	case err != nil || !known || d.Topic != topic || d.Text != text[d.N*31%3000:][:100+d.N%64]:
		r.tell("a record of %s that nobody sent: %v, %v", topic, d, err)
		return
	case promise == onceSome:
		if r.some[d.N] {
			r.doubled++
			r.tell("%s: %d again", topic, d.N)
		}
		r.some[d.N] = true
		return
	case d.N <= last:
		r.doubled++
		r.tell("%s: %d after %d", topic, d.N, last)
		return
	case d.N > last+1:
		r.lost += int(d.N - last - 1)
		r.tell("%s: %d after %d", topic, d.N, last)
	}
	r.last[topic] = d.N
}

// tell records a fault. r.mu is held.
func (r *reader) tell(format string, args ...any) {
	if len(r.faults) < 10 {
		r.faults = append(r.faults, fmt.Sprintf(format, args...))
	}
}

// followNative reads over a native session.
func (r *reader) followNative(_ context.Context, addr string) error {
	s, err := peer.Greet(addr, `{"dictwire":1,"subscribe":"*","follow":true,"format":"json","from":%q}`, r.from)
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		_ = s.SetDeadline(time.Now().Add(20 * time.Second))
		m, err := s.Next()
		if err != nil {
			return err
		}
		records := make([][]byte, len(m.Lengths))
		for i, n := range m.Lengths {
			records[i] = make([]byte, n)
			if _, err := io.ReadFull(s.R, records[i]); err != nil {
				return err // all of them are read again
			}
		}
		var next string
		if m.Code != "" || json.Unmarshal(m.Next, &next) != nil {
			if !slices.Contains([]string{"", "unavailable", "idle", "rate", "shutdown"}, m.Code) {
				r.mu.Lock()
				r.tell("told %s: %s", m.Code, m.Error)
				r.mu.Unlock()
			}
			return errBroken
		}
		for _, b := range records {
			var d record
			err := json.Unmarshal(b, &d)
			r.see(m.Topic, d, err)
		}
		r.from = next
	}
}

// followEvents reads server-sent events, whose IDs are the positions after them.
func (r *reader) followEvents(ctx context.Context, addr string) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v1/topics/*?follow=1&format=sse&envelope=1&from="+r.from, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	in := bufio.NewReaderSize(resp.Body, 256<<10)
	var id string
	var data []byte
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err // an incomplete event is read again
		}
		line = line[:len(line)-1]
		switch name, value, _ := bytes.Cut(line, []byte(": ")); {
		case string(name) == "id":
			id = string(value)
		case string(name) == "data":
			data = append(data[:0], value...)
		case len(line) == 0 && len(data) > 0: // the end of an event
			var e struct {
				Topic  string
				Record record
			}
			err := json.Unmarshal(data, &e)
			if e.Topic == "" {
				return errBroken // a problem: the server is shutting down
			}
			r.see(e.Topic, e.Record, err)
			r.from, data = id, data[:0]
		}
	}
}
