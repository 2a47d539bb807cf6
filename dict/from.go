package dict

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// From converts a Go map or struct, or a pointer to one, to a dictionary; a
// *Dict is returned as it is. The error is a *[ConversionError].
//
// The keys of a struct are its exported fields in order, named by the tag `dict:"name"`,
// else by the tag `json:"name"`, else by the field's name. As in encoding/json,
//
//   - "-" leaves a field out;
//   - the option omitempty leaves it out if it is false, 0, nil or empty;
//   - omitzero leaves it out if it is the zero value, or if its IsZero method says so;
//   - the fields of an embedded struct without a name in its tag are promoted. Of fields with the
//     same name, the least nested one counts.
//
// An embedded interface is a field with the name of its type. Unexported embedded
// interfaces are left out, except error, whose text becomes the key "error". Two fields
// of the same name and depth are an error, and so is any other option, except string in a
// json tag: it concerns JSON text alone, and a number stays a number.
//
// The keys of a map are sorted, since a Go map has no order. Keys that are equal in
// Python, such as 1 and 1.0 in a map[any]any, are an error. For values, see [ValueOf].
func From(v any) (*Dict, error) {
	if d, ok := v.(*Dict); ok && d != nil {
		return d, nil
	}
	b := newScratch()
	defer b.free()
	if err := b.convert(v, 0); err != nil {
		return nil, err
	}
	if !b.nodes[0].kind.IsDict() {
		return nil, &ConversionError{Type: reflect.TypeOf(v), Msg: fmt.Sprintf("want a map or a struct, got %T", v)}
	}
	return b.Dict(), nil
}

// ValueOf converts a Go value, copying what it holds:
//
//	nil, and nil pointers, maps, slices          null
//	bool                                         bool
//	int…, uint…, big.Int                         int
//	float32, float64                             float
//	big.Float                                    decimal, exactly
//	complex64, complex128                        complex
//	string                                       string, see [String]
//	[]byte, [N]byte                              bytes
//	time.Time                                    datetime with the offset from UTC that it has there
//	time.Duration                                timedelta
//	Date, TimeOfDay, DateTime, TimeDelta         date, time, datetime, timedelta
//	slice, array                                 list
//	map, struct, Dict                            dictionary, see [From]
//	Value                                        as it is
//
// Methods and special types take precedence, in this order:
//
//	Marshaler                                    what it returns
//	[16]byte named UUID, or with the text of one uuid
//	a type named Decimal with the text of one    decimal
//	json.Number, json.Marshaler                  what [Value.UnmarshalJSON] makes of the JSON text
//	encoding.TextMarshaler                       string
//	error                                        string, its text
//	a struct without exported fields that is a   string
//	fmt.Stringer
//
// Methods that a struct has only by embedding another type are ignored in favour of its
// fields. JSON text with a duplicate key is an error. Methods of pointer receivers count,
// and are called on a copy if the value is not addressable. Pointers and interfaces are
// followed.
//
// Times keep their nanoseconds, which Python's own times lack. The error is a
// *[ConversionError]: for an unlisted type such as a channel, a function or a struct
// without anything visible, for a time outside Python's range, and for nesting deeper
// than 1,000 levels, as in a cycle.
func ValueOf(v any) (Value, error) {
	switch v := v.(type) { // common types, without reflection
	case nil:
		return Null(), nil
	case Value:
		return v, nil
	case *Dict:
		if v == nil {
			return Null(), nil
		}
		return v.Value(), nil
	case string:
		return String(v), nil
	case int:
		return Int(int64(v)), nil
	case int64:
		return Int(v), nil
	case float64:
		return Float(v), nil
	case bool:
		return Bool(v), nil
	case []byte:
		if v == nil {
			return Null(), nil
		}
		return Bytes(v), nil
	}
	b := newScratch()
	defer b.free()
	if err := b.convert(v, 0); err != nil {
		return Value{}, err
	}
	if n := b.nodes[0]; !n.kind.IsContainer() && n.flags&flagOwn == 0 {
		return Value{node: n}, nil
	}
	return b.Dict().v, nil
}

// convert adds a Go value.
func (b *scratch) convert(v any, depth int) error {
	switch v := v.(type) {
	case nil:
		b.Null()
	case string:
		b.string(v)
	case int:
		b.Int(int64(v))
	case float64:
		b.Float(v)
	case bool:
		b.Bool(v)
	default:
		return b.planOf(reflect.TypeOf(v)).add(b, reflect.ValueOf(v), depth)
	}
	return nil
}

// converted returns the error of a conversion that failed with err.
func converted(t reflect.Type, err error) error {
	if err == nil {
		return nil
	}
	if c, ok := err.(*ConversionError); ok { //nolint:errorlint // conversion wraps nothing
		return c
	}
	return &ConversionError{Type: t, Msg: strings.TrimPrefix(err.Error(), "dict: ")}
}

// add adds a Go value of p's type.
func (p *plan) add(b *scratch, r reflect.Value, depth int) error {
	if depth > maxDepth {
		return &ConversionError{Type: r.Type(), Msg: fmt.Sprintf("nested deeper than %d levels; is it a cycle?", maxDepth)}
	}
	p.once.Do(p.make)
	if p.way != byKind {
		return converted(p.t, p.addOwnWay(b, r))
	}
	switch p.kind {
	case reflect.Bool:
		b.Bool(r.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		b.Int(r.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		b.OwnInt(strconv.AppendUint(b.own, r.Uint(), 10))
	case reflect.Float32, reflect.Float64:
		b.Float(r.Float())
	case reflect.Complex64, reflect.Complex128:
		b.Complex(r.Complex())
	case reflect.String:
		b.string(r.String())
	case reflect.Pointer:
		if r.IsNil() {
			b.Null()
			return nil
		}
		return p.elem.add(b, r.Elem(), depth+1)
	case reflect.Interface:
		if r.IsNil() {
			b.Null()
			return nil
		}
		inner := r.Elem()
		return planOf(inner.Type()).add(b, inner, depth+1)
	case reflect.Slice:
		switch {
		case r.IsNil():
			b.Null()
		case p.elem.kind == reflect.Uint8:
			b.OwnRef(KindBytes, append(b.own, r.Bytes()...))
		default:
			return p.addList(b, r, depth)
		}
	case reflect.Array:
		if p.elem.kind != reflect.Uint8 {
			return p.addList(b, r, depth)
		}
		own := append(b.own, make([]byte, r.Len())...)
		reflect.Copy(reflect.ValueOf(own[len(b.own):]), r)
		b.OwnRef(KindBytes, own)
	case reflect.Map:
		if r.IsNil() {
			b.Null()
			return nil
		}
		return p.addMap(b, r, depth)
	case reflect.Struct:
		return p.addStruct(b, r, depth)
	default:
		return &ConversionError{Type: p.t, Msg: fmt.Sprintf("a %s has no kind of value", p.t)}
	}
	return nil
}

// addOwnWay adds a value whose type, not its reflect.Kind, decides the conversion.
func (p *plan) addOwnWay(b *scratch, r reflect.Value) error {
	switch p.way {
	case asValue:
		b.add(r.Interface().(Value))
		return nil
	case asDict:
		if !r.CanAddr() {
			return &ConversionError{Type: p.t, Msg: "want a *Dict: a Dict must not be copied"}
		}
		b.add(r.Addr().Interface().(*Dict).Value())
		return nil
	case asBigInt:
		i := r.Interface().(big.Int)
		b.OwnInt(i.Append(b.own, 10))
		return nil
	case asTime:
		return b.DateTime(fromTime(timeOf(r)))
	case byError:
		b.string(receiver(r, errorType).(error).Error())
		return nil
	case byString:
		b.string(receiver(r, stringerType).(fmt.Stringer).String())
		return nil
	case asBigRat, byText:
		text, err := receiver(r, textMarshalerType).(encoding.TextMarshaler).MarshalText()
		b.string(string(text))
		return err
	case hidden:
		return fmt.Errorf("a %s has fields, but none that is exported, nor a method that tells its value", p.t)
	default: // a Value says it
	}
	v, err := p.ownValue(r)
	b.add(v)
	return err
}

// timeOf returns a time, without copying it to the heap if possible.
func timeOf(r reflect.Value) time.Time {
	if r.CanAddr() {
		return *r.Addr().Interface().(*time.Time)
	}
	return r.Interface().(time.Time)
}

// ownValue is addOwnWay for types that are converted to a Value first.
func (p *plan) ownValue(r reflect.Value) (Value, error) {
	switch p.way {
	case asBigFloat:
		return fromBigFloat(receiver(r, stringerType).(*big.Float))
	case asDuration:
		return DeltaOf(time.Duration(r.Int())).Value()
	case asClock:
		return r.Interface().(clock).Value()
	case byDict:
		return receiver(r, marshalerType).(Marshaler).DictValue()
	case asNumber:
		return jsonNumber(cmp.Or(r.String(), "0")) // as in encoding/json
	case asUUID:
		return fromUUID(r)
	case asDecimal:
		text, err := receiver(r, textMarshalerType).(encoding.TextMarshaler).MarshalText()
		if err != nil {
			return Value{}, err
		}
		if v, err := Decimal(string(text)); err == nil {
			return v, nil
		}
		return String(string(text)), nil
	default: // byJSON
		text, err := receiver(r, jsonMarshalerType).(json.Marshaler).MarshalJSON()
		if err != nil {
			return Value{}, err
		}
		return readJSON(text, true)
	}
}

// fromUUID returns the UUID of an array of 16 bytes, or a string if its text has another
// form.
func fromUUID(r reflect.Value) (Value, error) {
	var u [16]byte
	reflect.Copy(reflect.ValueOf(u[:]), r)
	if !has(r.Type(), textMarshalers) {
		return UUID(u), nil
	}
	text, err := receiver(r, textMarshalerType).(encoding.TextMarshaler).MarshalText()
	if err != nil {
		return Value{}, err
	}
	if strings.EqualFold(string(text), string(appendUUID(nil, u[:]))) {
		return UUID(u), nil
	}
	return String(string(text)), nil
}

// fromBigFloat returns a decimal of the same number.
func fromBigFloat(f *big.Float) (Value, error) {
	const most = 100_000 // approximate number of digits
	exp := f.MantExp(nil)
	switch {
	case f.IsInf():
		return Decimal(map[bool]string{false: "Infinity", true: "-Infinity"}[f.Signbit()])
	case exp > most || exp < -most:
		return Value{}, fmt.Errorf("a big.Float of the exponent %d has too many digits", exp)
	}
	// A binary fraction has as many decimal places as it has bits.
	places := max(0, int(f.MinPrec())-exp)
	text := f.Text('f', places)
	return Decimal(text)
}

func (p *plan) addList(b *scratch, r reflect.Value, depth int) error {
	at, n := b.Open(KindList), r.Len()
	for i := range n {
		if err := p.elem.add(b, r.Index(i), depth+1); err != nil {
			return under(err, i)
		}
	}
	b.Close(at, n)
	return nil
}

func (p *plan) addMap(b *scratch, r reflect.Value, depth int) error {
	n := r.Len()
	names := newScratch()
	defer names.free()
	values := reflect.MakeSlice(p.slice, n, n)
	name, it := reflect.New(p.t.Key()).Elem(), r.MapRange()
	list := names.Open(KindList)
	for i := 0; it.Next(); i++ {
		name.SetIterKey(it)
		place := names.Len()
		err := p.key.add(names, name, depth+1)
		if err == nil {
			err = converted(p.t.Key(), Hashable(names.At(place)))
		}
		if err != nil {
			return err
		}
		values.Index(i).SetIterValue(it)
	}
	names.Close(list, n)
	type pair struct {
		key   Value
		value int
	}
	pairs := make([]pair, 0, n)
	for key := range names.At(list).Items() {
		pairs = append(pairs, pair{key, len(pairs)})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return compareKeys(a.key, b.key) })
	var unique Dict // of the keys that are not strings
	at := b.Open(KindDict)
	for i, pair := range pairs {
		var twice bool
		if pair.key.kind == KindString {
			twice = i > 0 && keyEqual(pairs[i-1].key, pair.key)
		} else {
			before := unique.Len()
			unique.put(pair.key, Null())
			twice = unique.Len() == before
		}
		if twice {
			return &ConversionError{Type: p.t, Msg: fmt.Sprintf("two keys of the map are the key %v", pair.key)}
		}
		b.Add(pair.key)
		if err := p.elem.add(b, values.Index(pair.value), depth+1); err != nil {
			return under(err, pathKey(pair.key))
		}
	}
	b.Close(at, n)
	return nil
}

// compareKeys orders keys by kind, numbers by value, strings by bytes, and others in some
// fixed order.
func compareKeys(a, b Value) int {
	if c := cmp.Compare(a.kind, b.kind); c != 0 {
		return c
	}
	switch a.kind {
	case KindInt:
		x, _ := a.BigInt()
		y, _ := b.BigInt()
		return x.Cmp(y)
	case KindFloat:
		x, _ := a.Float()
		y, _ := b.Float()
		return cmp.Compare(x, y)
	case KindString, KindBytes:
		return bytes.Compare(a.t.text(a.node), b.t.text(b.node))
	default:
		x, _ := AppendKey(nil, a)
		y, _ := AppendKey(nil, b)
		return bytes.Compare(x, y)
	}
}

func (p *plan) addStruct(b *scratch, r reflect.Value, depth int) error {
	if p.layout.err != nil {
		return &ConversionError{Type: p.layout.err.Type, Msg: p.layout.err.Msg}
	}
	at, n, keys := b.Open(KindDict), 0, b.place(p.layout)
	for i := range p.layout.fields {
		f := &p.layout.fields[i]
		fr, ok := f.of(r)
		if !ok || f.omitEmpty && isEmpty(fr) || f.omitZero && isZero(fr) {
			continue
		}
		key := f.key
		key.flags |= keys.flags
		key.data += keys.at
		b.nodes = append(b.nodes, key)
		var err error
		if f.isError {
			err = addEmbeddedError(b, r, fr, f.index)
		} else {
			err = f.plan.add(b, fr, depth+1)
		}
		if err != nil {
			return under(err, f.name)
		}
		n++
	}
	b.Close(at, n)
	return nil
}

// of returns the field of r. It returns false for a field within a nil embedded pointer.
func (f *field) of(r reflect.Value) (reflect.Value, bool) {
	if len(f.index) == 1 {
		return r.Field(f.index[0]), true
	}
	fr, err := r.FieldByIndexErr(f.index)
	return fr, err == nil
}

// addEmbeddedError adds the text of the embedded error fr, which is in r at the given
// index. It is not exported, so its text is obtained through the surrounding struct.
func addEmbeddedError(b *scratch, r, fr reflect.Value, index []int) error {
	if fr.IsNil() {
		b.Null()
		return nil
	}
	for n := len(index) - 1; n >= 0; n-- {
		if around := r.FieldByIndex(index[:n]); around.CanInterface() && around.Type().Implements(errorType) {
			b.string(around.Interface().(error).Error())
			return nil
		}
	}
	return &ConversionError{Type: r.Type(), Msg: fmt.Sprintf("the error embedded in %s can't be read: give it a name, as in Err error", r.Type())}
}

// isZero reports whether omitzero leaves v out.
func isZero(v reflect.Value) bool {
	type zeroer interface{ IsZero() bool }
	switch {
	case v.Kind() == reflect.Pointer && v.IsNil() || v.Kind() == reflect.Interface && v.IsNil():
		return true
	case !v.CanInterface(): // an embedded error
		return false
	}
	if z, ok := v.Interface().(zeroer); ok {
		return z.IsZero()
	}
	if v.CanAddr() {
		if z, ok := v.Addr().Interface().(zeroer); ok {
			return z.IsZero()
		}
	}
	return v.IsZero()
}

// isEmpty reports whether omitempty leaves v out.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map, reflect.Slice, reflect.String, reflect.Array:
		return v.Len() == 0
	case reflect.Struct:
		return false
	default:
		return v.IsZero()
	}
}
