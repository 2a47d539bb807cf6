package dict

import (
	"fmt"
	"iter"
	"sync/atomic"
)

// A Dict is an ordered map with unique keys. The zero Dict is empty and ready to use. A
// nil *Dict is empty and can be read.
//
// Keys keep the order in which they were first set. They may be of any hashable kind and
// are compared as in Python: 1, 1.0 and True are the same key, and NaN never equals
// anything.
//
// A Dict that a codec decoded refers to the bytes it was decoded from. They must not
// change while the Dict or a Value of it is in use. [Dict.Clone] returns an independent
// copy.
//
// Any number of goroutines may read a Dict at once. Changing it excludes all other use.
type Dict struct {
	v  Value // the content; the zero Value is the empty dictionary
	ix atomic.Pointer[index]
}

// Of returns a dictionary of the given keys and values in turn, each converted
// as [ValueOf] does:
//
//	dict.Of("name", "Alice", "age", 30)
//
// It panics on programming errors: an odd number of arguments, a value that can't be
// converted, or a key that is not hashable.
func Of(keysAndValues ...any) *Dict {
	if len(keysAndValues)%2 != 0 {
		panic("dict: Of wants keys and values in turn, and the last key has no value")
	}
	d := new(Dict)
	for i := 0; i < len(keysAndValues); i += 2 {
		k, err := ValueOf(keysAndValues[i])
		if err != nil {
			panic(err)
		}
		v, err := ValueOf(keysAndValues[i+1])
		if err != nil {
			panic(err)
		}
		if err := d.SetKey(k, v); err != nil {
			panic(err)
		}
	}
	return d
}

// Kind returns KindDict, or KindOrderedDict for a dictionary that Python calls
// OrderedDict.
func (d *Dict) Kind() Kind {
	if d != nil && d.v.kind == KindOrderedDict {
		return KindOrderedDict
	}
	return KindDict
}

// Ordered returns the content of d as a dictionary of kind KindOrderedDict. It
// shares d's memory until one of them is changed.
func (d *Dict) Ordered() *Dict {
	v := d.Value()
	v.kind = KindOrderedDict
	ordered, _ := v.Dict()
	return ordered
}

// Len returns the number of keys.
func (d *Dict) Len() int {
	if d == nil {
		return 0
	}
	return int(d.v.n)
}

// All iterates over the keys and values in order. The dictionary must not be changed
// during the iteration.
func (d *Dict) All() iter.Seq2[Value, Value] {
	if d == nil {
		return Value{}.Pairs()
	}
	return d.v.Pairs()
}

// Value returns the current content of d. Later changes of d do not affect it. It takes
// constant time, since the memory is shared until d is changed.
func (d *Dict) Value() Value {
	if d == nil || !d.v.kind.IsDict() {
		return treeValue(KindDict, nil, 0)
	}
	return d.v.share()
}

// Get returns the value of a string key.
func (d *Dict) Get(key string) (Value, bool) {
	if d.Len() > indexFrom {
		return d.GetKey(String(key))
	}
	for k, v := range d.All() {
		if k.kind == KindString && string(k.t.text(k.node)) == key {
			return v, true
		}
	}
	return Value{}, false
}

// GetKey returns the value of a key of any kind.
func (d *Dict) GetKey(key Value) (Value, bool) {
	if d.Len() == 0 {
		return Value{}, false
	}
	_, v, ok := d.find(key)
	return v, ok
}

// Set sets the value of a string key. An existing key keeps its place.
func (d *Dict) Set(key string, v Value) { d.put(String(key), v) }

// SetKey sets the value of a key of any hashable kind. If an equal key exists, that key
// stays and its value is replaced, as in Python. The error is a *[HashError] for a key
// that is not hashable.
func (d *Dict) SetKey(key, v Value) error {
	if err := Hashable(key); err != nil {
		return err
	}
	d.put(key, v)
	return nil
}

// Delete removes a string key and reports whether it existed.
func (d *Dict) Delete(key string) bool { return d.DeleteKey(String(key)) }

// DeleteKey removes a key of any kind and reports whether it existed.
func (d *Dict) DeleteKey(key Value) bool {
	if d.Len() == 0 {
		return false
	}
	at, _, ok := d.find(key)
	if !ok {
		return false
	}
	d.toTree()
	items := d.v.t.tree.items
	copy(items[2*at:], items[2*at+2:])
	clear(items[len(items)-2:])
	d.v.t.tree.items = items[:len(items)-2]
	d.v.n--
	d.ix.Store(nil)
	return true
}

// Equal reports whether d and o hold equal values under equal keys in the same
// order, by the rules of [Equal].
func (d *Dict) Equal(o *Dict) bool { return Equal(d.Value(), o.Value()) }

// Clone returns a copy of d that shares no memory with d, nor with the bytes that d was
// decoded from.
func (d *Dict) Clone() *Dict {
	var b Builder
	b.Reset(nil)
	b.add(d.Value())
	return b.Dict()
}

// String returns d as CPython prints it: [Repr] with [DefaultPython].
func (d *Dict) String() string { return d.Value().String() }

// put sets a hashable key.
func (d *Dict) put(key, v Value) {
	if d.Len() > 0 {
		if at, _, ok := d.find(key); ok {
			d.toTree()
			d.v.t.tree.items[2*at+1] = v
			return
		}
	}
	d.toTree()
	d.v.t.tree.items = append(d.v.t.tree.items, key, v)
	d.v.n++
	if ix := d.ix.Load(); ix != nil {
		ix.add(d.v)
	}
}

// toTree gives d its own items, which can be changed.
func (d *Dict) toTree() {
	if d.v.flags&flagTree != 0 && !d.v.t.tree.shared.Load() {
		return
	}
	items := make([]Value, 0, 2*d.v.n+2)
	for k, v := range d.v.Pairs() {
		items = append(items, k, v)
	}
	d.v = treeValue(d.Kind(), items, len(items)/2)
}

// A HashError says that a key is of a kind that Python cannot hash.
type HashError struct{ Kind Kind }

func (e *HashError) Error() string {
	return fmt.Sprintf("dict: a %s can't be a key (unhashable)", e.Kind)
}
