package server

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/fault"
	"github.com/dictwire/dictwire/internal/dialect"
	"github.com/dictwire/dictwire/internal/point"
	"github.com/dictwire/dictwire/internal/wire"
	"github.com/dictwire/dictwire/store"
)

// everyTopic is the pattern whose administrators may administer the server.
const everyTopic = "*"

// Status implements [dialect.Operator].
func (in *session) Status(ctx context.Context) (dialect.Status, error) {
	s := in.s
	status := dialect.Status{
		Principal: in.principal, Durability: s.store.Limits().Durability,
		MaxRecord: s.limits().Effective().RecordBytes, Ready: s.store.Ready(ctx) == nil,
	}
	if in.allows == nil || in.allows(access.Admin, everyTopic) {
		seen := s.Stats()
		status.Counts = &dialect.Counts{
			Started: s.started, Connections: int(seen.Open),
			Records: seen.Records, Rejected: seen.Rejected, Bytes: seen.Bytes,
			Version: s.Version, Receiving: seen.Receiving, Reading: seen.Reading, Heap: heapBytes(),
		}
		if m, ok := s.store.(store.Measurer); ok {
			measures, err := m.Measures(ctx)
			if err != nil {
				return dialect.Status{}, faultOfStore(ctx, err)
			}
			status.Counts.Measures = &measures
		}
	}
	return status, nil
}

// heapBytes returns the size of the heap's live and dead objects, in bytes.
func heapBytes() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// list prepares a page of names: it returns the principal they belong to, and the names
// after which the page begins. There may be many names, and the memory for them is not
// charged, so few lists are made at once; done allows another. The worker's turn lasts
// until Rest, so that a peer who asks for lists again and again slows nobody down.
func (in *session) list(ctx context.Context, p dialect.Page, parts int) (whose string, after []string, done func(), err error) {
	if whose, err = in.of(p.Principal); err != nil {
		return "", nil, nil, err
	}
	if after, err = parseAfter(p.After, parts); err != nil {
		return "", nil, nil, err
	}
	in.worker.Rest()
	select {
	case in.s.listing <- struct{}{}:
	case <-ctx.Done():
		return "", nil, nil, context.Cause(ctx)
	}
	done = func() { <-in.s.listing }
	if err := in.worker.BeginAside(ctx); err != nil {
		done()
		return "", nil, nil, err
	}
	return whose, after, done, nil
}

// Topics implements [dialect.Operator].
func (in *session) Topics(ctx context.Context, p dialect.Page) (page []dialect.Kept, next string, err error) {
	_, after, done, err := in.list(ctx, p, 1)
	if err != nil {
		return nil, "", err
	}
	defer done()
	all, err := in.s.store.Topics(ctx)
	if err != nil {
		return nil, "", faultOfStore(ctx, err)
	}
	for _, t := range all {
		if t.Name <= after[0] || in.allows != nil && !in.allows(access.Read, t.Name) {
			continue
		}
		if len(page) == p.Limit {
			return page, afterOf(page[len(page)-1].Name), nil
		}
		page = append(page, dialect.Kept{TopicStat: t})
		if k, ok := in.s.store.(store.Keeper); ok {
			keep := k.Keeps(t.Name)
			page[len(page)-1].Keep = &keep
		}
	}
	return page, "", nil
}

// Cursors implements [dialect.Operator].
func (in *session) Cursors(ctx context.Context, p dialect.Page) (page []dialect.Lagging, next string, err error) {
	whose, after, done, err := in.list(ctx, p, 2)
	if err != nil {
		return nil, "", err
	}
	defer done()
	all, err := in.s.store.Cursors(ctx)
	if err != nil {
		return nil, "", faultOfStore(ctx, err)
	}
	last := store.CursorName{Principal: whose, Name: after[0], Subscription: after[1]}
	for _, c := range all {
		if c.Principal != whose || c.Compare(last) <= 0 {
			continue
		}
		if len(page) == p.Limit {
			end := page[len(page)-1]
			return page, afterOf(end.Name, end.Subscription), nil
		}
		lag, err := in.s.store.Backlog(ctx, c.Position, wire.Topics(c.Subscription))
		if err != nil && !errors.Is(err, store.ErrPosition) {
			return nil, "", faultOfStore(ctx, err)
		}
		page = append(page, dialect.Lagging{SavedCursor: c, Lag: lag})
	}
	return page, "", nil
}

// Producers implements [dialect.Operator].
func (in *session) Producers(ctx context.Context, p dialect.Page) (page []store.KnownProducer, next string, err error) {
	whose, after, done, err := in.list(ctx, p, 2)
	if err != nil {
		return nil, "", err
	}
	defer done()
	at := store.Producer{Principal: whose, Topic: after[0], Name: after[1]}
	all, err := in.s.store.Known(ctx, at, p.Limit+1)
	if err != nil {
		return nil, "", faultOfStore(ctx, err)
	}
	if len(all) > p.Limit {
		all = all[:p.Limit]
		next = afterOf(all[p.Limit-1].Topic, all[p.Limit-1].Name)
	}
	return slices.DeleteFunc(all, func(k store.KnownProducer) bool { return strings.HasPrefix(k.Name, keyPrefix) }), next, nil
}

// of returns the principal whose names are listed.
func (in *session) of(principal string) (string, error) {
	if principal == "" || principal == in.principal {
		return in.principal, nil
	}
	return principal, in.administer(everyTopic)
}

// afterOf encodes names as Page.After of the page that follows them. parseAfter decodes
// it.
func afterOf(names ...string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join(names, "\x00")))
}

func parseAfter(after string, n int) ([]string, error) {
	b, err := base64.RawURLEncoding.DecodeString(after)
	names := strings.Split(string(b), "\x00")
	if after == "" {
		return make([]string, n), nil
	}
	if err != nil || len(names) != n {
		return nil, &fault.Error{Code: fault.Malformed, At: -1, Text: "after: want what the page before calls next"}
	}
	return names, nil
}

// administer returns an error if the principal may not administer a topic, or all topics
// of a pattern. Anonymous peers never may.
func (in *session) administer(topic string) error {
	if in.endpoint.authorize != nil && (in.allows == nil || in.allows(access.Admin, topic)) {
		return nil
	}
	f := &fault.Error{Code: fault.Forbidden, At: -1, Text: fmt.Sprintf("%s has no right to administer %s", in.principal, topic)}
	if in.endpoint.authorize == nil {
		f.Hint = "a server that knows who speaks can give it"
	}
	return in.deny(f)
}

// missing returns the fault for a name that does not exist.
func missing(format string, args ...any) error {
	return &fault.Error{Code: fault.Unsupported, At: -1, Text: fmt.Sprintf(format, args...), Err: dialect.ErrMissing}
}

// point returns the position that a request names.
func (s *Server) point(ctx context.Context, name, text string) (store.Position, error) {
	where, err := point.Parse(text)
	if err == nil && text == "" {
		err = errors.New("want a place, as earliest, latest, a position, a time or an age")
	}
	if err != nil {
		return store.Position{}, &fault.Error{Code: fault.Malformed, At: -1, Text: name + ": " + err.Error(), Err: err}
	}
	p, err := where.In(ctx, s.store)
	if err == nil {
		err = s.store.CheckPosition(ctx, p)
	}
	if err != nil {
		return p, faultOfStore(ctx, err)
	}
	return p, nil
}

// ResetCursor implements [dialect.Operator].
func (in *session) ResetCursor(ctx context.Context, r dialect.ResetRequest) (dialect.Moved, error) {
	whose, err := in.of(r.Principal)
	if err != nil {
		return dialect.Moved{}, err
	}
	to, err := in.s.point(ctx, "to", r.To)
	if err != nil {
		return dialect.Moved{}, err
	}
	all, err := in.s.store.Cursors(ctx)
	if err != nil {
		return dialect.Moved{}, faultOfStore(ctx, err)
	}
	all = slices.DeleteFunc(all, func(c store.SavedCursor) bool {
		return c.Principal != whose || c.Name != r.Name || r.Subscription != "" && c.Subscription != r.Subscription
	})
	switch len(all) {
	case 0:
		return dialect.Moved{}, missing("there is no cursor %.100q", r.Name)
	case 1:
	default:
		return dialect.Moved{}, &fault.Error{
			Code: fault.Malformed, At: -1,
			Text: fmt.Sprintf("%d cursors are called %.100q", len(all), r.Name), Hint: "reads says which, by what it reads",
		}
	}
	for _, topic := range wire.Topics(all[0].Subscription) {
		if err := in.administer(topic); err != nil {
			return dialect.Moved{}, err
		}
	}
	moved := dialect.Moved{CursorName: all[0].CursorName, From: all[0].Position}
	in.worker.Rest()
	if err := in.s.store.Reset(ctx, moved.CursorName, to); err != nil {
		return dialect.Moved{}, faultOfStore(ctx, err)
	}
	if moved.To, _, err = in.s.store.Cursor(ctx, moved.CursorName); err != nil {
		return dialect.Moved{}, faultOfStore(ctx, err)
	}
	in.s.logPeer("a cursor was moved", "remote", in.peer, "principal", in.principal, "cursor", r.Name, "from", moved.From, "to", moved.To)
	return moved, nil
}

// CommitCursor implements [dialect.Operator].
func (in *session) CommitCursor(ctx context.Context, r dialect.CommitRequest) (at store.Position, err error) {
	topics := wire.Topics(r.Subscription)
	if len(topics) == 0 {
		return at, &fault.Error{Code: fault.Malformed, At: -1, Text: "reads: want the cursor's subscription, as it was written"}
	}
	for _, pattern := range topics {
		if err := in.mayRead(pattern); err != nil {
			return at, err
		}
	}
	p, err := store.ParsePosition(r.To)
	if err == nil && p.IsZero() {
		err = errors.New("want a position, as reading tells it")
	}
	if err != nil {
		return at, &fault.Error{Code: fault.Malformed, At: -1, Text: "to: " + err.Error(), Err: err}
	}
	in.worker.Rest()
	if err := in.s.store.CheckPosition(ctx, p); err != nil {
		return at, faultOfStore(ctx, err)
	}
	c := store.CursorName{Principal: in.principal, Name: r.Name, Subscription: r.Subscription}
	epoch, release, err := in.s.cursors.borrow(ctx, in.s.store, c)
	if err != nil {
		return at, err
	}
	defer release()
	held := reader{s: in.s, cursor: c, epoch: epoch}
	if err := held.Commit(ctx, p); err != nil {
		return at, err
	}
	if at, _, err = in.s.store.Cursor(ctx, c); err != nil {
		return at, faultOfStore(ctx, err)
	}
	return at, nil
}

// Trim implements [dialect.Operator].
func (in *session) Trim(ctx context.Context, topic, before string) (t store.TopicStat, err error) {
	if err := store.CheckTopic(topic); err != nil {
		return t, &fault.Error{Code: fault.Topic, At: -1, Text: err.Error(), Err: err}
	}
	if err := in.administer(topic); err != nil {
		return t, err
	}
	to, err := in.s.point(ctx, "before", before)
	if err != nil {
		return t, err
	}
	in.worker.Rest()
	had, err := in.topic(ctx, topic)
	if err != nil {
		return t, err
	}
	if err := in.s.store.Trim(ctx, topic, to); err != nil {
		return t, faultOfStore(ctx, err)
	}
	if t, err = in.topic(ctx, topic); err == nil {
		in.s.logPeer("a topic was trimmed", "remote", in.peer, "principal", in.principal, "topic", topic, "before", to, "had", had.Records, "has", t.Records)
	}
	return t, err
}

// topic returns the store's figures for a topic.
func (in *session) topic(ctx context.Context, name string) (store.TopicStat, error) {
	found, err := in.s.store.Topics(ctx, name)
	if err != nil {
		return store.TopicStat{}, faultOfStore(ctx, err)
	}
	if len(found) != 1 || found[0].Name != name {
		return store.TopicStat{}, missing("there is no topic %s", name)
	}
	return found[0], nil
}

// backupName matches valid names of backups: one word, a file name within BackupDir.
var backupName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$`)

// Backup implements [dialect.Operator].
func (in *session) Backup(ctx context.Context, name string) (string, error) {
	if err := in.administer(everyTopic); err != nil {
		return "", err
	}
	from, ok := in.s.store.(store.Backuper)
	if in.s.BackupDir == "" || !ok {
		return "", &fault.Error{Code: fault.Unsupported, At: -1, Text: "this server makes no backups", Hint: "one that keeps its store on disk does, where BackupDir says where they go"}
	}
	name = cmp.Or(name, time.Now().UTC().Format("20060102T150405.000Z"))
	if !backupName.MatchString(name) || strings.HasSuffix(name, ".part") {
		return "", &fault.Error{Code: fault.Malformed, At: -1, Text: "name: want at most 100 letters, digits, '.', '_' and '-', not with a dot first, nor .part at the end"}
	}
	if !in.s.backups.TryLock() {
		return "", &fault.Error{Code: fault.Unavailable, At: -1, Text: "another backup is being made", Retry: retryLimit}
	}
	defer in.s.backups.Unlock()
	dir := filepath.Join(in.s.BackupDir, name)
	in.worker.Rest()
	err := from.Backup(ctx, dir)
	switch {
	case err == nil:
		in.s.logPeer("a backup was made", "remote", in.peer, "principal", in.principal, "directory", dir)
		return dir, nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(err, fs.ErrExist):
		return "", &fault.Error{Code: fault.Conflict, At: -1, Text: fmt.Sprintf("a backup called %s is there already", name), Err: err}
	default:
		return "", &fault.Error{Code: fault.Internal, At: -1, Text: "the backup failed", Err: err}
	}
}
