package dict

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"runtime"
	"time"
)

// A way is a way to convert values of a Go type.
type way uint8

const (
	byKind     way = iota // by its reflect.Kind
	asValue               // Value
	asDict                // Dict
	asBigInt              // big.Int
	asBigFloat            // big.Float
	asBigRat              // big.Rat
	asTime                // time.Time
	asDuration            // time.Duration
	asClock               // Date, TimeOfDay, DateTime, TimeDelta
	byDict                // Marshaler
	asNumber              // json.Number
	asUUID                // an array of 16 bytes whose text is a UUID
	asDecimal             // a type named Decimal whose text is one
	byJSON                // json.Marshaler
	byText                // encoding.TextMarshaler
	byError               // an error's text
	byString              // the text of a fmt.Stringer that hides all else
	hidden                // a struct without anything visible
)

var (
	valueType    = reflect.TypeFor[Value]()
	dictType     = reflect.TypeFor[Dict]()
	bigIntType   = reflect.TypeFor[big.Int]()
	bigFloatType = reflect.TypeFor[big.Float]()
	bigRatType   = reflect.TypeFor[big.Rat]()
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
	numberType   = reflect.TypeFor[json.Number]()

	marshalerType     = reflect.TypeFor[Marshaler]()
	jsonMarshalerType = reflect.TypeFor[json.Marshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
	errorType         = reflect.TypeFor[error]()
	stringerType      = reflect.TypeFor[fmt.Stringer]()

	unmarshalerType     = reflect.TypeFor[Unmarshaler]()
	jsonUnmarshalerType = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// A Marshaler returns its own value. [From] and [ValueOf] prefer it over everything else.
type Marshaler interface{ DictValue() (Value, error) }

// An Unmarshaler sets itself to a value of any kind, including null. [Value.To] prefers
// it over everything else. The value refers to the memory of the dictionary that it comes
// from.
type Unmarshaler interface{ SetDictValue(Value) error }

// A clock is a [Date], [TimeOfDay], [DateTime] or [TimeDelta].
type clock interface{ Value() (Value, error) }

var exactWays = map[reflect.Type]way{
	valueType: asValue, dictType: asDict, bigIntType: asBigInt, bigFloatType: asBigFloat, bigRatType: asBigRat,
	timeType: asTime, durationType: asDuration, numberType: asNumber,
	reflect.TypeFor[Date](): asClock, reflect.TypeFor[TimeOfDay](): asClock,
	reflect.TypeFor[DateTime](): asClock, reflect.TypeFor[TimeDelta](): asClock,
}

// ownWay returns the way of a type, unless it depends on the type's fields; then it
// returns byKind.
func ownWay(t reflect.Type) way {
	exact, known := exactWays[t]
	switch {
	case known:
		return exact
	case t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface:
		return byKind
	case has(t, marshalers):
		return byDict
	case t.Kind() == reflect.Array && t.Len() == 16 && t.Elem().Kind() == reflect.Uint8 &&
		(t.Name() == "UUID" || has(t, textMarshalers)):
		return asUUID
	case t.Name() == "Decimal" && has(t, textMarshalers):
		return asDecimal
	case has(t, jsonMarshalers):
		return byJSON
	case has(t, textMarshalers):
		return byText
	case has(t, errs):
		return byError
	default:
		return byKind
	}
}

// An ability is an interface with one method. The linker searches for names passed to
// MethodByName, so each ability needs its own call.
type ability struct {
	of     reflect.Type
	method func(reflect.Type) (reflect.Method, bool)
}

var (
	marshalers       = ability{marshalerType, func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("DictValue") }}
	unmarshalers     = ability{unmarshalerType, func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("SetDictValue") }}
	jsonMarshalers   = ability{jsonMarshalerType, func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("MarshalJSON") }}
	textMarshalers   = ability{textMarshalerType, func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("MarshalText") }}
	errs             = ability{errorType, func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("Error") }}
	stringers        = ability{stringerType, func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("String") }}
	jsonUnmarshalers = ability{jsonUnmarshalerType, func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("UnmarshalJSON") }}
	textUnmarshalers = ability{textUnmarshalerType, func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("UnmarshalText") }}
)

// has reports whether t, or a pointer to it, has an ability by a method of its own. A
// method that is only promoted from an embedded struct would convert that struct alone.
// Promoted methods are wrappers by the compiler, which have no source file.
func has(t reflect.Type, a ability) bool {
	isStruct := t.Kind() == reflect.Struct
	switch {
	case t.Implements(a.of):
	case reflect.PointerTo(t).Implements(a.of):
		t = reflect.PointerTo(t)
	default:
		return false
	}
	if !isStruct {
		return true
	}
	m, ok := a.method(t)
	if !ok {
		return false
	}
	code := m.Func.Pointer()
	file, _ := runtime.FuncForPC(code).FileLine(code)
	return file != "<autogenerated>"
}

// receiver returns a value with the method of the interface of: v, or a pointer to v or
// to a copy.
func receiver(r reflect.Value, of reflect.Type) any {
	switch {
	case r.Type().Implements(of):
		return r.Interface()
	case r.CanAddr():
		return r.Addr().Interface()
	default:
		p := reflect.New(r.Type())
		p.Elem().Set(r)
		return p.Interface()
	}
}
