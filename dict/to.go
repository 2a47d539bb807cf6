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

// To converts v to the Go variable that p points to, exactly or not at all:
//
//	null                 nil; the zero value of a type without nil
//	bool                 bool
//	int                  int…, uint… that it fits, big.Int, float… that holds it exactly
//	float                float64; float32 that holds it exactly
//	int, float, decimal  big.Float and big.Rat that hold it exactly, json.Number
//	complex              complex128; complex64 that holds it exactly
//	string               string, encoding.TextUnmarshaler, big.Rat
//	decimal, uuid        encoding.TextUnmarshaler; for a uuid also [16]byte
//	what JSON holds      json.Unmarshaler, which goes before those listed here
//	bytes, bytearray     []byte, array of bytes of the same length
//	datetime             time.Time, if it has a zone; DateTime
//	date, time           Date, TimeOfDay
//	timedelta            time.Duration that holds it; TimeDelta
//	list, tuple, sets    slice, array of the same length
//	dictionaries         map, struct, Dict
//	any                  Unmarshaler, which goes before all others; Value, and any
//
// An any is set to nil, bool, int64 (or *big.Int), float64, complex128, string, []byte,
// DateTime, Date, TimeOfDay, TimeDelta, []any or *Dict, or to a Value of kind decimal,
// uuid or tagged. A named zone of a datetime is looked up by [time.LoadLocation].
//
// Keys are matched with fields of a struct by their exact names, as for [From]. Keys
// without a field are ignored, and fields without a key are left unchanged. Entries are
// added to an existing map; nil pointers, maps and slices are allocated. The error is a
// *[ConversionError]; part of the variable may then have been set.
func (v Value) To(p any) error {
	r := reflect.ValueOf(p)
	if r.Kind() != reflect.Pointer || r.IsNil() {
		return &ConversionError{Type: reflect.TypeOf(p), Msg: fmt.Sprintf("To wants a pointer that is not nil, got %T", p)}
	}
	return planOf(r.Type().Elem()).set(r.Elem(), v)
}

// set sets r, which is of p's type and can be set, to v.
func (p *plan) set(r reflect.Value, v Value) error {
	p.once.Do(p.make)
	switch {
	case p.way == asValue:
		r.Set(reflect.ValueOf(v))
		return nil
	case p.way == asDict:
		if !v.kind.IsDict() {
			return v.misfit(r)
		}
		d := r.Addr().Interface().(*Dict)
		d.v = v.share()
		d.ix.Store(nil)
		return nil
	case p.reads.dict:
		return converted(p.t, r.Addr().Interface().(Unmarshaler).SetDictValue(v))
	case v.kind == KindNull:
		r.SetZero()
		return nil
	case p.kind == reflect.Pointer:
		if r.IsNil() {
			r.Set(reflect.New(p.t.Elem()))
		}
		return p.elem.set(r.Elem(), v)
	}
	switch p.way {
	case asBigInt:
		i, ok := v.BigInt()
		if !ok {
			return v.misfit(r)
		}
		r.Addr().Interface().(*big.Int).Set(i)
		return nil
	case asTime:
		return v.toTime(r)
	case asNumber:
		return v.toNumber(r)
	case asBigFloat, asBigRat:
		return v.toBig(r)
	default: // the kind of v says it
	}
	if p.reads.json {
		if text, loss := appendJSON(nil, v); loss == nil {
			return converted(p.t, r.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(text))
		}
	}
	if p.reads.text {
		if text := v.spelling(); text != nil {
			return converted(p.t, r.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(text))
		}
	}
	return p.setKind(r, v)
}

// setKind sets r according to the kinds of r and v.
func (p *plan) setKind(r reflect.Value, v Value) error {
	if p.kind == reflect.Interface && p.t.NumMethod() == 0 {
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
		if p.way == asDuration {
			return v.toDuration(r)
		}
	case KindList, KindTuple, KindSet, KindFrozenSet:
		return p.setList(r, v)
	case KindDict, KindOrderedDict:
		switch p.kind {
		case reflect.Map:
			return p.setMap(r, v)
		case reflect.Struct:
			return p.setStruct(r, v)
		default:
			return v.misfit(r)
		}
	default: // times, below, and what fits nothing else
	}
	if p.way == asClock {
		if same := reflect.ValueOf(v.any()); same.Type() == p.t {
			r.Set(same)
			return nil
		}
	}
	return v.misfit(r)
}

// spelling returns the text of a value for an encoding.TextUnmarshaler, or nil if it has
// none.
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

// misfit returns the error for a v of the wrong kind for r, or that does not fit.
func (v Value) misfit(r reflect.Value) error {
	what := v.String()
	if len(what) > 40 {
		what = what[:40] + "…"
	}
	return &ConversionError{Type: r.Type(), Msg: fmt.Sprintf("the %s %s does not fit in %s", v.kind, what, r.Type())}
}

// any returns the Go value for an any.
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
	case KindDecimal, KindUUID, KindTagged:
		return v
	default:
		return nil
	}
}

// Map returns d as Go maps and slices at all levels. Values are those that [Value.To]
// sets an any to, except that dictionaries are maps. The error is a *[ConversionError],
// for a key that is not a string.
func (d *Dict) Map() (map[string]any, error) { return d.Value().goMap() }

func (v Value) goMap() (map[string]any, error) {
	m := make(map[string]any, v.n)
	for k, item := range v.Pairs() {
		key, ok := k.Text()
		if !ok {
			return nil, &ConversionError{Msg: fmt.Sprintf("the key %v is %s, want a string", k, k.kind.withArticle())}
		}
		inner, err := item.goValue()
		if err != nil {
			return nil, under(err, key)
		}
		m[key] = inner
	}
	return m, nil
}

// goValue returns the Go value for Map.
func (v Value) goValue() (any, error) {
	switch {
	case v.kind.IsDict():
		return v.goMap()
	case v.kind.hasItems():
		items := make([]any, 0, v.n)
		for item := range v.Items() {
			inner, err := item.goValue()
			if err != nil {
				return nil, under(err, len(items))
			}
			items = append(items, inner)
		}
		return items, nil
	default:
		return v.any(), nil
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
	case r.CanUint() && small && i >= 0 && !r.OverflowUint(uint64(i)):
		r.SetUint(uint64(i))
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

func (p *plan) setList(r reflect.Value, v Value) error {
	n := v.Len()
	switch p.kind {
	case reflect.Slice:
		if r.Cap() < n || r.IsNil() {
			r.Set(reflect.MakeSlice(p.t, n, n))
		} else {
			r.SetLen(n)
			r.Clear() // so that no old item shows through
		}
	case reflect.Array:
		if r.Len() != n {
			return v.misfit(r)
		}
	default:
		return v.misfit(r)
	}
	c := v.children()
	for i := range n {
		if err := p.elem.set(r.Index(i), c.next()); err != nil {
			return under(err, i)
		}
	}
	return nil
}

func (p *plan) setMap(r reflect.Value, v Value) error {
	if r.IsNil() {
		r.Set(reflect.MakeMapWithSize(p.t, v.Len()))
	}
	key, value := reflect.New(p.t.Key()).Elem(), reflect.New(p.t.Elem()).Elem()
	for k, item := range v.Pairs() {
		key.SetZero()
		if err := p.key.set(key, k); err != nil {
			return err
		}
		value.SetZero()
		if err := p.elem.set(value, item); err != nil {
			return under(err, pathKey(k))
		}
		if !key.Comparable() { // an any with a big.Int holds a pointer
			return k.misfit(key)
		}
		r.SetMapIndex(key, value)
	}
	return nil
}

func (p *plan) setStruct(r reflect.Value, v Value) error {
	switch {
	case p.layout.err != nil:
		return &ConversionError{Type: p.layout.err.Type, Msg: p.layout.err.Msg}
	case p.layout.hidden:
		return v.misfit(r)
	}
	c, place := v.children(), 0
	for range v.n {
		k, item := c.next(), c.next()
		if k.kind != KindString {
			continue
		}
		f, at := p.layout.find(k.t.text(k.node), place)
		if f == nil {
			continue
		}
		place = at + 1
		if err := f.set(r, item); err != nil {
			return under(err, f.name)
		}
	}
	return nil
}

// set sets the field f of r to v.
func (f *field) set(r reflect.Value, v Value) error {
	fr, err := fieldToSet(r, f.index)
	switch {
	case f.isError && v.kind == KindNull:
		return nil
	case err != nil:
		return err
	case f.isError:
		return v.misfit(fr)
	default:
		return f.plan.set(fr, v)
	}
}

// fieldToSet is FieldByIndex that allocates nil embedded pointers.
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
	default: // no number
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
