package dictwire

import (
	"errors"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/client"
)

// A Record is a dictionary that is serialized already. [Client.Send] checks that it is
// exactly one, and sends its bytes as they are.
type Record struct {
	Codec codec.Codec // nil: the client's
	Bytes []byte
}

// DictValue returns the dictionary, for [dict.From]. It needs a Codec.
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

// sent is v as what does the work knows it.
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
