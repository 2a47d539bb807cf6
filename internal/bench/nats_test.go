package bench

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dictwire/dictwire/internal/memnet"
	"github.com/dictwire/dictwire/internal/wire"
)

// A fakeNATS is a NATS server that sends ack as the answer to each record. It counts the
// records and the answers to its pings.
type fakeNATS struct {
	ack            string
	maxRead        int  // bytes that arrive at once; 0: any number
	mute           bool // does not answer pings after the first
	records, pongs int
	unknown        string // said by the load
}

// serve ends with the connection.
func (f *fakeNATS) serve(nc net.Conn) {
	if _, err := io.WriteString(nc, "INFO {}\r\n"); err != nil {
		return
	}
	pings := 0
	for in := bufio.NewReader(nc); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		answer := ""
		switch fields := strings.Fields(line); fields[0] {
		case "CONNECT", "SUB":
		case "PING":
			if pings++; pings == 1 || !f.mute {
				answer = "PONG\r\n"
			}
		case "PONG":
			f.pongs++
		case "PUB":
			if _, err := in.ReadString('\n'); err != nil { // no payload has a newline
				return
			}
			if answer = f.ack; strings.HasPrefix(fields[1], "$JS.API.") {
				answer = "MSG _INBOX 1 2\r\n{}\r\n"
			} else {
				f.records++
			}
		default:
			f.unknown = line
			return
		}
		if _, err := io.WriteString(nc, answer); err != nil {
			return
		}
	}
}

// measure runs a load of a second on the fake server, with a connection that has 4 records
// in flight.
func (f *fakeNATS) measure(t *testing.T, target string, bare bool) (r *Result, err error) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		network.SetLink(func(_, _ string) memnet.Link {
			return memnet.Link{Up: memnet.Direction{Latency: time.Millisecond, Buffer: 8 << 10}, Down: memnet.Direction{MaxRead: f.maxRead}}
		})
		l := network.Host("nats").Listen()
		var serving sync.WaitGroup
		serving.Go(func() {
			if nc, err := l.Accept(); err == nil {
				f.serve(nc)
			}
		})
		to, _ := TargetOf(target)
		records, fault := Generate(45, wire.Codecs()["json"])
		if fault != nil {
			t.Fatal(fault)
		}
		r, err = Run(t.Context(), Options{
			Target: to, Topic: "bench", Connections: 1, InFlight: 4, Bare: bare, Records: records, Duration: time.Second,
			Dial: func(ctx context.Context) (net.Conn, error) { return network.Host("load").Dial(ctx, "nats") },
		}, nil)
		_ = l.Close()
		if serving.Wait(); f.unknown != "" {
			t.Errorf("the load says %q", f.unknown)
		}
	})
	return r, err
}

// What a NATS server sends besides acknowledgements does not stop the load, even if it
// arrives together with the last acknowledgement that can come.
func TestNATSBetweenAcks(t *testing.T) {
	const ack = "MSG _INBOX 1 26\r\n{\"stream\":\"bench\",\"seq\":1}\r\n"
	for _, ack := range []string{ack, ack + "PING\r\n", "PING\r\n" + ack, ack + "INFO {}\r\n", ack + "PING\r\nINFO {}\r\nPING\r\n"} {
		for _, maxRead := range []int{0, 7} {
			f := &fakeNATS{ack: ack, maxRead: maxRead}
			r, err := f.measure(t, "jetstream", false)
			if err != nil {
				t.Errorf("%q: %v", ack, err)
				continue
			}
			if int(r.Records) != f.records || f.records < 1000 {
				t.Errorf("%q: %d records are settled, of %d", ack, r.Records, f.records)
			}
			if want := strings.Count(ack, "PING") * f.records; f.pongs < want-2*4 || f.pongs > want { // those after the last acknowledgements need no answer
				t.Errorf("%q: %d answers to %d pings", ack, f.pongs, want)
			}
		}
	}
}

// A NATS server that does not settle what is in flight ends the load with an error that
// says so.
func TestNATSFaults(t *testing.T) {
	for said, pattern := range map[string]string{
		"":                              "4 records in flight at the end were not settled within 2m0s",
		"PING\r\n":                      "4 records in flight at the end were not settled within 2m0s",
		"-ERR 'Slow Consumer'\r\n":      "Slow Consumer",
		"MSG _INBOX 1 -1\r\n":           "MSG _INBOX",
		"MSG _INBOX 1 x\r\n":            "MSG _INBOX",
		"MSG _INBOX 1 9999999999\r\n\r": "MSG _INBOX",
		"MSG _INBOX 1 73\r\n{\"error\":{\"code\":429,\"err_code\":10167,\"description\":\"too many requests\"}}\r\n": "too many requests",
	} {
		_, err := (&fakeNATS{ack: said}).measure(t, "jetstream", false)
		if err == nil || !strings.Contains(err.Error(), pattern) {
			t.Errorf("%q: %v", said, err)
		}
	}
	if _, err := (&fakeNATS{mute: true}).measure(t, "nats", true); err == nil || !strings.Contains(err.Error(), "did not read everything within 2m0s") {
		t.Errorf("a server that does not read: %v", err)
	}
}
