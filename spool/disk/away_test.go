package disk_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/memnet"
	"github.com/dictwire/dictwire/spool/disk"
	"github.com/dictwire/dictwire/store/memory"
)

// TestAnHourAway sends a record every second for an hour without a server, and some more
// with one. Within 10 s after the server has come back, all of them have arrived.
func TestAnHourAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hour = 3600
		network := memnet.New()
		there, here := network.Host("server:1"), network.Host("client")
		srv := &server{t: t, store: memory.New(&memory.Options{KeepBytes: 256 << 20}), srv: &dictwire.Server{}}
		srv.srv.Store = srv.store
		s := open(t, disk.Options{FS: vfs.NewMem()})
		c, err := dictwire.Dialer{Codec: json.Codec{}, Spool: s, AtSpool: true, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return here.Dial(ctx, addr)
		}}.Dial(t.Context(), "server:1")
		if err != nil {
			t.Fatal(err)
		}
		for n := uint64(1); n <= hour+60; n++ {
			if _, err := c.Send(t.Context(), "a", dict.Of("n", n)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			switch n {
			case hour:
				if st := s.Stats(); st.Records != hour {
					t.Errorf("%+v, want %d records", st, hour)
				}
				go func() { _ = srv.srv.Serve(dictwire.Endpoint{Listener: there.Listen()}) }()
			case hour + 10:
				if got := len(srv.records("a")); got < hour {
					t.Errorf("%d records have arrived in 10 s, want %d", got, hour)
				}
			}
		}
		time.Sleep(5 * time.Second)
		if st := s.Stats(); st.Records != 0 || st.Bytes != 0 {
			t.Errorf("all is settled: %+v", st)
		}
		srv.wantRecords("a", hour+60)
		_ = c.Close()
		srv.stop()
	})
}
