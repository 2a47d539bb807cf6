package bench

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/store/log"
)

// BenchmarkServe measures the dictionaries per second that a server accepts from bare
// connections over loopback, written 64 KiB at a time or one by one. The server prints
// nothing. The load generator runs on the same processors.
func BenchmarkServe(b *testing.B) {
	lines := bytes.Join(sets[0].records, []byte("\n"))
	lines = append(lines, '\n')
	for _, conns := range []int{1, 64} {
		for _, write := range []string{"64KiB", "record"} {
			b.Run(fmt.Sprintf("conns=%d/write=%s", conns, write), func(b *testing.B) {
				benchServe(b, new(dictwire.Server), conns, chunks(lines, write == "record"))
			})
		}
	}
}

// BenchmarkServeStored stores records of 500 bytes on disk, from 64 connections: text that
// hardly compresses, and text that does.
func BenchmarkServeStored(b *testing.B) {
	noise := rand.NewChaCha8([32]byte{})
	for _, text := range []string{"noise", "words"} {
		var lines []byte
		for i := range 20_000 {
			x := strings.Repeat("to be or not to be, ", 23)[:456]
			if text == "noise" {
				raw := make([]byte, 342)
				_, _ = noise.Read(raw) // never fails
				x = base64.StdEncoding.EncodeToString(raw)
			}
			lines = fmt.Appendf(lines, "{\"number\":%8d,\"name\":\"Alice\",\"x\":%q}\n", i, x)
		}
		b.Run("text="+text, func(b *testing.B) {
			s, err := log.Open(b.Context(), b.TempDir(), &log.Options{Reserve: -1})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			benchServe(b, &dictwire.Server{Store: s}, 64, chunks(lines, false))
		})
	}
}

// chunks splits lines into single lines, or into pieces of about 64 KiB.
func chunks(lines []byte, single bool) [][]byte {
	var all [][]byte
	for len(lines) > 0 {
		n := bytes.IndexByte(lines, '\n') + 1
		if !single {
			n = len(lines)
			if n > 64<<10 {
				n = bytes.LastIndexByte(lines[:64<<10], '\n') + 1
			}
		}
		all = append(all, lines[:n])
		lines = lines[n:]
	}
	return all
}

func benchServe(b *testing.B, srv *dictwire.Server, conns int, chunks [][]byte) {
	l, err := dictwire.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(dictwire.Endpoint{Listener: l}) }()
	clients := make([]net.Conn, conns)
	for i := range clients {
		if clients[i], err = net.Dial("tcp", l.Addr().String()); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	sent := make([]int, conns)
	for i, c := range clients {
		wg.Go(func() {
			defer c.Close()
			for at := i; sent[i] < b.N/conns+1; at++ {
				chunk := chunks[at%len(chunks)]
				if _, err := c.Write(chunk); err != nil {
					b.Error(err)
					return
				}
				sent[i] += bytes.Count(chunk, []byte{'\n'})
			}
			// The server closes the connection once everything sent is done.
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				b.Error(err)
			}
			if _, err := io.Copy(io.Discard, c); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if err := srv.Close(); err != nil {
		b.Fatal(err)
	}
	if err := <-served; !errors.Is(err, dictwire.ErrServerClosed) {
		b.Fatal(err)
	}
	total := 0
	for _, n := range sent {
		total += n
	}
	if got := srv.Stats().Records; got != int64(total) {
		b.Fatalf("%d records arrived, %d were sent", got, total)
	}
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "dicts/s")
	b.ReportMetric(0, "ns/op")
}
