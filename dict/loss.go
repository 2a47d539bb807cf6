package dict

// A LossError says that a format can't hold a value.
type LossError struct {
	Codec string // the codec's name
	Path  string // of the value, as in /user/tags/2
	Kind  Kind
	Key   bool   // it is a key that can't be held
	Hint  string // the remedy
}

func (e *LossError) Error() string {
	what := "a " + e.Kind.String()
	if e.Kind == KindInt || e.Kind == KindOrderedDict {
		what = "an " + e.Kind.String()
	}
	if e.Key {
		what += " as a key"
	}
	path := e.Path
	if path == "" {
		path = "/"
	}
	return path + ": " + e.Codec + " can't hold " + what
}
