package dict

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strings"
)

// To converts d into the map or struct that p points to. See [Value.To].
func (d *Dict) To(p any) error { return d.Value().To(p) }

// To converts v into the Go variable that p points to, exactly or not at all:
//
//	null                 nil; the zero value of a type without nil
//	bool                 bool
//	int                  int…, uint… that it fits, big.Int, float… that holds it exactly
//	float                float64; float32 that holds it exactly
//	int, float, decimal  big.Float and big.Rat that hold it exactly, json.Number
//	complex              complex128; complex64 that holds it exactly
//	string               string, encoding.TextUnmarshaler, big.Rat
//	decimal, uuid        encoding.TextUnmarshaler; for a uuid also [16]byte
//	what JSON holds      json.Unmarshaler, which goes before all others here
//	bytes, bytearray     []byte, array of bytes of the same length
//	datetime             time.Time, if it has a zone; DateTime
//	date, time           Date, TimeOfDay
//	timedelta            time.Duration that holds it; TimeDelta
//	list, tuple, sets    slice, array of the same length
//	dictionaries         map, struct, Dict
//	any                  Value, and any
//
// An any is set to nil, bool, int64 (or *big.Int), float64, complex128, string,
// []byte, [16]byte, DateTime, Date, TimeOfDay, TimeDelta, []any or *Dict, or to a
// Value of kind decimal or tagged. The zone of a datetime that names one is looked up
// by [time.LoadLocation]. Keys are matched with the fields of a struct by their exact names, as
// [From] gives them; keys without a field are ignored, and fields without a key
// are left as they are. A map is added to, nil pointers, maps and slices are
// allocated. The error is a *[ConversionError]; what p points to may then have
// been changed in part.
func (v Value) To(p any) error {
	r := reflect.ValueOf(p)
	if r.Kind() != reflect.Pointer || r.IsNil() {
		return &ConversionError{Type: reflect.TypeOf(p), Msg: fmt.Sprintf("To wants a pointer that is not nil, got %T", p)}
	}
	return v.to(r.Elem())
}

// to sets r, which can be set.
func (v Value) to(r reflect.Value) error {
	t := r.Type()
	switch {
	case t == valueType:
		r.Set(reflect.ValueOf(v))
		return nil
	case t == dictType:
		if !v.kind.IsDict() {
			return v.misfit(r)
		}
		d := r.Addr().Interface().(*Dict)
		d.v = v
		d.shared.Store(true)
		d.ix.Store(nil)
		return nil
	case v.kind == KindNull:
		r.SetZero()
		return nil
	case t == bigIntType:
		i, ok := v.BigInt()
		if !ok {
			return v.misfit(r)
		}
		r.Addr().Interface().(*big.Int).Set(i)
		return nil
	case r.Kind() == reflect.Pointer:
		if r.IsNil() {
			r.Set(reflect.New(t.Elem()))
		}
		return v.to(r.Elem())
	case t == timeType:
		return v.toTime(r)
	case t == numberType:
		return v.toNumber(r)
	case t == bigFloatType || t == bigRatType:
		return v.toBig(r)
	}
	reads := readingOf(t)
	if reads.json {
		if text, loss := appendJSON(nil, v); loss == nil {
			if err := r.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(text); err != nil {
				return &ConversionError{Type: t, Msg: err.Error()}
			}
			return nil
		}
	}
	switch {
	case reads.text && v.spelling() != nil:
		if err := r.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(v.spelling()); err != nil {
			return &ConversionError{Type: t, Msg: err.Error()}
		}
		return nil
	case r.Kind() == reflect.Interface && t.NumMethod() == 0:
		r.Set(reflect.ValueOf(v.any()))
		return nil
	}
	switch v.kind {
	case KindBool:
		return v.toBool(r)
	case KindInt:
		return v.toInt(r)
	case KindFloat:
		return v.toFloat(r)
	case KindComplex:
		return v.toComplex(r)
	case KindString:
		return v.toString(r)
	case KindBytes, KindByteArray, KindUUID:
		return v.toBytes(r)
	case KindTimeDelta:
		if t == durationType {
			return v.toDuration(r)
		}
	case KindList, KindTuple, KindSet, KindFrozenSet:
		return v.toList(r)
	case KindDict, KindOrderedDict:
		return v.toDict(r)
	}
	if same := reflect.ValueOf(v.any()); same.Type() == t { // Date, TimeOfDay, DateTime, TimeDelta
		r.Set(same)
		return nil
	}
	return v.misfit(r)
}

// spelling returns the text of a value that an encoding.TextUnmarshaler gets, and
// nil where it gets none.
func (v Value) spelling() []byte {
	switch v.kind {
	case KindString, KindDecimal:
		return append([]byte{}, v.t.text(v.node)...)
	case KindUUID:
		return appendUUID(nil, v.t.text(v.node))
	default:
		return nil
	}
}

// misfit is the error where v is of another kind than r, or does not fit.
func (v Value) misfit(r reflect.Value) error {
	what := v.String()
	if len(what) > 40 {
		what = what[:40] + "…"
	}
	return &ConversionError{Type: r.Type(), Msg: fmt.Sprintf("the %s %s does not fit in %s", v.kind, what, r.Type())}
}

// any returns what an any is set to.
func (v Value) any() any {
	switch v.kind {
	case KindBool:
		return v.data != 0
	case KindInt:
		if i, ok := v.Int(); ok {
			return i
		}
		i, _ := v.BigInt()
		return i
	case KindFloat:
		return math.Float64frombits(v.data)
	case KindString:
		s, _ := v.Text()
		return s
	case KindComplex:
		c, _ := v.Complex()
		return c
	case KindBytes, KindByteArray:
		return append([]byte{}, v.t.text(v.node)...)
	case KindUUID:
		u, _ := v.UUID()
		return u
	case KindDateTime:
		t, _ := v.DateTime()
		return t
	case KindDate:
		return v.date()
	case KindTime:
		return v.timeOfDay()
	case KindTimeDelta:
		t, _ := v.TimeDelta()
		return t
	case KindList, KindTuple, KindSet, KindFrozenSet:
		items := make([]any, 0, v.n)
		for item := range v.Items() {
			items = append(items, item.any())
		}
		return items
	case KindDict, KindOrderedDict:
		d, _ := v.Dict()
		return d
	case KindDecimal, KindTagged:
		return v
	default:
		return nil
	}
}

func (v Value) toBool(r reflect.Value) error {
	if r.Kind() != reflect.Bool {
		return v.misfit(r)
	}
	r.SetBool(v.data != 0)
	return nil
}

func (v Value) toInt(r reflect.Value) error {
	i, small := v.Int()
	switch {
	case r.CanInt() && small && !r.OverflowInt(i):
		r.SetInt(i)
	case r.CanUint():
		b, _ := v.BigInt()
		if !b.IsUint64() || r.OverflowUint(b.Uint64()) {
			return v.misfit(r)
		}
		r.SetUint(b.Uint64())
	case r.CanFloat():
		b, _ := v.BigInt()
		f, exact := new(big.Float).SetInt(b).Float64()
		if exact != big.Exact || r.Kind() == reflect.Float32 && float64(float32(f)) != f {
			return v.misfit(r)
		}
		r.SetFloat(f)
	default:
		return v.misfit(r)
	}
	return nil
}

func (v Value) toFloat(r reflect.Value) error {
	f := math.Float64frombits(v.data)
	exact := r.Kind() == reflect.Float64 || float64(float32(f)) == f || f != f
	if !r.CanFloat() || !exact {
		return v.misfit(r)
	}
	r.SetFloat(f)
	return nil
}

func (v Value) toComplex(r reflect.Value) error {
	c, _ := v.Complex()
	exact := r.Kind() == reflect.Complex128 || complex128(complex64(c)) == c ||
		math.IsNaN(real(c)) || math.IsNaN(imag(c))
	if !r.CanComplex() || !exact {
		return v.misfit(r)
	}
	r.SetComplex(c)
	return nil
}

// toBytes sets a slice or an array of bytes.
func (v Value) toBytes(r reflect.Value) error {
	b := v.t.text(v.node)
	switch t := r.Type(); {
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && v.kind != KindUUID:
		r.SetBytes(append([]byte{}, b...))
	case t.Kind() == reflect.Array && t.Elem().Kind() == reflect.Uint8 && t.Len() == len(b):
		reflect.Copy(r, reflect.ValueOf(b))
	default:
		return v.misfit(r)
	}
	return nil
}

func (v Value) toString(r reflect.Value) error {
	if r.Kind() != reflect.String {
		return v.misfit(r)
	}
	r.SetString(string(v.t.text(v.node)))
	return nil
}

func (v Value) toList(r reflect.Value) error {
	n := v.Len()
	switch r.Kind() {
	case reflect.Slice:
		if r.Cap() < n || r.IsNil() {
			r.Set(reflect.MakeSlice(r.Type(), n, n))
		} else {
			r.SetLen(n)
			r.Clear() // nothing of the old items shows in the new ones
		}
	case reflect.Array:
		if r.Len() != n {
			return v.misfit(r)
		}
	default:
		return v.misfit(r)
	}
	i := 0
	for item := range v.Items() {
		if err := item.to(r.Index(i)); err != nil {
			return under(err, i)
		}
		i++
	}
	return nil
}

func (v Value) toDict(r reflect.Value) error {
	switch r.Kind() {
	case reflect.Map:
		return v.toMap(r)
	case reflect.Struct:
		return v.toStruct(r)
	default:
		return v.misfit(r)
	}
}

func (v Value) toMap(r reflect.Value) error {
	t := r.Type()
	if r.IsNil() {
		r.Set(reflect.MakeMapWithSize(t, v.Len()))
	}
	for k, item := range v.Pairs() {
		key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		if err := k.to(key); err != nil {
			return err
		}
		if err := item.to(value); err != nil {
			return under(err, k.any())
		}
		if !key.Comparable() { // an any that holds a big.Int is a pointer, which is
			return k.misfit(key)
		}
		r.SetMapIndex(key, value)
	}
	return nil
}

func (v Value) toStruct(r reflect.Value) error {
	d := Dict{v: v}
	l := layoutOf(r.Type())
	switch {
	case l.err != nil:
		return &ConversionError{Type: l.err.Type, Msg: l.err.Msg}
	case l.hidden:
		return v.misfit(r)
	}
	for _, f := range l.fields {
		item, ok := d.Get(f.name)
		if !ok {
			continue
		}
		fr, err := fieldToSet(r, f.index)
		if f.isError && item.kind == KindNull {
			continue
		}
		if err == nil && f.isError {
			err = item.misfit(fr)
		}
		if err != nil {
			return under(err, f.name)
		}
		if err := item.to(fr); err != nil {
			return under(err, f.name)
		}
	}
	return nil
}

// fieldToSet is FieldByIndex that allocates the embedded pointers on the way.
func fieldToSet(r reflect.Value, index []int) (reflect.Value, error) {
	for i, x := range index {
		if i > 0 && r.Kind() == reflect.Pointer {
			if r.IsNil() {
				if !r.CanSet() {
					return r, &ConversionError{Type: r.Type(), Msg: fmt.Sprintf("an embedded %s that is not exported is nil", r.Type())}
				}
				r.Set(reflect.New(r.Type().Elem()))
			}
			r = r.Elem()
		}
		r = r.Field(x)
	}
	return r, nil
}

// toNumber sets a json.Number.
func (v Value) toNumber(r reflect.Value) error {
	switch v.kind {
	case KindInt, KindFloat:
		text, loss := appendJSON(nil, v)
		if loss != nil {
			return v.misfit(r)
		}
		r.SetString(string(text))
		return nil
	case KindDecimal:
		if _, _, _, finite := v.DecimalParts(); finite {
			text, _ := v.DecimalText()
			r.SetString(text)
			return nil
		}
	}
	return v.misfit(r)
}

// toBig sets a big.Float or a big.Rat that holds v exactly.
func (v Value) toBig(r reflect.Value) error {
	exact := new(big.Rat)
	switch v.kind {
	case KindInt:
		i, _ := v.BigInt()
		exact.SetInt(i)
	case KindFloat:
		f, _ := v.Float()
		if z, isFloat := r.Addr().Interface().(*big.Float); isFloat && math.IsInf(f, 0) {
			z.SetInf(f < 0)
			return nil
		}
		if exact.SetFloat64(f) == nil {
			return v.misfit(r)
		}
	case KindDecimal:
		negative, _, exp, finite := v.DecimalParts()
		text, _ := v.DecimalText()
		if z, isFloat := r.Addr().Interface().(*big.Float); isFloat && strings.HasSuffix(text, "Infinity") {
			z.SetInf(negative)
			return nil
		}
		const most = 100_000
		if !finite || exp > most || exp < -most {
			return v.misfit(r)
		}
		if _, ok := exact.SetString(text); !ok {
			return v.misfit(r)
		}
	case KindString:
		z, isRat := r.Addr().Interface().(*big.Rat)
		if text, _ := v.Text(); !isRat || z.UnmarshalText([]byte(text)) != nil {
			return v.misfit(r)
		}
		return nil
	default:
		return v.misfit(r)
	}
	switch z := r.Addr().Interface().(type) {
	case *big.Rat:
		z.Set(exact)
		return nil
	case *big.Float:
		if n := exact.Denom().BitLen() - 1; exact.Denom().TrailingZeroBits() == uint(n) { // a power of 2
			wide := new(big.Float).SetPrec(uint(max(exact.Num().BitLen(), 1))).SetInt(exact.Num())
			wide.SetMantExp(wide, -n)
			if z.Prec() == 0 {
				z.SetPrec(max(64, wide.MinPrec()))
			}
			if wide.MinPrec() <= z.Prec() {
				z.Set(wide)
				return nil
			}
		}
	}
	return v.misfit(r)
}
