package crash_test

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/dictwire/dictwire/tests/peer"
)

// A producer sends some records that can't be read, and cuts connections at random places.
type producer struct {
	id int
	peer.Producer
}

func newProducer(id int, durability string) *producer {
	p := &producer{id: id}
	p.Producer = peer.Producer{
		Name: fmt.Sprintf("crash-%d.%x", id, rand.Uint64()), Topic: fmt.Sprintf("load.%d", id%3), Durability: durability,
		Append: p.append, Code: p.code, Send: send,
	}
	return p
}

// poisonous reports whether record n can't be read.
func (p *producer) poisonous(n uint64) bool { return (n+uint64(p.id)*97)%2003 == 0 }

// append appends record n.
func (p *producer) append(b []byte, n uint64) []byte {
	switch x := strings.Repeat("x", int(n*7%101)); {
	case !p.poisonous(n):
		return fmt.Appendf(b, `{"p":%d,"n":%d,"x":"%s"}`, p.id, n, x)
	case n%2 == 0: // not read to its end
		return fmt.Appendf(b, `{"p":%d,"n":%d,"x":tru,"y":"%s"}`, p.id, n, x)
	default: // read to its end
		return fmt.Appendf(b, `{"p":%d,"n":%d,"p":%d}`, p.id, n, n)
	}
}

// code returns why record n can't be read.
func (p *producer) code(n uint64) string {
	switch {
	case !p.poisonous(n):
		return ""
	case n%2 == 0:
		return "malformed"
	default:
		return "duplicate_key"
	}
}

// send sends records until the connection breaks or the producer is stopped.
func send(p *peer.Producer, s *peer.Session, next uint64) {
	sendBursts(p, next, func(burst []byte) error {
		// The connection may break inside a record.
		cut := rand.IntN(len(burst))
		for _, part := range [][]byte{burst[:cut], burst[cut:]} {
			if _, err := s.Write(part); err != nil {
				return err
			}
		}
		return nil
	})
}

// sendBursts writes records from next on in bursts, with a random limit of records in
// flight, until write fails or p is stopped.
func sendBursts(p *peer.Producer, next uint64, write func(burst []byte) error) {
	window := []uint64{1, 16, 1000}[rand.IntN(3)]
	for {
		room, ok := p.Room(next, window)
		if !ok {
			return
		}
		end := next + min(room, 1+rand.Uint64N(64))
		p.Sending(end - 1)
		var burst []byte
		for ; next < end; next++ {
			burst = p.Append(appendSpace(burst), next)
		}
		if write(append(burst, '\n')) != nil {
			return
		}
	}
}

// appendSpace appends white space that is allowed between records.
func appendSpace(b []byte) []byte {
	return append(b, []string{"", "\n", " "}[rand.IntN(3)]...)
}
