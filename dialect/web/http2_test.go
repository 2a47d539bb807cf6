package web_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dialect/web"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/store/memory"
)

// overHTTP2 returns a client that sends all requests over one HTTP/2 connection, with prior
// knowledge.
func overHTTP2(t testing.TB) *http.Client {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// Requests on one connection are served concurrently, also next to one that follows.
func TestHTTP2(t *testing.T) {
	s := memory.New(nil)
	srv := &dictwire.Server{Store: s}
	url := "http://" + start(t, srv) + "/v1/topics/t"
	client := overHTTP2(t)
	ask := func(method, path, body string) (*http.Response, error) {
		r, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		return client.Do(r)
	}
	following, err := ask(http.MethodGet, "?follow=1", "")
	if err != nil {
		t.Fatal(err)
	}
	defer following.Body.Close()
	const each = 500 // records
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			var body strings.Builder
			for n := range each {
				fmt.Fprintf(&body, "{\"i\":%d,\"n\":%d}\n", i, n)
			}
			r, err := ask(http.MethodPost, "", body.String())
			if err != nil {
				t.Error(err)
				return
			}
			text, err := io.ReadAll(r.Body)
			_ = r.Body.Close()
			if err != nil || r.ProtoMajor != 2 || !strings.HasPrefix(string(text), fmt.Sprintf(`{"accepted":%d,`, each)) {
				t.Errorf("%v %s %s", err, r.Proto, text)
			}
		})
	}
	all.Wait()
	follower := bufio.NewReader(following.Body)
	for range 50 * each {
		if _, err := follower.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(stored(t, s, "t"), "}"); n != 50*each {
		t.Errorf("%d records are stored", n)
	}
	// A server that shuts down answers the requests in progress.
	half, write := io.Pipe()
	answered := make(chan string, 1)
	go func() {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, half)
		if err != nil {
			t.Error(err)
			return
		}
		answer, err := client.Do(r)
		if err != nil {
			answered <- err.Error()
			return
		}
		text, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		answered <- string(text)
	}()
	_, _ = io.WriteString(write, `{"half":1}`)
	for strings.Count(stored(t, s, "t"), "half") < 1 {
		time.Sleep(time.Millisecond) // until the record was stored
	}
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(t.Context()) }()
	if rest, err := io.ReadAll(follower); err != nil || len(rest) > len(`{"half":1}`)+1 {
		t.Errorf("the follower got %.100q, %v", rest, err)
	}
	_, _ = io.WriteString(write, `{"half":2}`)
	_ = write.Close()
	if text := <-answered; !strings.HasPrefix(text, `{"accepted":2,`) {
		t.Error(text)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// frames is a raw HTTP/2 connection.
type frames struct {
	*http2.Framer
	net.Conn
	head bytes.Buffer
	enc  *hpack.Encoder
}

func newFrames(nc net.Conn, settings ...http2.Setting) *frames {
	_, _ = io.WriteString(nc, http2.ClientPreface)
	f := &frames{Framer: http2.NewFramer(nc, nc), Conn: nc}
	f.enc = hpack.NewEncoder(&f.head)
	_ = f.WriteSettings(settings...)
	return f
}

// ask writes the headers of a request.
func (f *frames) ask(id uint32, method, path string, ends bool) error {
	f.head.Reset()
	for _, h := range [][2]string{{":method", method}, {":scheme", "http"}, {":authority", "localhost"}, {":path", path}} {
		_ = f.enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.head.Bytes(), EndStream: ends, EndHeaders: true})
}

// until reads frames until is returns true, or the connection ends.
func (f *frames) until(is func(http2.Frame) bool) (http2.Frame, error) {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return nil, err
		}
		if s, ok := frame.(*http2.SettingsFrame); ok && !s.IsAck() && f.enc != nil {
			_ = f.WriteSettingsAck()
		}
		if is(frame) {
			return frame, nil
		}
	}
}

// Floods of frames end the connection or have no effect. Others are served meanwhile.
func TestHTTP2Floods(t *testing.T) {
	for name, flood := range map[string]func(f *frames, i uint32) error{
		"rapid reset": func(f *frames, i uint32) error {
			return errors.Join(f.ask(2*i+1, "POST", "/v1/topics/t", false), f.WriteRSTStream(2*i+1, http2.ErrCodeCancel))
		},
		"continuations": func(f *frames, i uint32) error {
			if i == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
			}
			return f.WriteContinuation(1, false, bytes.Repeat([]byte("\x00\x01x\x01x"), 100))
		},
		"settings": func(f *frames, _ uint32) error { return f.WriteSettings() },
		"pings":    func(f *frames, _ uint32) error { return f.WritePing(false, [8]byte{}) },
		"streams, all open": func(f *frames, i uint32) error {
			return f.ask(2*i+1, "POST", "/v1/topics/t", false)
		},
		"bodies that nobody asked for": func(f *frames, i uint32) error {
			if i == 0 {
				return f.ask(1, "POST", "/v1/topics/_rejected", false)
			}
			return f.WriteData(1, false, make([]byte, 16<<10))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := memory.New(nil)
			addr := start(t, &dictwire.Server{Store: s})
			before := runtime.NumGoroutine()
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
			f := newFrames(nc)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for {
					if _, err := f.ReadFrame(); err != nil && !errors.As(err, new(http2.StreamError)) {
						return
					}
				}
			}()
			most := 0
			for i := range uint32(5000) {
				if flood(f, i) != nil {
					break
				}
				if i%500 == 0 {
					most = max(most, runtime.NumGoroutine())
				}
			}
			if most > before+500 {
				t.Errorf("%d goroutines, %d before", most, before)
			}
			r, text := do(t, addr, ask{body: `{"a":1}`})
			check(t, "another client", r, text, 200, `\{"accepted":1,.*`)
			_ = nc.Close()
			<-ended
			if got := stored(t, s, "*"); got != `{"a":1}` {
				t.Errorf("stored %s", got)
			}
		})
	}
}

// The server does not wait long for a client of HTTP/2 that stops at any stage, unless it
// is a reader that may take its time.
func TestHTTP2Slow(t *testing.T) {
	isEnd := func(f http2.Frame) bool {
		switch f := f.(type) {
		case *http2.DataFrame:
			return f.StreamEnded()
		case *http2.RSTStreamFrame:
			return true
		default:
			return false
		}
	}
	for name, c := range map[string]struct {
		play   func(t *testing.T, f *frames)
		is     func(http2.Frame) bool // what ends it; nil: the end of the connection
		most   time.Duration
		stored string
	}{
		"no settings": {most: 4 * time.Second},
		"no request":  {play: func(_ *testing.T, f *frames) { _ = f.WriteSettings() }, most: 2*time.Minute + 3*time.Second},
		"half of a head": {play: func(_ *testing.T, f *frames) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
		}, most: 2*time.Minute + 3*time.Second},
		"half of a frame": {play: func(_ *testing.T, f *frames) { _, _ = io.WriteString(f.Conn, "\x00\x10") }, most: 2*time.Minute + 3*time.Second},
		"a body that stops": {play: func(_ *testing.T, f *frames) {
			_ = f.ask(1, "POST", "/v1/topics/t", false)
			_ = f.WriteData(1, false, []byte(`{"a":1}{"b"`))
		}, is: isEnd, most: 73 * time.Second, stored: `{"a":1}`},
		"an answer, not wanted": {play: func(_ *testing.T, f *frames) { _ = f.ask(1, "GET", "/healthz", true) }, is: isEnd, most: 12 * time.Second},
		"a reader that stops":   {play: func(_ *testing.T, f *frames) { _ = f.ask(1, "GET", "/v1/topics/much", true) }, is: isEnd, most: time.Hour + 12*time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			srv := &dictwire.Server{Logger: slog.New(slog.DiscardHandler), Dialects: []dictwire.Dialect{web.Dialect}}
			p := servertest.InMemory(t, srv, nil)
			fill(t, p.Store, 2000, "much")
			nc := p.Dial()
			began := time.Now()
			var f *frames
			if c.play == nil {
				_, _ = io.WriteString(nc, http2.ClientPreface)
				f = &frames{Framer: http2.NewFramer(nc, nc), Conn: nc}
			} else {
				f = newFrames(nc, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
				c.play(t, f)
			}
			wanted := c.is
			if wanted == nil {
				wanted = func(http2.Frame) bool { return false }
			}
			_, err := f.until(wanted)
			if took := time.Since(began); took > c.most || (c.is != nil) != (err == nil) {
				t.Errorf("%s: %v after %v, want %v", name, err, took, c.most)
			}
			if got := stored(t, p.Store, "t"); got != c.stored {
				t.Errorf("%s: stored %s, want %s", name, got, c.stored)
			}
			_ = nc.Close()
			_ = srv.Shutdown(context.WithoutCancel(t.Context()))
		})
	}
}
