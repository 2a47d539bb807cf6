package pebble

import engine "github.com/cockroachdb/pebble/v2"

// comparer orders keys by their bytes, and leads to a part of a table for keys
// that are in it alone. The engine's own has shorter keys in a table's index, which
// also lead there for some that come later: where such a part is damaged, it would
// hide blocks in other tables.
var comparer = func() *engine.Comparer {
	c := *engine.DefaultComparer
	c.Separator = func(dst, a, _ []byte) []byte { return append(dst, a...) }
	c.Successor = func(dst, a []byte) []byte { return append(dst, a...) }
	return &c
}()
