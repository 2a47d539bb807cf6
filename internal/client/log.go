package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
)

// A LogHandler sends log records to a topic: see the public one.
type LogHandler struct {
	s       *sender
	o       slog.HandlerOptions
	dropped *atomic.Int64
	open    []opened
}

// An opened is a group, or attributes, that With has opened or added.
type opened struct {
	group string // "": attrs
	attrs []slog.Attr
}

// NewLogHandler returns a handler that sends to a topic.
func NewLogHandler(c *Client, topic string, o slog.HandlerOptions) (*LogHandler, error) {
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
		h.setBuiltin(d, slog.Time(slog.TimeKey, r.Time))
	}
	h.setBuiltin(d, slog.Any(slog.LevelKey, r.Level))
	h.setBuiltin(d, slog.String(slog.MessageKey, r.Message))
	if at := r.Source(); h.o.AddSource && at != nil {
		h.setBuiltin(d, slog.Any(slog.SourceKey, at))
	}
	var own []slog.Attr
	r.Attrs(func(a slog.Attr) bool {
		own = append(own, a)
		return true
	})
	h.addOpened(d, h.open, own, nil)
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

// setBuiltin sets the time, level, message or source of a record.
func (h *LogHandler) setBuiltin(d *dict.Dict, a slog.Attr) {
	if a = h.replaced(nil, a); !a.Equal(slog.Attr{}) {
		d.Set(a.Key, valueOf(a.Value.Any()))
	}
}

// replaced returns the result of ReplaceAttr for an attribute that is not a group, with its
// value resolved.
func (h *LogHandler) replaced(groups []string, a slog.Attr) slog.Attr {
	if a.Value = a.Value.Resolve(); h.o.ReplaceAttr == nil || a.Value.Kind() == slog.KindGroup {
		return a
	}
	a = h.o.ReplaceAttr(groups, a)
	a.Value = a.Value.Resolve()
	return a
}

// addOpened adds what With has added, and then the record's own attributes in the
// group that was opened last. A group without attributes is left out.
func (h *LogHandler) addOpened(d *dict.Dict, open []opened, own []slog.Attr, groups []string) {
	for i, o := range open {
		if o.group == "" {
			h.addAttrs(d, o.attrs, groups)
			continue
		}
		group := new(dict.Dict)
		h.addOpened(group, open[i+1:], own, append(slices.Clip(groups), o.group))
		if group.Len() > 0 {
			set(d, o.group, group.Value(), groups)
		}
		return
	}
	h.addAttrs(d, own, groups)
}

func (h *LogHandler) addAttrs(d *dict.Dict, attrs []slog.Attr, groups []string) {
	for _, a := range attrs {
		a = h.replaced(groups, a)
		switch {
		case a.Key == "" && a.Value.Kind() == slog.KindGroup: // its attributes belong here
			h.addAttrs(d, a.Value.Group(), groups)
		case a.Equal(slog.Attr{}):
		case a.Value.Kind() == slog.KindGroup:
			group := new(dict.Dict)
			h.addAttrs(group, a.Value.Group(), append(slices.Clip(groups), a.Key))
			if group.Len() > 0 {
				set(d, a.Key, group.Value(), groups)
			}
		default:
			set(d, a.Key, valueOf(a.Value.Any()), groups)
		}
	}
}

// set sets a key. Outside of groups, a key that the record itself has gets a "_".
func set(d *dict.Dict, key string, v dict.Value, groups []string) {
	if len(groups) == 0 && (key == slog.TimeKey || key == slog.LevelKey || key == slog.MessageKey) {
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
	switch v := v.(type) {
	case error:
		return dict.String(v.Error())
	case slog.Level:
		return dict.String(v.String())
	case *slog.Source:
		return dict.Of("function", v.Function, "file", v.File, "line", v.Line).Value()
	}
	value, err := dict.ValueOf(v)
	if err != nil {
		return dict.String(fmt.Sprintf("%+v", v))
	}
	return value
}
