package dictwire_test

import (
	"context"
	"fmt"
	"hash/crc32"
	"testing"
	"testing/synctest"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
)

// n is the record n.
func n(i int) *dict.Dict { return dict.Of("n", i) }

// line is the record n as it is sent.
func line(i int) string { return fmt.Sprintf(`{"n":%d}`, i) }

// sum is the CRC-32C of a record in hex.
func sum(record string) string { return fmt.Sprintf("%08x", crc(record)) }

func crc(record string) uint32 {
	return crc32.Checksum([]byte(record), crc32.MakeTable(crc32.Castagnoli))
}

// sendAsync sends the records 1 to count.
func sendAsync(t *testing.T, c *dictwire.Client, count int) {
	t.Helper()
	for i := 1; i <= count; i++ {
		if err := c.SendAsync(t.Context(), "t", n(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// flush flushes in the background.
func flush(c *dictwire.Client) <-chan error {
	done := make(chan error, 1)
	go func() { done <- c.Flush(context.Background()) }()
	synctest.Wait()
	return done
}

// settled closes a client whose records are settled.
func settled(t *testing.T, c *dictwire.Client) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func (panickingCodec) Append([]byte, *dict.Dict) ([]byte, error) { panic("oh") }
