package cbor_test

import (
	"testing"

	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/dict"
)

// keys are the kinds that can be hashable.
var keys = []dict.Kind{
	dict.KindNull, dict.KindBool, dict.KindInt, dict.KindFloat, dict.KindComplex, dict.KindDecimal, dict.KindString,
	dict.KindBytes, dict.KindUUID, dict.KindDateTime, dict.KindDate, dict.KindTime, dict.KindTimeDelta,
	dict.KindTuple, dict.KindFrozenSet, dict.KindTagged,
}

func TestCodec(t *testing.T) {
	codectest.Run(t, codectest.Config{Codec: cbor.Codec{}, Kinds: dict.Kinds(), Keys: keys})
}
