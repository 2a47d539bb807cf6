package dict

import "github.com/dictwire/dictwire/dict/internal/pytext"

// A Python is a CPython version, whose way of printing [AppendRepr] follows:
// which characters are printable depends on its version of Unicode.
type Python = pytext.Version

// The versions of CPython.
const (
	Python38  = pytext.Py38
	Python39  = pytext.Py39
	Python310 = pytext.Py310
	Python311 = pytext.Py311
	Python312 = pytext.Py312
	Python313 = pytext.Py313
	Python314 = pytext.Py314

	// DefaultPython is the version that String methods follow.
	DefaultPython = Python313
)

// AppendRepr appends to dst what repr(v) returns in that version of CPython,
// to the byte. The result is valid UTF-8: lone surrogates are escaped.
func AppendRepr(dst []byte, v Value, py Python) []byte {
	switch v.kind {
	case KindNull:
		return append(dst, "None"...)
	case KindBool:
		if v.data != 0 {
			return append(dst, "True"...)
		}
		return append(dst, "False"...)
	case KindInt:
		return v.AppendInt(dst)
	case KindFloat:
		f, _ := v.Float()
		return pytext.AppendFloat(dst, f)
	case KindString:
		return pytext.AppendString(dst, v.t.text(v.node), py)
	case KindList:
		dst = append(dst, '[')
		c := v.children()
		for i := range v.n {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = AppendRepr(dst, c.next(), py)
		}
		return append(dst, ']')
	default: // KindDict
		dst = append(dst, '{')
		c := v.children()
		for i := range v.n {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = AppendRepr(dst, c.next(), py)
			dst = append(dst, ": "...)
			dst = AppendRepr(dst, c.next(), py)
		}
		return append(dst, '}')
	}
}

// Repr returns what repr(d) returns in CPython 3.13. For another version, see
// [AppendRepr].
func Repr(d *Dict) string { return d.String() }
