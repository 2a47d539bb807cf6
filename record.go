package dictwire

import (
	"errors"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/client"
)

// A Record is a serialized dictionary. It is checked, and its bytes are sent.
type Record struct {
	Codec codec.Codec // nil: the client's
	Bytes []byte
}

// DictValue decodes the record, for [dict.From]. Codec must be set.
func (r Record) DictValue() (dict.Value, error) {
	if r.Codec == nil {
		return dict.Value{}, errors.New("a Record within a value needs a Codec")
	}
	d, err := r.Codec.Decode(r.Bytes, codec.Limits{})
	if err != nil {
		return dict.Value{}, err
	}
	return d.Value(), nil
}

// sent returns v, or a Record as package client's type.
func sent(v any) any {
	switch r := v.(type) {
	case Record:
		return client.Record(r)
	case *Record:
		if r != nil {
			return client.Record(*r)
		}
	}
	return v
}
