package cli

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/nats"
)

// natsFlags are the flags for a store on a NATS JetStream broker.
type natsFlags struct {
	prefix      string
	replicas    limit
	maxBytes    byteSize
	synced      bool
	credentials string
	ca          string
	cert, key   string
}

func (f *natsFlags) add(flags *pflag.FlagSet) {
	f.prefix, f.replicas = "dictwire", 3
	flags.StringVar(&f.prefix, "nats-prefix", f.prefix, "`name` of the stream of a store at nats://…, with which its subjects begin")
	flags.Var(&f.replicas, "nats-replicas", "how many nodes have each message, where the stream is made: 1, 3 or 5")
	flags.Var(&f.maxBytes, "nats-max-bytes", "most `bytes` of the stream, where it is made; when it is full, nothing is stored")
	flags.BoolVar(&f.synced, "nats-synced", false, "says that all nodes have the option sync_interval: always, so that acknowledged records survive the loss of power of all of them")
	flags.StringVar(&f.credentials, "nats-credentials", "", "`file` with the credentials of the server at the broker")
	flags.StringVar(&f.ca, "nats-ca", "", "`file` with the certificates that sign those of the nodes")
	flags.StringVar(&f.cert, "nats-cert", "", "`file` with the server's own certificate for the broker")
	flags.StringVar(&f.key, "nats-key", "", "`file` with the key of --nats-cert")
}

// inBroker reports whether --store names a broker.
func inBroker(store string) bool {
	return strings.HasPrefix(store, "nats://") || strings.HasPrefix(store, "tls://")
}

// options returns the options of the store.
func (f *natsFlags) options(logger *slog.Logger) *nats.Options {
	return &nats.Options{
		Prefix: f.prefix, Replicas: int(f.replicas), MaxBytes: int64(f.maxBytes), Synced: f.synced,
		Credentials: f.credentials, CA: f.ca, Certificate: f.cert, Key: f.key, Logger: logger,
	}
}

// openBroker opens the store at a broker and prints where it is.
func (s *serve) openBroker(ctx context.Context, logger *slog.Logger) (closingStore, error) {
	o := s.nats.options(logger)
	o.MaxTopics, o.MaxProducers, o.MaxCursors = int(s.maxTopics), int(s.maxProducers), int(s.maxCursors)
	o.Keep = func(topic string) (time.Duration, uint64) {
		k := s.kept.Load().keep(topic)
		return k.Age, k.Bytes
	}
	o.Fatal = s.die
	st, err := openNATS(ctx, s.store.dir, o)
	if err != nil {
		return nil, err
	}
	if err := s.checkKind(ctx, st); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	const known = 64 << 20 // for topics, producers and cursors
	limitHeap(int64(s.maxMemory) + known)
	s.say("storing in stream %s of %s, durability %s", s.nats.prefix, redacted(s.store.dir), st.Limits().Durability)
	return st, nil
}

// openNATS opens a store at a broker.
func openNATS(ctx context.Context, servers string, o *nats.Options) (*nats.Store, error) {
	s, err := nats.Open(ctx, servers, o)
	if errors.Is(err, store.ErrHalf) {
		err = hinted(err) // other hints are for directories
	}
	return s, err
}

// redacted returns addresses of a broker without passwords.
func redacted(servers string) string {
	all := strings.Split(servers, ",")
	for i, one := range all {
		scheme, rest, ok := strings.Cut(one, "://")
		if !ok {
			scheme, rest = "", one
		} else {
			scheme += "://"
		}
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			rest = "***" + rest[at:]
		}
		all[i] = scheme + rest
	}
	return strings.Join(all, ",")
}

// checkBroker returns which settings do not apply to a store at a broker.
func (s *serve) checkBroker() error {
	if !inBroker(s.store.dir) {
		return nil
	}
	var faults []error
	refuse := func(is bool, flag, why string) {
		if is {
			faults = append(faults, usagef("%s does not go with --store %s: %s", flag, redacted(s.store.dir), why))
		}
	}
	refuse(s.backups != "", "--backups", "nats stream backup makes copies")
	refuse(s.maxStored.byteSize != 0, "--max-stored", "the broker bounds the stream as a whole")
	refuse(s.reserve.byteSize != 0, "--reserve", "the broker looks after its disks")
	return errors.Join(faults...)
}
