package json

import (
	"strconv"
	"strings"

	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/substitute"

	"github.com/dictwire/dictwire/internal/jsontext"
)

// Render appends d as RFC 8259 JSON for other programs, whatever is in d. What JSON
// lacks is written in one of two ways.
//
// A rendering has the same content in another form, by the rules of
// [substitute.Of]: a datetime as RFC 3339 text, bytes in base64, tuples and sets
// as arrays, and keys as [substitute.OfKey] has them.
//
// A destructive substitute does not, and is reported in r:
//
//	NaN, Infinity, -Infinity      null
//	a lone surrogate              U+FFFD
//	a dictionary of which two     {"_pairs": [[key, value], …]}, the keys written
//	keys would be the same text   as values are
//
// r, if it is not nil, is added to. Each destructive substitute costs the time to
// write its path.
func Render(dst []byte, d *dict.Dict, r *Report) []byte {
	w := renderer{dst: dst, report: r}
	w.value(d.Value())
	return w.dst
}

// PairsKey is the only key of what [Render] writes for a dictionary in which two keys would
// be the same text.
const PairsKey = "_pairs"

// A Report says what [Render] has written in the place of what JSON lacks. It may be
// handed to several calls.
type Report struct {
	Rendered int    // how many values and keys are renderings
	Lost     int    // how many substitutes are destructive
	Losses   []Loss // the first MaxLosses of them
}

// MaxLosses is how many destructive substitutes a [Report] names.
const MaxLosses = 16

// Reset makes r empty. It keeps its memory.
func (r *Report) Reset() { *r = Report{Losses: r.Losses[:0]} }

// A Loss is one destructive substitute.
type Loss struct {
	Path string // of the value, or of the dictionary with the key; "" at the top
	Key  bool   // it is of a key
	What Lost
}

// String returns the loss as messages tell it: "/a/0: NaN is written as null".
func (l Loss) String() string {
	path := l.Path
	if path == "" {
		path = "/"
	}
	if l.Key {
		return path + ": in a key, " + l.What.String()
	}
	return path + ": " + l.What.String()
}

// Lost is what a destructive substitute has replaced.
type Lost uint8

// What substitutes have replaced.
const (
	LostNaN        Lost = 1 + iota // NaN, as null
	LostInfinity                   // Infinity or -Infinity, as null
	LostSurrogates                 // a string's lone surrogates, each as U+FFFD
	LostKeys                       // a dictionary with keys that would be the same, as {"_pairs": …}
)

// String returns what was lost and what replaces it: "NaN is written as null".
func (l Lost) String() string {
	switch l {
	case LostNaN:
		return "NaN is written as null"
	case LostInfinity:
		return "an infinity is written as null"
	case LostSurrogates:
		return "lone surrogates are written as U+FFFD"
	case LostKeys:
		return `keys that would be the same text are written as {"` + PairsKey + `": [[key, value], …]}`
	default:
		return "unknown loss"
	}
}

// Name returns the loss in one word for programs: "nan".
func (l Lost) Name() string {
	switch l {
	case LostNaN:
		return "nan"
	case LostInfinity:
		return "infinity"
	case LostSurrogates:
		return "surrogate"
	case LostKeys:
		return "same-keys"
	default:
		return "unknown"
	}
}

// A renderer writes one dictionary.
type renderer struct {
	dst    []byte
	report *Report
	way    []string // the parts of the path to the value in hand, if there is a report
}

func (w *renderer) lost(what Lost, key bool) {
	r := w.report
	if r == nil {
		return
	}
	r.Lost++
	if len(r.Losses) < MaxLosses {
		path := strings.Join(w.way, "/")
		if len(w.way) > 0 {
			path = "/" + path
		}
		r.Losses = append(r.Losses, Loss{Path: path, Key: key, What: what})
	}
}

func (w *renderer) rendered() {
	if w.report != nil {
		w.report.Rendered++
	}
}

// down goes to a part of the value in hand, and up back.
func (w *renderer) down(part string) {
	if w.report != nil {
		w.way = append(w.way, part)
	}
}

func (w *renderer) up() {
	if w.report != nil {
		w.way = w.way[:len(w.way)-1]
	}
}

func (w *renderer) value(v dict.Value) {
	switch v.Kind() {
	case dict.KindNull:
		w.dst = append(w.dst, "null"...)
	case dict.KindBool:
		b, _ := v.Bool()
		w.dst = strconv.AppendBool(w.dst, b)
	case dict.KindInt:
		w.dst = v.AppendInt(w.dst)
	case dict.KindFloat:
		f, _ := v.Float()
		switch {
		case isFinite(f):
			w.dst = jsontext.AppendFloat(w.dst, f)
		case f != f:
			w.lost(LostNaN, false)
			w.dst = append(w.dst, "null"...)
		default:
			w.lost(LostInfinity, false)
			w.dst = append(w.dst, "null"...)
		}
	case dict.KindString:
		w.text(v, false)
	case dict.KindList:
		w.items(v)
	case dict.KindTuple, dict.KindSet, dict.KindFrozenSet:
		w.rendered()
		w.items(v)
	case dict.KindDict:
		w.pairs(v)
	case dict.KindOrderedDict:
		w.rendered()
		w.pairs(v)
	case dict.KindDecimal:
		if out, ok := dict.AppendJSONNumber(w.dst, v); ok {
			w.dst = out
			return
		}
		fallthrough
	default:
		w.rendered()
		for v.Kind() != dict.KindString {
			v = substitute.Of(v)
		}
		w.text(v, false)
	}
}

// text writes a string, U+FFFD in the place of lone surrogates.
func (w *renderer) text(v dict.Value, key bool) {
	if v.HasSurrogates() {
		w.lost(LostSurrogates, key)
		v = substitute.Of(v)
	}
	text, _ := v.TextBytes()
	w.dst = jsontext.AppendString(w.dst, text)
}

func (w *renderer) items(v dict.Value) {
	w.dst = append(w.dst, '[')
	i := 0
	for item := range v.Items() {
		if i > 0 {
			w.dst = append(w.dst, ',')
		}
		w.down(strconv.Itoa(i))
		w.value(item)
		w.up()
		i++
	}
	w.dst = append(w.dst, ']')
}

func (w *renderer) pairs(v dict.Value) {
	if sameKeys(v) {
		w.lost(LostKeys, false)
		w.listOfPairs(v)
		return
	}
	w.dst = append(w.dst, '{')
	first := true
	for k, item := range v.Pairs() {
		if !first {
			w.dst = append(w.dst, ',')
		}
		first = false
		if k.Kind() != dict.KindString {
			w.rendered()
		}
		w.text(substitute.OfKey(k), true)
		w.dst = append(w.dst, ':')
		w.child(k, item)
	}
	w.dst = append(w.dst, '}')
}

// child writes the value of a key.
func (w *renderer) child(k, item dict.Value) {
	if w.report != nil {
		w.down(substitute.KeyText(k))
	}
	w.value(item)
	w.up()
}

func (w *renderer) listOfPairs(v dict.Value) {
	w.dst = append(w.dst, `{"`+PairsKey+`":[`...)
	first := true
	for k, item := range v.Pairs() {
		if !first {
			w.dst = append(w.dst, ',')
		}
		first = false
		w.dst = append(w.dst, '[')
		w.value(k)
		w.dst = append(w.dst, ',')
		w.child(k, item)
		w.dst = append(w.dst, ']')
	}
	w.dst = append(w.dst, "]}"...)
}

// sameKeys reports whether two keys of a dictionary would be the same text.
func sameKeys(v dict.Value) bool {
	usual := true // strings differ, and are written as they are
	for k := range v.Pairs() {
		if k.Kind() != dict.KindString || k.HasSurrogates() {
			usual = false
			break
		}
	}
	if usual {
		return false
	}
	var written substitute.Keys
	for k := range v.Pairs() {
		k = substitute.OfKey(k)
		if k.HasSurrogates() {
			k = substitute.Of(k)
		}
		if written.Twice(k) {
			return true
		}
	}
	return false
}

// IsStrict reports whether a record that Decode accepts is RFC 8259 without lone
// surrogates, so that any other program can read it as it is.
func IsStrict(record []byte) bool {
	for i := 0; i < len(record); i++ {
		switch c := record[i]; c {
		case 'N', 'I': // of NaN and Infinity: no other word has it
			return false
		case '"':
			end, strict := strictText(record, i+1)
			if !strict {
				return false
			}
			i = end
		}
	}
	return true
}

// strictText returns the offset of the closing quote of the string that begins at i, and
// whether the string has no lone surrogates.
func strictText(b []byte, i int) (end int, strict bool) {
	high := -1 // where the low surrogate of a pair must begin
	for ; b[i] != '"'; i++ {
		if b[i] != '\\' {
			continue
		}
		if b[i+1] != 'u' {
			i++
			continue
		}
		r := jsontext.Hex4(b[i+2:])
		switch {
		case r >= 0xDC00 && r <= 0xDFFF:
			if high != i {
				return i, false
			}
			high = -1
		case high >= 0:
			return i, false
		case r >= 0xD800 && r < 0xDC00:
			if high = i + 6; high+1 >= len(b) || b[high] != '\\' || b[high+1] != 'u' {
				return i, false
			}
		}
		i += 5
	}
	return i, high < 0
}
