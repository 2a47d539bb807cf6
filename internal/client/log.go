package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
)

// A LogHandler sends log records to a topic: see the public one.
type LogHandler struct {
	s       *sender
	o       LogOptions
	dropped *atomic.Int64
	open    []opened
}

// LogOptions are those of a [LogHandler].
type LogOptions struct {
	Level     slog.Leveler // nil means [slog.LevelInfo]
	AddSource bool
}

// An opened is a group, or attributes, that With has opened or added.
type opened struct {
	group string // "": attrs
	attrs []slog.Attr
}

// NewLogHandler returns a handler that sends to a topic.
func NewLogHandler(c *Client, topic string, o LogOptions) (*LogHandler, error) {
	s, err := c.sender(topic)
	if err != nil {
		return nil, err
	}
	return &LogHandler{s: s, o: o, dropped: new(atomic.Int64)}, nil
}

// Enabled reports whether records of a level are sent.
func (h *LogHandler) Enabled(_ context.Context, level slog.Level) bool {
	least := slog.LevelInfo
	if h.o.Level != nil {
		least = h.o.Level.Level()
	}
	return level >= least
}

// WithAttrs returns a handler that adds attributes.
func (h *LogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(opened{attrs: attrs}, len(attrs) > 0)
}

// WithGroup returns a handler that opens a group.
func (h *LogHandler) WithGroup(name string) slog.Handler {
	return h.with(opened{group: name}, name != "")
}

func (h *LogHandler) with(o opened, some bool) *LogHandler {
	if !some {
		return h
	}
	with := *h
	with.open = append(slices.Clip(h.open), o)
	return &with
}

// Handle sends a record, and does not wait.
func (h *LogHandler) Handle(_ context.Context, r slog.Record) error {
	d := new(dict.Dict)
	if !r.Time.IsZero() {
		d.Set("time", valueOf(r.Time.Round(0)))
	}
	d.Set("level", dict.String(r.Level.String()))
	d.Set("msg", dict.String(r.Message))
	if f := source(r.PC); h.o.AddSource && f != nil {
		d.Set("source", dict.Of("function", f.Function, "file", f.File, "line", f.Line).Value())
	}
	var own []slog.Attr
	r.Attrs(func(a slog.Attr) bool {
		own = append(own, a)
		return true
	})
	addOpened(d, h.open, own, true)
	if err := h.say(); err != nil {
		h.dropped.Add(1)
		return err
	}
	return h.send(d)
}

// say sends how many records were dropped, if any were.
func (h *LogHandler) say() error {
	n := h.dropped.Swap(0)
	if n == 0 {
		return nil
	}
	tried, err := h.s.trySend(item{codec: cbor.Codec{}, dict: dict.Of(
		"time", time.Now(), "level", slog.LevelWarn.String(), "msg", "log records were dropped", "dropped", n,
	)})
	if !tried {
		err = ErrDropped
	}
	if err != nil {
		h.dropped.Add(n)
	}
	return err
}

func (h *LogHandler) send(d *dict.Dict) error {
	tried, err := h.s.trySend(item{codec: cbor.Codec{}, dict: d})
	if !tried {
		err = ErrDropped
	}
	if err != nil {
		h.dropped.Add(1)
	}
	return err
}

// Dropped returns how many records were dropped since that was last sent.
func (h *LogHandler) Dropped() int64 { return h.dropped.Load() }

// Flush returns when all records are settled: see [Client.Flush]. It says how
// many were dropped first.
func (h *LogHandler) Flush(ctx context.Context) error {
	for errors.Is(h.say(), ErrDropped) { // until there is room
		if err := h.s.c.window.await(ctx); err != nil {
			return fmt.Errorf("dictwire: flush: %w", err)
		}
	}
	return h.s.c.Flush(ctx)
}

func source(pc uintptr) *runtime.Frame {
	if pc == 0 {
		return nil
	}
	f, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	return &f
}

// addOpened adds what With has added, and then the record's own attributes in the
// group that was opened last. A group without attributes is left out.
func addOpened(d *dict.Dict, open []opened, own []slog.Attr, top bool) {
	for i, o := range open {
		if o.group == "" {
			addAttrs(d, o.attrs, top)
			continue
		}
		group := new(dict.Dict)
		addOpened(group, open[i+1:], own, false)
		if group.Len() > 0 {
			set(d, o.group, group.Value(), top)
		}
		return
	}
	addAttrs(d, own, top)
}

func addAttrs(d *dict.Dict, attrs []slog.Attr, top bool) {
	for _, a := range attrs {
		v := a.Value.Resolve()
		switch {
		case a.Key == "" && v.Kind() == slog.KindGroup: // its attributes belong here
			addAttrs(d, v.Group(), top)
		case a.Equal(slog.Attr{}):
		case v.Kind() == slog.KindGroup:
			group := new(dict.Dict)
			addAttrs(group, v.Group(), false)
			if group.Len() > 0 {
				set(d, a.Key, group.Value(), top)
			}
		default:
			set(d, a.Key, valueOf(v.Any()), top)
		}
	}
}

// set sets a key, beside those of the record itself.
func set(d *dict.Dict, key string, v dict.Value, top bool) {
	if top && (key == slog.TimeKey || key == slog.LevelKey || key == slog.MessageKey) {
		key += "_"
	}
	d.Set(key, v)
}

// valueOf converts a value, or its text. A method of v that panics does not end
// the program because of a log record: as with the handlers of log/slog, a nil
// pointer is "<nil>".
func valueOf(v any) (value dict.Value) {
	defer func() {
		r := recover()
		if p := reflect.ValueOf(v); r != nil && p.Kind() == reflect.Pointer && p.IsNil() {
			value = dict.String("<nil>")
		} else if r != nil {
			value = dict.String(fmt.Sprintf("!PANIC: %v", r))
		}
	}()
	if err, ok := v.(error); ok {
		return dict.String(err.Error())
	}
	value, err := dict.ValueOf(v)
	if err != nil {
		return dict.String(fmt.Sprintf("%+v", v))
	}
	return value
}
