package bench

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// BenchmarkForward measures durably acknowledged dictionaries per second: over Fluent
// Forward, in PackedForward messages of 1,000 with a chunk, one in flight per connection,
// and over native sessions with 1,024 in flight.
func BenchmarkForward(b *testing.B) {
	b.Run("by=native", func(b *testing.B) {
		s := newServer(b, diskDir(b))
		benchSession(b, &s.process, sessions, func(i int) (*client, error) { return dial(s.addr, fmt.Sprintf("s%d", i), 1024, small) })
	})
	b.Run("by=forward", func(b *testing.B) {
		s := newServer(b, diskDir(b))
		each := (b.N + sessions - 1) / sessions
		var all sync.WaitGroup
		b.ResetTimer()
		for i := range sessions {
			all.Go(func() {
				if err := forwardChunks(s.addr, i, each); err != nil {
					b.Error(err)
				}
			})
		}
		all.Wait()
		b.StopTimer()
		n := float64(each * sessions)
		perRecord(b, b.Elapsed().Seconds()/n)
		b.ReportMetric(float64(s.stop().Nanoseconds())/n, "server-ns/op")
	})
}

// perChunk is the number of records in a chunk.
const perChunk = 1000

// forwardChunks sends n records over one connection, and waits for each chunk's
// acknowledgement.
func forwardChunks(addr string, client, n int) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	in := bufio.NewReader(c)
	var message, entries []byte
	for sent := 0; sent < n; {
		some := min(perChunk, n-sent)
		entries = entries[:0]
		for i := range some {
			entries = append(entries, "\x92\xd7\x00\x65\x53\xf1\x00\x00\x00\x00\x00\x83\xa4name\xa5Alice\xa3age\x1e\xa1n\xcf"...)
			entries = binary.BigEndian.AppendUint64(entries, uint64(sent+i)+1e14)
		}
		chunk := fmt.Sprintf("%08x%08x%016x", client, sent, n)
		message = append(message[:0], "\x93\xa6orders\xc6"...)
		message = binary.BigEndian.AppendUint32(message, uint32(len(entries)))
		message = append(append(message, entries...), "\x81\xa5chunk\xd9\x20"...)
		message = append(message, chunk...)
		if _, err := c.Write(message); err != nil {
			return err
		}
		ack := make([]byte, len("\x81\xa3ack\xd9\x20")+len(chunk))
		if _, err := io.ReadFull(in, ack); err != nil {
			return err
		}
		if string(ack) != "\x81\xa3ack\xd9\x20"+chunk {
			return fmt.Errorf("acknowledged %q, want %q", ack, chunk)
		}
		sent += some
	}
	return nil
}
