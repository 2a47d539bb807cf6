// Package substitute has what codecs write for values that their formats can't hold, and the
// errors of those that do not substitute.
package substitute

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/dictwire/dictwire/dict"
)

// Of returns what a codec that is told to be lossy writes for a value that
// its format can't hold, by one rule a kind:
//
//	tuple, set, frozenset       a list
//	ordered dict                a dict
//	bytearray                   bytes
//	bytes                       a string in base64
//	datetime, date, time        an ISO string, as Python's isoformat and with
//	                            nanoseconds in 9 digits; a zone of the time zone
//	                            database follows in brackets
//	int                         a string of its digits
//	string with lone surrogates the same with U+FFFD in their place
//	decimal, uuid, complex,     a string, as Python's str prints it
//	timedelta
//	tagged value                a string, as Python's repr prints it
//	null, bool, float           a string, as JSON spells it (for keys)
//
// Where the format can't hold that either, its substitute is written. This ends
// with a string.
func Of(v dict.Value) dict.Value {
	switch v.Kind() {
	case dict.KindTuple, dict.KindSet, dict.KindFrozenSet:
		items := make([]dict.Value, 0, v.Len())
		for item := range v.Items() {
			items = append(items, item)
		}
		return dict.List(items...)
	case dict.KindOrderedDict:
		d := new(dict.Dict)
		for k, item := range v.Pairs() {
			_ = d.SetKey(k, item) // it was a key
		}
		return d.Value()
	case dict.KindByteArray:
		b, _ := v.Bytes()
		return dict.Bytes(b)
	case dict.KindBytes:
		b, _ := v.Bytes()
		return dict.String(base64.StdEncoding.EncodeToString(b))
	default:
		return dict.String(stringFor(v))
	}
}

// OfKey returns the string that a codec that is told to be lossy writes for
// a key where its format has none but strings. None, bools, ints and floats are
// written as Python's json.dumps does; a tuple, frozenset or tagged value is its
// repr; any other is the string that [Of] ends with.
func OfKey(k dict.Value) dict.Value {
	switch k.Kind() {
	case dict.KindString:
		return k
	case dict.KindBytes:
		return Of(k)
	default:
		return dict.String(stringFor(k))
	}
}

// nameOf names what Of returns for a value of kind k.
func nameOf(k dict.Kind) string {
	switch k {
	case dict.KindTuple, dict.KindSet, dict.KindFrozenSet:
		return "a list"
	case dict.KindOrderedDict:
		return "a dict"
	case dict.KindByteArray:
		return "bytes, or a string in base64"
	case dict.KindBytes:
		return "a string in base64"
	case dict.KindDateTime, dict.KindDate, dict.KindTime:
		return "an ISO string"
	case dict.KindString:
		return "one with U+FFFD for lone surrogates"
	default:
		return "a string"
	}
}

// stringFor returns the string that stands for a value.
func stringFor(v dict.Value) string {
	switch v.Kind() {
	case dict.KindNull:
		return "null"
	case dict.KindBool:
		b, _ := v.Bool()
		return strconv.FormatBool(b)
	case dict.KindFloat:
		switch text := v.String(); text {
		case "nan":
			return "NaN"
		case "inf":
			return "Infinity"
		case "-inf":
			return "-Infinity"
		default:
			return text
		}
	case dict.KindDecimal:
		text, _ := v.DecimalText()
		return text
	case dict.KindUUID:
		text := v.String()
		return text[len("UUID('") : len(text)-len("')")]
	case dict.KindString:
		return withoutSurrogates(v)
	case dict.KindDate:
		d, _ := v.Date()
		return isoDate(d)
	case dict.KindTime:
		t, _ := v.TimeOfDay()
		return isoClock(t)
	case dict.KindDateTime:
		t, _ := v.DateTime()
		return isoDate(t.Date) + "T" + isoClock(t.TimeOfDay)
	case dict.KindTimeDelta:
		t, _ := v.TimeDelta()
		return deltaString(t)
	default:
		return v.String()
	}
}

// withoutSurrogates returns a string's text with U+FFFD for lone surrogates.
func withoutSurrogates(v dict.Value) string {
	text, _ := v.TextBytes()
	var b []byte
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			size = 3 // a surrogate in WTF-8
		}
		b = utf8.AppendRune(b, r)
		i += size
	}
	return string(b)
}

func isoDate(d dict.Date) string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }

func isoClock(t dict.TimeOfDay) string {
	text := fmt.Sprintf("%02d:%02d:%02d", t.Hour, t.Minute, t.Second) + fraction(t.Microsecond, t.Nanosecond)
	if key, ok := t.Zone.Key(); ok {
		return text + "[" + key + "]" // RFC 9557
	}
	offset, ok := t.Zone.Offset()
	if !ok {
		return text
	}
	sign := '+'
	if offset < 0 {
		sign, offset = '-', -offset
	}
	seconds := offset / time.Second
	text += fmt.Sprintf("%c%02d:%02d", sign, seconds/3600, seconds/60%60)
	if seconds%60 != 0 || offset%time.Second != 0 {
		text += fmt.Sprintf(":%02d", seconds%60)
	}
	if offset%time.Second != 0 {
		text += fmt.Sprintf(".%06d", offset%time.Second/time.Microsecond)
	}
	return text
}

// deltaString returns what Python's str prints for a timedelta.
func deltaString(t dict.TimeDelta) string {
	text := ""
	if t.Days != 0 {
		plural := "s"
		if t.Days == 1 || t.Days == -1 {
			plural = ""
		}
		text = fmt.Sprintf("%d day%s, ", t.Days, plural)
	}
	text += fmt.Sprintf("%d:%02d:%02d", t.Seconds/3600, t.Seconds/60%60, t.Seconds%60)
	return text + fraction(t.Microseconds, t.Nanoseconds)
}

// fraction returns that of a second: as Python writes it in 6 digits, or where there
// are nanoseconds in 9.
func fraction(micros, nanos int) string {
	switch {
	case nanos != 0:
		return fmt.Sprintf(".%06d%03d", micros, nanos)
	case micros != 0:
		return fmt.Sprintf(".%06d", micros)
	default:
		return ""
	}
}

// Loss returns the error that the named codec can't hold v, with the remedy as the
// hint. It is for codecs.
func Loss(name string, v dict.Value) *dict.LossError {
	return &dict.LossError{
		Codec: name, Kind: v.Kind(),
		Hint: "use cbor.Codec, or Codec.Lossy to write it as " + nameOf(v.Kind()),
	}
}

// LossOfKey is Loss for a key where the format has none but strings.
func LossOfKey(name string, k dict.Value) *dict.LossError {
	return &dict.LossError{
		Codec: name, Kind: k.Kind(), Key: true,
		Hint: "use cbor.Codec, or Codec.Lossy to write it as a string",
	}
}

// sameItems is SameKeys for the set v.
func sameItems(name string, v dict.Value) *dict.LossError {
	return &dict.LossError{Codec: name, Kind: v.Kind(), Hint: "two of its items are written in the same way; use cbor.Codec"}
}

// SameKeys returns the error that the key k and one before it would be the same to a
// codec that is lossy.
func SameKeys(name string, k dict.Value) *dict.LossError {
	return &dict.LossError{
		Codec: name, Kind: k.Kind(), Key: true,
		Hint: "another key is written in the same way; use cbor.Codec",
	}
}

// KeyText returns a key as paths name it: a string's text, or else its repr.
func KeyText(k dict.Value) string {
	if text, ok := k.Text(); ok {
		return text
	}
	return k.String()
}

// Keys finds keys of one dictionary that become equal because a codec is lossy. The zero
// Keys is ready to use.
type Keys struct {
	seen map[string]struct{}
	key  []byte
}

// Twice adds a key as it will be read and reports whether an equal one was there.
func (k *Keys) Twice(read dict.Value) bool {
	var equals bool
	if k.key, equals = dict.AppendKey(k.key[:0], read); !equals {
		return false // NaN equals nothing
	}
	if _, ok := k.seen[string(k.key)]; ok {
		return true
	}
	if k.seen == nil {
		k.seen = make(map[string]struct{})
	}
	k.seen[string(k.key)] = struct{}{}
	return false
}

// Replace returns v with what replace returns for each scalar and tagged value in it.
// Where keys of a dictionary, or items of a set, become equal, that is the error.
func Replace(name string, v dict.Value, replace func(dict.Value) dict.Value) (dict.Value, *dict.LossError) {
	switch {
	case v.Kind().IsDict():
		return replaceInPairs(name, v, replace)
	case v.Kind() == dict.KindTagged:
		if v = replace(v); v.Kind() != dict.KindTagged {
			return v, nil
		}
		space, tag, inner, _ := v.Tagged()
		inner, loss := Replace(name, inner, replace)
		return dict.Tagged(space, tag, inner), loss
	case v.Kind().IsContainer():
		return replaceInItems(name, v, replace)
	default:
		return replace(v), nil
	}
}

func replaceInPairs(name string, v dict.Value, replace func(dict.Value) dict.Value) (dict.Value, *dict.LossError) {
	d := new(dict.Dict)
	for k, item := range v.Pairs() {
		key, loss := Replace(name, k, replace)
		if loss != nil {
			return v, &dict.LossError{Codec: name, Kind: k.Kind(), Key: true, Hint: loss.Hint}
		}
		if _, twice := d.GetKey(key); twice {
			return v, SameKeys(name, k)
		}
		if item, loss = Replace(name, item, replace); loss != nil {
			loss.Path = "/" + KeyText(k) + loss.Path
			return v, loss
		}
		_ = d.SetKey(key, item) // it was a key
	}
	if v.Kind() == dict.KindOrderedDict {
		d = d.Ordered()
	}
	return d.Value(), nil
}

func replaceInItems(name string, v dict.Value, replace func(dict.Value) dict.Value) (dict.Value, *dict.LossError) {
	items := make([]dict.Value, 0, v.Len())
	for item := range v.Items() {
		made, loss := Replace(name, item, replace)
		if loss != nil {
			loss.Path = "/" + strconv.Itoa(len(items)) + loss.Path
			return v, loss
		}
		items = append(items, made)
	}
	var made dict.Value
	switch v.Kind() {
	case dict.KindTuple:
		return dict.Tuple(items...), nil
	case dict.KindSet:
		made, _ = dict.SetOf(items...) // they were items
	case dict.KindFrozenSet:
		made, _ = dict.FrozenSet(items...)
	default:
		return dict.List(items...), nil
	}
	if made.Len() < v.Len() {
		return v, sameItems(name, v)
	}
	return made, nil
}
