package dict

// A LossError says that a format can't hold a value.
type LossError struct {
	Codec string // the codec's name
	Path  string // of the value, as in /user/tags/2
	Kind  Kind
	Key   bool   // it is a key that can't be held
	Hint  string // the remedy, which names an option of the library
}

// Error returns what the format can't hold, and the remedy.
func (e *LossError) Error() string {
	if e.Hint == "" {
		return e.Text()
	}
	return e.Text() + "; " + e.Hint
}

// Text is Error without the remedy.
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
