package cli

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/metrics"
)

// A metricsFlag is the address where metrics are served.
type metricsFlag struct{ addr string }

func (f *metricsFlag) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.addr, "metrics", "", "`address` where Prometheus reads /metrics, which ask nobody who he is; of this machine alone where it names no host, as :9464")
}

// open listens at the address, if there is one.
func (f *metricsFlag) open(ctx context.Context) (net.Listener, error) {
	if f.addr == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	addr := f.addr
	if host, port, err := net.SplitHostPort(addr); err == nil {
		addr = net.JoinHostPort(cmp.Or(host, "127.0.0.1"), port)
	}
	l, err := dictwire.Listen(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	return l, nil
}

// serveMetrics serves metrics on a listener, if it is not nil, until end is called.
func serveMetrics(l net.Listener, o metrics.Options) (end func()) {
	if l == nil {
		return func() {}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.Handler(o))
	const patience = 30 * time.Second
	s := &http.Server{
		Handler: mux, ReadTimeout: patience, WriteTimeout: patience, IdleTimeout: 4 * patience, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // faults are the peer's
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	return func() {
		_ = s.Close()
		<-done
	}
}
