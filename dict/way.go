package dict

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"runtime"
	"sync"
	"time"
)

// A way is how values of a Go type are converted.
type way uint8

const (
	byKind     way = iota // as the reflect.Kind says
	asValue               // Value
	asDict                // Dict
	asBigInt              // big.Int
	asBigFloat            // big.Float
	asBigRat              // big.Rat
	asTime                // time.Time
	asDuration            // time.Duration
	byValuer              // Date and its like
	asNumber              // json.Number
	asUUID                // an array of 16 bytes whose text is a UUID
	asDecimal             // a type named Decimal whose text is one
	byJSON                // json.Marshaler
	byText                // encoding.TextMarshaler
	byError               // an error's text
	byString              // the text of a fmt.Stringer that hides all else
	hidden                // a struct that hides everything
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

	valuerType        = reflect.TypeFor[valuer]()
	marshalerType     = reflect.TypeFor[json.Marshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
	errorType         = reflect.TypeFor[error]()
	stringerType      = reflect.TypeFor[fmt.Stringer]()

	unmarshalerType     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// A valuer is a [Date], [TimeOfDay], [DateTime] or [TimeDelta], or a type of another
// package that knows its value.
type valuer interface{ Value() (Value, error) }

var exactWays = map[reflect.Type]way{
	valueType: asValue, dictType: asDict, bigIntType: asBigInt, bigFloatType: asBigFloat, bigRatType: asBigRat,
	timeType: asTime, durationType: asDuration, numberType: asNumber,
}

var ways sync.Map // of reflect.Type to way

// wayOf returns how values of type t are converted. Pointers and interfaces go by what
// they refer to.
func wayOf(t reflect.Type) way {
	if known, ok := ways.Load(t); ok {
		return known.(way)
	}
	w := findWay(t)
	ways.Store(t, w)
	return w
}

func findWay(t reflect.Type) way {
	w := ownWay(t)
	switch {
	case w != byKind || t.Kind() != reflect.Struct || !layoutOf(t).hidden:
		return w
	case has(t, stringers):
		return byString
	default:
		return hidden
	}
}

// ownWay returns the way of a type that does not depend on its fields, or byKind.
func ownWay(t reflect.Type) way {
	exact, known := exactWays[t]
	switch {
	case known:
		return exact
	case t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface:
		return byKind
	case has(t, valuers):
		return byValuer
	case t.Kind() == reflect.Array && t.Len() == 16 && t.Elem().Kind() == reflect.Uint8 &&
		(t.Name() == "UUID" || has(t, textMarshalers)):
		return asUUID
	case t.Name() == "Decimal" && has(t, textMarshalers):
		return asDecimal
	case has(t, marshalers):
		return byJSON
	case has(t, textMarshalers):
		return byText
	case has(t, errs):
		return byError
	default:
		return byKind
	}
}

// An ability is an interface of one method. The linker looks for the names that are
// given to MethodByName, so each ability has a call of its own.
type ability struct {
	of     reflect.Type
	method func(reflect.Type) (reflect.Method, bool)
}

var (
	valuers          = ability{valuerType, func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("Value") }}
	marshalers       = ability{marshalerType, func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("MarshalJSON") }}
	textMarshalers   = ability{textMarshalerType, func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("MarshalText") }}
	errs             = ability{errorType, func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("Error") }}
	stringers        = ability{stringerType, func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("String") }}
	unmarshalers     = ability{unmarshalerType, func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("UnmarshalJSON") }}
	textUnmarshalers = ability{textUnmarshalerType, func(t reflect.Type) (reflect.Method, bool) { return t.MethodByName("UnmarshalText") }}
)

// has reports whether t, or a pointer to it, has an ability, and not only because a
// struct that t embeds has it: that would convert the embedded one alone. What the
// compiler makes of an embedded method has no file.
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

// receiver returns what has a method of the interface of: v, or a pointer to v or to a
// copy of it.
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

// A reading is what a pointer to a type reads by itself.
type reading struct{ json, text bool }

var readings sync.Map // of reflect.Type to reading

func readingOf(t reflect.Type) reading {
	if t.PkgPath() == "" && t.Kind() != reflect.Struct { // no methods
		return reading{}
	}
	if known, ok := readings.Load(t); ok {
		return known.(reading)
	}
	var r reading
	if t.Kind() != reflect.Interface {
		r = reading{json: has(t, unmarshalers), text: has(t, textUnmarshalers)}
	}
	readings.Store(t, r)
	return r
}
