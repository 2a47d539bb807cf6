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
	"strings"
	"time"
)

// From converts a Go map or struct, or a pointer to one, to a dictionary; a
// *Dict is returned as it is. The error is a *[ConversionError].
//
// The keys of a struct are its exported fields in order, named by the tag
// `dict:"name"`, else by the tag `json:"name"`, else as the field. As in
// encoding/json, "-" leaves a field out, the option omitempty leaves it out where
// it is false, 0, nil or empty, omitzero where it is the zero value or its IsZero
// says so, and the fields of an embedded struct without a name are taken in, of
// which those less deep hide others of the same name. An embedded interface is a field
// under the name of its type; one that is not exported is left out, but for error, whose
// text is the key "error". Two fields of one depth and
// name are an error, and so is any other option of a tag; but string, in a json
// tag, is that of JSON's text alone, and a number stays one. The keys of a map are
// sorted, since a Go map has no order; two that are one key in Python, as 1 and 1.0
// in a map[any]any, are an error. For values, see [ValueOf].
func From(v any) (*Dict, error) {
	if d, ok := v.(*Dict); ok && d != nil {
		return d, nil
	}
	value, err := ValueOf(v)
	if err != nil {
		return nil, err
	}
	d, ok := value.Dict()
	if !ok {
		return nil, &ConversionError{Type: reflect.TypeOf(v), Msg: fmt.Sprintf("want a map or a struct, got %T", v)}
	}
	return d, nil
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
// What a type says of itself goes before that, in this order:
//
//	Value() (dict.Value, error)                  what it returns
//	[16]byte named UUID, or with the text of one uuid
//	a type named Decimal with the text of one    decimal
//	json.Number, json.Marshaler                  what [Value.UnmarshalJSON] makes of the JSON text
//	encoding.TextMarshaler                       string
//	error                                        string, its text
//	a struct without exported fields that is a   string
//	fmt.Stringer
//
// A method that a struct only has because it embeds another type does not count: its
// fields do. JSON text in which a key comes twice is an error. Methods of pointers count, and get a copy of what can't be addressed.
// Pointers and interfaces stand for what they refer to.
//
// Times keep their nanoseconds, which Python's own lack. The error is a
// *[ConversionError]: for a type that is not listed, such as a channel, a function or
// a struct that hides all that it has, a time out of Python's range, and for what
// nests deeper than 1,000 levels, as a cycle does.
func ValueOf(v any) (Value, error) {
	switch v := v.(type) { // the usual ones without reflection
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
	return valueOf(reflect.ValueOf(v), 0)
}

// converted makes the error of a conversion that failed with err.
func converted(t reflect.Type, err error) error {
	if err == nil {
		return nil
	}
	if c, ok := err.(*ConversionError); ok { //nolint:errorlint // conversion wraps nothing
		return c
	}
	return &ConversionError{Type: t, Msg: strings.TrimPrefix(err.Error(), "dict: ")}
}

func valueOf(r reflect.Value, depth int) (Value, error) {
	if depth > maxDepth {
		return Value{}, &ConversionError{Type: r.Type(), Msg: fmt.Sprintf("nested deeper than %d levels; is it a cycle?", maxDepth)}
	}
	if v, ok, err := special(r); ok || err != nil {
		return v, err
	}
	switch r.Kind() {
	case reflect.Bool:
		return Bool(r.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return Int(r.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return BigInt(new(big.Int).SetUint64(r.Uint())), nil
	case reflect.Float32, reflect.Float64:
		return Float(r.Float()), nil
	case reflect.Complex64, reflect.Complex128:
		return Complex(r.Complex()), nil
	case reflect.String:
		return String(r.String()), nil
	case reflect.Pointer, reflect.Interface:
		if r.IsNil() {
			return Null(), nil
		}
		return valueOf(r.Elem(), depth+1)
	case reflect.Slice:
		if r.IsNil() {
			return Null(), nil
		}
		if r.Type().Elem().Kind() == reflect.Uint8 {
			return Bytes(r.Bytes()), nil
		}
		return listOf(r, depth)
	case reflect.Array:
		if r.Type().Elem().Kind() == reflect.Uint8 {
			b := make([]byte, r.Len())
			reflect.Copy(reflect.ValueOf(b), r)
			return Bytes(b), nil
		}
		return listOf(r, depth)
	case reflect.Map:
		if r.IsNil() {
			return Null(), nil
		}
		return mapOf(r, depth)
	case reflect.Struct:
		return structOf(r, depth)
	default:
		return Value{}, unconvertible(r)
	}
}

// special converts the types that are not what their reflect.Kind says.
func special(r reflect.Value) (v Value, ok bool, err error) {
	t := r.Type()
	switch wayOf(t) {
	case byKind:
		return Value{}, false, nil
	case asValue:
		return r.Interface().(Value), true, nil
	case asDict:
		if !r.CanAddr() {
			return Value{}, false, &ConversionError{Type: t, Msg: "want a *Dict: a Dict must not be copied"}
		}
		return r.Addr().Interface().(*Dict).Value(), true, nil
	case asBigInt:
		i := r.Interface().(big.Int)
		return BigInt(&i), true, nil
	case asBigFloat:
		v, err = fromBigFloat(receiver(r, stringerType).(*big.Float))
	case asTime:
		v, err = fromTime(r.Interface().(time.Time)).Value()
	case asDuration:
		v, err = DeltaOf(time.Duration(r.Int())).Value()
	case byValuer:
		v, err = receiver(r, valuerType).(valuer).Value()
	case asNumber:
		v, err = jsonNumber(cmp.Or(r.String(), "0")) // as encoding/json has it
	case asUUID:
		v, err = fromUUID(r)
	case asDecimal:
		var text []byte
		if text, err = receiver(r, textMarshalerType).(encoding.TextMarshaler).MarshalText(); err == nil {
			if v, err = Decimal(string(text)); err != nil {
				v, err = String(string(text)), nil
			}
		}
	case byJSON:
		var text []byte
		if text, err = receiver(r, marshalerType).(json.Marshaler).MarshalJSON(); err == nil {
			v, err = readJSON(text, true)
		}
	case asBigRat, byText:
		var text []byte
		text, err = receiver(r, textMarshalerType).(encoding.TextMarshaler).MarshalText()
		v = String(string(text))
	case byError:
		v = String(receiver(r, errorType).(error).Error())
	case byString:
		v = String(receiver(r, stringerType).(fmt.Stringer).String())
	default: // hidden
		err = &ConversionError{Msg: fmt.Sprintf("a %s has fields, but none that is exported, nor a method that tells its value", t)}
	}
	return v, err == nil, converted(t, err)
}

// fromUUID returns the UUID of an array of 16 bytes; or its text, where it is of
// another form.
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
	const most = 100_000 // digits, about
	exp := f.MantExp(nil)
	switch {
	case f.IsInf():
		return Decimal(map[bool]string{false: "Infinity", true: "-Infinity"}[f.Signbit()])
	case exp > most || exp < -most:
		return Value{}, fmt.Errorf("a big.Float of the exponent %d has too many digits", exp)
	}
	// Every binary fraction ends after as many digits as it has bits.
	places := max(0, int(f.MinPrec())-exp)
	text := f.Text('f', places)
	return Decimal(text)
}

func unconvertible(r reflect.Value) error {
	return &ConversionError{Type: r.Type(), Msg: fmt.Sprintf("a %s has no kind of value", r.Type())}
}

func listOf(r reflect.Value, depth int) (Value, error) {
	items := make([]Value, r.Len())
	for i := range items {
		var err error
		if items[i], err = valueOf(r.Index(i), depth+1); err != nil {
			return Value{}, under(err, i)
		}
	}
	return treeValue(KindList, items, len(items)), nil
}

func mapOf(r reflect.Value, depth int) (Value, error) {
	type pair struct{ key, value Value }
	pairs := make([]pair, 0, r.Len())
	for it := r.MapRange(); it.Next(); {
		key, err := valueOf(it.Key(), depth+1)
		if err != nil {
			return Value{}, err
		}
		if err := Hashable(key); err != nil {
			return Value{}, converted(it.Key().Type(), err)
		}
		value, err := valueOf(it.Value(), depth+1)
		if err != nil {
			return Value{}, under(err, it.Key())
		}
		pairs = append(pairs, pair{key, value})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return compareKeys(a.key, b.key) })
	var d Dict
	for _, p := range pairs {
		n := d.Len()
		if d.put(p.key, p.value); d.Len() == n {
			return Value{}, &ConversionError{Type: r.Type(), Msg: fmt.Sprintf("two keys of the map are the key %v", p.key)}
		}
	}
	return d.Value(), nil
}

// compareKeys orders keys by kind, numbers by value, strings by bytes, others in
// an order that is always the same.
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

func structOf(r reflect.Value, depth int) (Value, error) {
	l := layoutOf(r.Type())
	if l.err != nil {
		return Value{}, &ConversionError{Type: l.err.Type, Msg: l.err.Msg}
	}
	var d Dict
	for _, f := range l.fields {
		fr, err := r.FieldByIndexErr(f.index)
		if err != nil || f.omitEmpty && isEmpty(fr) || f.omitZero && isZero(fr) {
			continue // err: in an embedded nil pointer
		}
		var v Value
		if f.isError {
			v, err = embeddedError(r, fr, f.index)
		} else {
			v, err = valueOf(fr, depth+1)
		}
		if err != nil {
			return Value{}, under(err, f.name)
		}
		d.put(String(f.name), v)
	}
	return d.Value(), nil
}

// embeddedError returns the text of the embedded error fr, which stands in r at the
// given index. It is not exported, so that its text is had from the struct around it.
func embeddedError(r, fr reflect.Value, index []int) (Value, error) {
	if fr.IsNil() {
		return Null(), nil
	}
	for n := len(index) - 1; n >= 0; n-- {
		if around := r.FieldByIndex(index[:n]); around.CanInterface() && around.Type().Implements(errorType) {
			return String(around.Interface().(error).Error()), nil
		}
	}
	return Value{}, &ConversionError{Type: r.Type(), Msg: fmt.Sprintf("the error embedded in %s can't be read: give it a name, as in Err error", r.Type())}
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
