package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/dictwire/dictwire/store"
)

// oldest is the oldest supported broker. In earlier versions, a deposed leader could still
// store what it had received.
const oldest = "2.14.4"

// Keys and values of the stream's metadata.
const (
	keyLayout = "dictwire.layout"
	ourLayout = "1"
)

// minPayload is the smallest max_payload of a supported broker.
const minPayload = 64 << 10

// openTime is how long Open waits while the broker's nodes find each other.
const openTime = 30 * time.Second

// sayEvery is the interval at which Open logs what it waits for.
const sayEvery = 5 * time.Second

// A SetupError is returned by Open if the broker can't be used as it is set up, or not with
// these Options.
type SetupError struct {
	Err  error
	Hint string // what may help
}

// Error implements error.
func (e *SetupError) Error() string { return e.Err.Error() + ": " + e.Hint }

// Unwrap returns Err.
func (e *SetupError) Unwrap() error { return e.Err }

// setup returns a SetupError.
func setup(hint, format string, args ...any) error {
	return &SetupError{fmt.Errorf(format, args...), hint}
}

// openStream makes the stream, or checks the existing one.
func (s *Store) openStream(ctx context.Context, o *Options) error {
	if err := checkVersion("node "+s.nc.ConnectedServerName(), s.nc.ConnectedServerVersion()); err != nil {
		return err
	}
	if n := s.nc.MaxPayload(); n < minPayload {
		return setup("raise max_payload in the configuration of all nodes", "the broker takes messages of %d bytes, want at least %d", n, minPayload)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, openTime, errPatience)
	defer cancel()
	begin := time.Now()
	said := begin
	tries := pace{}
	for tries.wait(ctx) {
		stream, err := s.findStream(ctx, o)
		if err == nil {
			s.handle = stream
			if err := s.adopt(stream.CachedInfo()); err != nil {
				return err
			}
			return s.plant(ctx)
		}
		hopeless, err := s.explain(err)
		if hopeless {
			return err
		}
		tries.failed(err)
		if now := time.Now(); ctx.Err() == nil && now.Sub(said) > sayEvery {
			s.logger.Warn("waiting for the broker", "at_most", (openTime - now.Sub(begin)).Round(time.Second), "error", cmp.Or(tries.last, errPatience))
			said = now
		}
	}
	return tries.err(ctx)
}

// findStream returns the stream, and makes it if there is none. A request that gets lost,
// as during an election, does not take all the time.
func (s *Store) findStream(ctx context.Context, o *Options) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	stream, err := s.js.Stream(ctx, s.prefix)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = s.js.CreateStream(ctx, s.config(o))
	}
	return stream, err
}

// config returns the configuration of a new stream.
func (s *Store) config(o *Options) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name: s.prefix, Subjects: []string{s.all()}, Description: "records of dictwire",
		Storage: jetstream.FileStorage, Replicas: s.replicas, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		MaxBytes: o.MaxBytes, Duplicates: 2 * time.Minute,
		AllowDirect: true, AllowRollup: true, AllowMsgTTL: true, AllowAtomicPublish: true,
		Metadata: map[string]string{keyLayout: ourLayout},
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = -1
	}
	return c
}

// adopt checks an existing stream, and returns everything that is wrong with it.
func (s *Store) adopt(info *jetstream.StreamInfo) error {
	c := info.Config
	var differences []string
	want := func(ok bool, what string, is any) {
		if !ok {
			differences = append(differences, fmt.Sprintf("want %s, not %v", what, is))
		}
	}
	want(len(c.Subjects) == 1 && c.Subjects[0] == s.all(), "subjects ["+s.all()+"]", c.Subjects)
	want(c.Retention == jetstream.LimitsPolicy, "retention limits", c.Retention)
	want(c.Storage == jetstream.FileStorage, "storage file", c.Storage)
	want(c.Discard == jetstream.DiscardNew, "discard new", c.Discard)
	want(c.MaxAge == 0, "no max_age", c.MaxAge)
	want(c.MaxMsgs <= 0, "no max_msgs", c.MaxMsgs)
	want(c.MaxMsgsPerSubject <= 0, "no max_msgs_per_subject", c.MaxMsgsPerSubject)
	want(c.MaxMsgSize <= 0, "no max_msg_size", c.MaxMsgSize)
	want(c.AllowDirect, "allow_direct", false)
	want(c.AllowRollup, "allow_rollup_hdrs", false)
	want(c.AllowMsgTTL, "allow_msg_ttl", false)
	want(c.AllowAtomicPublish, "allow_atomic", false)
	want(!c.DenyPurge && !c.DenyDelete, "neither deny_purge nor deny_delete", "one of them")
	want(c.Mirror == nil && len(c.Sources) == 0 && c.SubjectTransform == nil && !c.Sealed, "a stream that is neither a mirror, nor sourced, transformed or sealed", "this one")
	want(c.Duplicates >= 10*time.Second, "a duplicate_window of at least 10 s", c.Duplicates)
	want(c.Metadata[keyLayout] == ourLayout, "metadata "+keyLayout+"="+ourLayout, strconv.Quote(c.Metadata[keyLayout]))
	if len(differences) > 0 {
		return setup("a stream that holds something else needs another name, Options.Prefix; one of this package can be changed with nats stream edit",
			"%s does not fit: %s", s.where(), strings.Join(differences, "; "))
	}
	if v := c.Metadata["_nats.ver"]; v != "" {
		if err := checkVersion("the leader of the "+s.where(), v); err != nil {
			return err
		}
	}
	if c.Replicas != s.replicas && !s.unserved {
		s.logger.Warn("the stream has another number of replicas than asked for; nats stream edit changes it", "stream", s.prefix, "replicas", c.Replicas, "asked", s.replicas)
	}
	s.created, s.replicas = info.Created, c.Replicas
	return nil
}

// plant finds the message with the store's tag, or stores it. A purge deletes it, so that
// the records of a purged stream get a new tag.
func (s *Store) plant(ctx context.Context) error {
	tries := pace{}
	for m := range read(ctx, &tries, func() (stored, error) { return s.leaderNext(ctx, s.root(), 1) }) {
		if m.seq > 0 {
			if _, err := store.ParsePosition(m.mark + ".1.0"); err != nil {
				return fmt.Errorf("message %d on %s: %w", m.seq, m.subject, errMark)
			}
			s.tag, s.rooted = m.mark, m.seq
			return nil
		}
		if _, err := s.publish(ctx, &check{s.root(), 0}, message{subject: s.root(), mark: store.NewTag()}); err != nil && !tries.again(err) {
			return err
		}
	}
	return tries.err(ctx)
}

// checkVersion returns an error if a version is older than oldest.
func checkVersion(who, version string) error {
	parse := func(s string) (n [3]int) {
		s, _, _ = strings.Cut(s, "-")
		for i, part := range strings.SplitN(s, ".", 3) {
			n[i], _ = strconv.Atoi(part)
		}
		return n
	}
	have, want := parse(version), parse(oldest)
	for i := range have {
		if have[i] != want[i] {
			if have[i] < want[i] {
				return setup("upgrade all nodes", "%s is nats-server %s, want %s or newer", who, version, oldest)
			}
			break
		}
	}
	return nil
}

// explain says what may help against an error. It reports whether a retry can't.
func (s *Store) explain(err error) (hopeless bool, _ error) {
	const enable = "enable JetStream in the configuration of the nodes"
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api): // the client's own errors have one, too
	case errors.Is(err, nats.ErrNoResponders): // nodes may not be ready yet
		return false, setup(enable, "no node answers for JetStream")
	default:
		return false, err
	}
	what := strings.TrimSpace(api.Description)
	switch code := int(api.ErrorCode); code {
	case 10058: // another server made the stream meanwhile, with another tag
		return false, err
	case 10039:
		return true, setup("enable it, or use a user of another account", "JetStream is not enabled for this account")
	case 10076, 10035:
		return true, setup(enable, "JetStream is not enabled on this broker")
	case 10113:
		return true, setup("set Options.MaxBytes", "the account requires a size limit for the stream")
	case 10002, 10023, 10028, 10047, 10122:
		return code != 10023, setup("raise the limits of the account or of max_file_store, or set Options.MaxBytes below them", "the account or the broker has no room for the stream: %s", what)
	case 10027:
		return true, setup("raise max_streams of the account, or delete one", "the account may not have another stream: %s", what)
	case 10065:
		return true, setup("Options.Prefix selects another name", "another stream has subjects of %s: %s", s.where(), what)
	case 10074:
		return true, setup("start more nodes, or set Options.Replicas to 1", "the broker is not a cluster, or has too few nodes for %d replicas: %s", s.replicas, what)
	case 10005: // nodes may still be missing
		return false, setup("start more nodes, or set Options.Replicas to a smaller number", "too few nodes for %d replicas: %s", s.replicas, what)
	}
	return api.Code >= 400 && api.Code < 500, fmt.Errorf("%s: the broker says: %s (%d)", s.where(), what, api.ErrorCode)
}

// stay announces this server to the others on the stream, and checks that the stream is
// still the one that was opened.
func (s *Store) stay() {
	for {
		ctx, cancel := s.until(s.ctx)
		err := s.appear(ctx)
		cancel()
		switch {
		case s.ctx.Err() != nil:
			return
		case errors.Is(err, errAnother), errors.Is(err, errBack), errors.Is(err, errCut):
			s.die(err)
			return
		case err != nil:
			s.logger.Debug("announcing this server failed", "err", err)
		}
		timer := time.NewTimer(frontTime / 5)
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// The reasons for which a store ends by itself.
var (
	errAnother = errors.New("the stream was deleted, purged or replaced: restart the server")
	errBack    = errors.New("the stream was rolled back and has lost acknowledged records: restart the server")
	errCut     = errors.New("the broker closed the connection for good: restart the server")
)

// die ends the store with err.
func (s *Store) die(err error) {
	err = fmt.Errorf("%w: %s: %w", store.ErrUnavailable, s.where(), err)
	s.end(err)
	if s.fatal != nil {
		s.fatal(err)
	}
}

// appear announces this server once, and reads the broker's clock. It returns errAnother,
// errBack or errCut if the stream is not the one that was opened, has lost messages or is
// unreachable for good.
func (s *Store) appear(ctx context.Context) error {
	if s.nc.IsClosed() {
		return fmt.Errorf("%w: %w", errCut, s.nc.LastError())
	}
	s.mu.Lock()
	seen, there := s.seen, append(slices.Clone(s.unsure), s.lastBlock)
	s.mu.Unlock()
	mark := "f"
	if s.unserved {
		mark = "u"
	}
	begin := s.clock()
	seq, err := s.publish(ctx, &check{s.root(), s.rooted}, message{subject: s.layout.front(s.front), mark: mark, rollup: true, ttl: frontTime})
	end := s.clock()
	switch {
	case errors.Is(err, errConflict):
		root, failed := s.leaderNext(ctx, s.root(), 1)
		if failed == nil && (root.seq != s.rooted || root.mark != s.tag) {
			return errAnother
		}
		if other, failed := s.leaderNext(ctx, s.root(), s.rooted+1); failed == nil && other.seq > 0 {
			return setup(fmt.Sprintf("delete it: nats stream rmm %s %d", s.prefix, other.seq), "message %d on %s is not the store's", other.seq, other.subject)
		}
		return err
	case err != nil:
		if stream, err := s.js.Stream(ctx, s.prefix); errors.Is(err, jetstream.ErrStreamNotFound) || err == nil && !stream.CachedInfo().Created.Equal(s.created) {
			return errAnother
		}
		return err
	}
	if m, err := s.one(ctx, getRequest{Seq: s.rooted}); err == nil && m.seq > 0 && m.mark != s.tag {
		return errAnother
	}
	if seq <= seen {
		return errBack
	}
	for _, h := range there {
		if m, err := s.one(ctx, getRequest{Seq: max(h.seq, 1)}); err == nil && m.seq == h.seq && !m.time.Equal(h.time) {
			return errBack
		}
	}
	s.mu.Lock()
	s.unsure = slices.DeleteFunc(s.unsure, func(h heard) bool { return slices.Contains(there, h) })
	s.mu.Unlock()
	if m, err := s.one(ctx, getRequest{Seq: seq}); err == nil && m.seq == seq {
		s.ahead.Store(int64(m.time.Sub(begin.Add(end.Sub(begin) / 2))))
		s.set.Store(true)
	}
	return nil
}

// maxUnsure is the most blocks that are kept to check after a reconnect.
const maxUnsure = 16

// now returns the time by the broker's clock, which all servers on a stream share.
func (s *Store) now() time.Time { return s.clock().Add(time.Duration(s.ahead.Load())) }

// setClock reads the broker's clock for the first time.
func (s *Store) setClock(ctx context.Context) error {
	ctx, cancel := s.until(ctx)
	defer cancel()
	tries := pace{}
	for tries.wait(ctx) {
		err := s.appear(ctx)
		if s.set.Load() || errors.Is(err, errAnother) || errors.As(err, new(*SetupError)) {
			return err
		}
		tries.failed(err)
	}
	return tries.err(ctx)
}

// frontTime is how long after its last message a server counts as alive.
const frontTime = 15 * time.Second

// leave announces that this server is going, if it can.
func (s *Store) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = s.publish(ctx, nil, message{subject: s.layout.front(s.front), mark: "g", rollup: true, ttl: time.Second})
}

// isThere reports whether another server of the store is alive.
func (s *Store) isThere(ctx context.Context, front string) (bool, error) {
	m, err := s.last(ctx, s.layout.front(front))
	return err == nil && m.mark == "f", err
}
