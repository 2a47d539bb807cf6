package substitute

import (
	"strconv"

	"github.com/dictwire/dictwire/dict"
)

// LossOfNanoseconds returns the error that the named codec can't hold the first time in
// v that has nanoseconds, or nil. It is for codecs of what Python holds.
func LossOfNanoseconds(name string, v dict.Value) *dict.LossError {
	switch {
	case v.HasNanoseconds():
		loss := Loss(name, v)
		loss.Hint = "Python has whole microseconds; use cbor.Codec, or Codec.Lossy to cut the nanoseconds off"
		return loss
	case v.Kind().IsDict():
		for k, item := range v.Pairs() {
			if loss := LossOfNanoseconds(name, k); loss != nil {
				loss.Path, loss.Key = "", true
				return loss
			}
			if loss := LossOfNanoseconds(name, item); loss != nil {
				loss.Path = "/" + KeyText(k) + loss.Path
				return loss
			}
		}
	case v.Kind() == dict.KindTagged:
		_, _, inner, _ := v.Tagged()
		return LossOfNanoseconds(name, inner)
	case v.Kind().IsContainer():
		i := 0
		for item := range v.Items() {
			if loss := LossOfNanoseconds(name, item); loss != nil {
				loss.Path = "/" + strconv.Itoa(i) + loss.Path
				return loss
			}
			i++
		}
	}
	return nil
}

// CutNanoseconds returns v with the times in it cut to whole microseconds. The error is
// that of two keys, or two items of a set, which are the same then.
func CutNanoseconds(name string, v dict.Value) (dict.Value, *dict.LossError) {
	if LossOfNanoseconds(name, v) == nil {
		return v, nil
	}
	return Replace(name, v, WithoutNanoseconds)
}

// WithoutNanoseconds returns a time cut to whole microseconds, and any other value as it
// is.
func WithoutNanoseconds(v dict.Value) dict.Value {
	switch v.Kind() {
	case dict.KindDateTime:
		t, _ := v.DateTime()
		t.Nanosecond = 0
		v, _ = t.Value() // it was one
	case dict.KindTime:
		t, _ := v.TimeOfDay()
		t.Nanosecond = 0
		v, _ = t.Value()
	case dict.KindTimeDelta:
		t, _ := v.TimeDelta()
		t.Nanoseconds = 0
		v, _ = t.Value()
	default: // no time
	}
	return v
}
