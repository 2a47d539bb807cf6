package dict

import "fmt"

// ValueOf converts a Go value.
func ValueOf(v any) (Value, error) {
	switch v := v.(type) {
	case nil:
		return Null(), nil
	case bool:
		return Bool(v), nil
	case int:
		return Int(int64(v)), nil
	case int64:
		return Int(v), nil
	case float64:
		return Float(v), nil
	case string:
		return String(v), nil
	case Value:
		return v, nil
	case *Dict:
		return v.Value(), nil
	}
	return Value{}, fmt.Errorf("dict: can't convert a %T", v)
}

// From converts a Go map or struct.
func From(v any) (*Dict, error) {
	if d, ok := v.(*Dict); ok {
		return d, nil
	}
	return nil, fmt.Errorf("dict: can't convert a %T", v)
}
