package dict

// A LossError says that a format can't hold a value.
type LossError struct {
	Codec string // the codec's name
	Path  string // to the value, as in /user/tags/2
	Kind  Kind
	Key   bool   // a key, not a value, can't be held
	Hint  string // a remedy that names an option of the library, or ""
}

// Error returns the loss and the hint.
func (e *LossError) Error() string {
	if e.Hint == "" {
		return e.Text()
	}
	return e.Text() + "; " + e.Hint
}

// Text returns the loss without the hint.
func (e *LossError) Text() string {
	what := e.Kind.withArticle()
	if e.Key {
		what += " as a key"
	}
	path := e.Path
	if path == "" {
		path = "/"
	}
	return path + ": " + e.Codec + " can't hold " + what
}
