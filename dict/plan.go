package dict

import (
	"reflect"
	"sync"
)

// A plan is how values of one Go type are converted, in both directions. It is completed
// when it is first used, so that a type may refer to itself.
type plan struct {
	t    reflect.Type
	kind reflect.Kind

	once   sync.Once // completes the plan
	way    way
	reads  reading
	key    *plan        // of a map
	elem   *plan        // of a pointer, slice, array or map
	slice  reflect.Type // of a map's values
	layout *layout      // of a struct
}

var plans sync.Map // of reflect.Type to *plan

func planOf(t reflect.Type) *plan {
	known, ok := plans.Load(t)
	if !ok {
		known, _ = plans.LoadOrStore(t, &plan{t: t, kind: t.Kind()})
	}
	return known.(*plan)
}

func (p *plan) make() {
	p.way, p.reads = ownWay(p.t), readingOf(p.t)
	switch p.kind {
	case reflect.Map:
		p.key, p.elem, p.slice = planOf(p.t.Key()), planOf(p.t.Elem()), reflect.SliceOf(p.t.Elem())
	case reflect.Pointer, reflect.Slice, reflect.Array:
		p.elem = planOf(p.t.Elem())
	case reflect.Struct:
		p.layout = newLayout(p.t)
		switch {
		case p.way != byKind || !p.layout.hidden:
		case has(p.t, stringers):
			p.way = byString
		default:
			p.way = hidden
		}
	default: // no parts
	}
}

// A reading is the set of unmarshalling methods of a pointer to a type.
type reading struct{ dict, json, text bool }

func readingOf(t reflect.Type) reading {
	if t.Kind() == reflect.Interface || t.PkgPath() == "" && t.Kind() != reflect.Struct { // no methods
		return reading{}
	}
	return reading{dict: has(t, unmarshalers), json: has(t, jsonUnmarshalers), text: has(t, textUnmarshalers)}
}

// A scratch is a Builder for one conversion.
type scratch struct {
	Builder
	layouts []placedLayout
	last    *plan // of the last conversion; types often repeat
}

// A placedLayout says where the text of a layout's keys is. The text of the first layout
// is Builder.src, so that dictionaries made from structs of one type share it; that of
// others is copied into Builder.own.
type placedLayout struct {
	*layout
	flags uint8
	at    uint64
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// keepScratch is how many bytes a scratch may keep for the next conversion.
const keepScratch = 64 << 10

// newScratch returns a scratch, to be freed.
func newScratch() *scratch {
	b := scratches.Get().(*scratch)
	b.Reset(nil)
	b.layouts = b.layouts[:0]
	return b
}

func (b *scratch) free() {
	if b.Scratch() <= keepScratch {
		scratches.Put(b)
	}
}

// planOf is the function planOf with a cache of one.
func (b *scratch) planOf(t reflect.Type) *plan {
	if b.last == nil || b.last.t != t {
		b.last = planOf(t)
	}
	return b.last
}

// place returns where the text of l's keys is.
func (b *scratch) place(l *layout) placedLayout {
	for _, p := range b.layouts {
		if p.layout == l {
			return p
		}
	}
	p := placedLayout{layout: l}
	if len(b.layouts) == 0 {
		b.src = l.keys
	} else {
		p.flags, p.at = flagOwn, uint64(len(b.own))
		b.own = append(b.own, l.keys...)
	}
	b.layouts = append(b.layouts, p)
	return p
}
