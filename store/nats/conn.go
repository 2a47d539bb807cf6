package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// answerTime is how long a request waits for its answer.
const answerTime = 2 * time.Second

// A conn is a connection to the broker. It implements broker for one stream.
type conn struct {
	nc     *nats.Conn
	stream string
	logger *slog.Logger

	inbox    string
	answers  *nats.Subscription
	counter  atomic.Uint64
	mu       sync.Mutex
	awaiting map[string]chan<- *nats.Msg // by the last token of the reply's subject; guarded by mu
	busy     map[string]*busy            // by the subjects of checks; guarded by mu
}

func newConn(nc *nats.Conn, stream string, logger *slog.Logger) (*conn, error) {
	c := &conn{nc: nc, stream: stream, logger: logger, inbox: nats.NewInbox(), awaiting: map[string]chan<- *nats.Msg{}, busy: map[string]*busy{}}
	var err error
	c.answers, err = nc.Subscribe(c.inbox+".*", func(m *nats.Msg) {
		c.mu.Lock()
		to := c.awaiting[m.Subject[len(c.inbox)+1:]]
		c.mu.Unlock()
		select {
		case to <- m: // has room for every answer to the request
		default:
		}
	})
	if err == nil {
		err = c.answers.SetPendingLimits(-1, -1) // requests are bounded already
	}
	return c, err
}

// A getRequest is the body of a direct get.
type getRequest struct {
	Seq       uint64   `json:"seq,omitempty"`
	LastFor   string   `json:"last_by_subj,omitempty"`
	NextFor   string   `json:"next_by_subj,omitempty"`
	Batch     int      `json:"batch,omitempty"`
	MaxBytes  int      `json:"max_bytes,omitempty"`
	StartTime string   `json:"start_time,omitempty"`
	MultiLast []string `json:"multi_last,omitempty"`
}

// get reads up to r.Batch messages from whichever replica answers. Finding none is not an
// error.
func (c *conn) get(ctx context.Context, r getRequest) ([]stored, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	word := strconv.FormatUint(c.counter.Add(1), 36)
	answers := make(chan *nats.Msg, r.Batch+2)
	c.mu.Lock()
	c.awaiting[word] = answers
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.awaiting, word)
		c.mu.Unlock()
	}()
	if err := c.nc.PublishRequest("$JS.API.DIRECT.GET."+c.stream, c.inbox+"."+word, body); err != nil {
		return nil, err
	}
	timer := time.NewTimer(answerTime)
	defer timer.Stop()
	var all []stored
	for {
		var m *nats.Msg
		select {
		case m = <-answers:
		case <-timer.C:
			return nil, errPatience
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		timer.Reset(answerTime)
		switch status := m.Header.Get("Status"); status {
		case "":
			s, err := parseStored(m)
			if err != nil {
				return nil, err
			}
			if all = append(all, s); r.Batch == 0 {
				return all, nil
			}
		case "204", "404": // end of the batch
			return all, nil
		case "503":
			return nil, nats.ErrNoResponders
		default:
			return nil, fmt.Errorf("%s %s", status, m.Header.Get("Description"))
		}
	}
}

// parseStored parses a message of the answer to a direct get.
func parseStored(m *nats.Msg) (s stored, err error) {
	s = stored{subject: m.Header.Get("Nats-Subject"), mark: m.Header.Get(markHeader), data: m.Data}
	s.seq, err = strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	if err == nil {
		s.time, err = time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp"))
	}
	if err != nil {
		return s, fmt.Errorf("an answer to a direct get: %w", err)
	}
	return s, nil
}

func (c *conn) one(ctx context.Context, r getRequest) (stored, error) {
	all, err := c.get(ctx, r)
	if err != nil || len(all) == 0 {
		return stored{}, err
	}
	return all[0], nil
}

// last implements broker.
func (c *conn) last(ctx context.Context, subject string) (stored, error) {
	return c.one(ctx, getRequest{LastFor: subject})
}

// next implements broker.
func (c *conn) next(ctx context.Context, subject string, from uint64) (stored, error) {
	return c.one(ctx, getRequest{NextFor: subject, Seq: from})
}

// An answer is the broker's reply to a publication.
type answer struct {
	Seq   uint64 `json:"seq"`
	Error *struct {
		Code        int    `json:"code"`
		Err         int    `json:"err_code"`
		Description string `json:"description"`
	} `json:"error"`
}

// The broker's error numbers.
const (
	codeConflict = 10071 // the check failed
	codeBusy     = 10164 // another publication with the same check is in progress; nothing is stored
	codeTorn     = 10176 // messages of a batch are missing, or there were too many batches
	codeStore    = 10077 // the store failed, at any stage
	codeLeader   = 10008 // no leader
)

// publish implements broker.
func (c *conn) publish(ctx context.Context, k *check, messages ...message) (uint64, error) {
	seq, err := c.send(ctx, k, messages...)
	if k != nil {
		c.watch(ctx, k.subject, err)
	}
	return seq, err
}

// send is one try of publish.
func (c *conn) send(ctx context.Context, k *check, messages ...message) (uint64, error) {
	if len(messages) > maxBatch {
		return 0, errLarge(len(messages))
	}
	batch := ""
	if len(messages) > 1 {
		batch = nuid.Next()
	}
	for i, m := range messages {
		msg := nats.NewMsg(m.subject)
		msg.Data = m.data
		set := func(name, value string) { msg.Header[name] = []string{value} }
		set("Nats-Expected-Stream", c.stream)
		if m.mark != "" {
			set(markHeader, m.mark)
		}
		if k != nil && i == 0 {
			set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(k.seq, 10))
			set("Nats-Expected-Last-Subject-Sequence-Subject", k.subject)
		}
		if m.rollup {
			set("Nats-Rollup", "sub")
		}
		if m.ttl > 0 {
			set("Nats-TTL", m.ttl.String())
		}
		if m.id != "" {
			set("Nats-Msg-Id", m.id)
		}
		if batch != "" {
			set("Nats-Batch-Id", batch)
			set("Nats-Batch-Sequence", strconv.Itoa(i+1))
		}
		if i < len(messages)-1 {
			if err := c.nc.PublishMsg(msg); err != nil {
				return 0, notSent(err)
			}
			continue
		}
		if batch != "" {
			set("Nats-Batch-Commit", "1")
		}
		limit, cancel := context.WithTimeout(ctx, answerTime)
		defer cancel()
		reply, err := c.nc.RequestMsgWithContext(limit, msg)
		if err != nil {
			return 0, notAnswered(err)
		}
		return parseAnswer(reply.Data)
	}
	return 0, nil
}

// notSent wraps the error of a message that could not be sent.
func notSent(err error) error {
	return fmt.Errorf("%w: %w", errNotStored, err)
}

// notAnswered wraps the error of a request that failed: errNotStored if the broker can't
// have stored the message, otherwise errUnknown.
func notAnswered(err error) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %w", errNotStored, err) // if max_payload was lowered, the next append uses smaller messages
	default:
		return fmt.Errorf("%w: %w", errUnknown, err)
	}
}

func parseAnswer(data []byte) (uint64, error) {
	var a answer
	if err := json.Unmarshal(data, &a); err != nil {
		return 0, fmt.Errorf("%w: %w", errUnknown, err)
	}
	if a.Error == nil {
		if a.Seq == 0 {
			return 0, fmt.Errorf("%w: no sequence in %.100q", errUnknown, data)
		}
		return a.Seq, nil
	}
	err := fmt.Errorf("%s (%d)", strings.TrimSpace(a.Error.Description), a.Error.Err)
	switch {
	case a.Error.Err == codeConflict:
		return 0, fmt.Errorf("%w: %w", errConflict, err)
	case a.Error.Err == codeBusy:
		return 0, fmt.Errorf("%w: %w", errBusy, err)
	case a.Error.Err == codeTorn, a.Error.Code == 429:
		return 0, fmt.Errorf("%w: %w", errNotStored, err)
	case a.Error.Err == codeStore, a.Error.Code >= 500:
		return 0, fmt.Errorf("%w: %w", errUnknown, err)
	default:
		return 0, err
	}
}

// erase asks the broker to delete a message that has been superseded. It doesn't wait for
// an answer.
func (c *conn) erase(seq uint64) {
	_ = c.nc.PublishRequest("$JS.API.STREAM.MSG.DELETE."+c.stream, c.inbox+".-", fmt.Appendf(nil, `{"seq":%d,"no_erase":true}`, seq))
}

// leaderNext returns the first message of a subject from a sequence on, read from the
// leader, which is never behind a replica.
func (c *conn) leaderNext(ctx context.Context, subject string, from uint64) (s stored, err error) {
	body, err := json.Marshal(getRequest{NextFor: subject, Seq: from})
	if err != nil {
		return s, err
	}
	limit, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	reply, err := c.nc.RequestWithContext(limit, "$JS.API.STREAM.MSG.GET."+c.stream, body)
	if err != nil {
		return s, err
	}
	var a struct {
		Message struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Headers []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
		Error *struct {
			Code        int    `json:"code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &a); err != nil {
		return s, err
	}
	if a.Error != nil {
		if a.Error.Code == 404 {
			return s, nil
		}
		return s, errors.New(a.Error.Description)
	}
	s = stored{subject: a.Message.Subject, seq: a.Message.Seq, time: a.Message.Time, data: a.Message.Data}
	if len(a.Message.Headers) > 0 {
		h, err := nats.DecodeHeadersMsg(a.Message.Headers)
		if err != nil {
			return s, err
		}
		s.mark = h.Get(markHeader)
	}
	return s, nil
}

// some returns the next messages of a subject from a sequence on, in order. It returns none
// if there are no more.
func (c *conn) some(ctx context.Context, subject string, from uint64) ([]stored, error) {
	tries := pace{}
	for all := range read(ctx, &tries, func() ([]stored, error) {
		return c.get(ctx, getRequest{NextFor: subject, Seq: from, Batch: 512, MaxBytes: 1 << 20})
	}) {
		if len(all) > 0 {
			return all, nil
		}
		m, err := c.leaderNext(ctx, subject, from) // that replica may be behind; ask the leader
		switch {
		case err != nil:
			tries.failed(err)
		case m.seq == 0:
			return nil, nil
		default:
			return []stored{m}, nil
		}
	}
	return nil, tries.err(ctx)
}
