package pickle_test

import (
	"slices"
	"testing"

	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/dict"
)

// config is what the codec holds: everything but tagged values.
func config() codectest.Config {
	c := codectest.Config{Codec: pickle.Codec{}, FramesOnly: true}
	for _, k := range dict.Kinds() {
		if k == dict.KindTagged {
			continue
		}
		c.Kinds = append(c.Kinds, k)
		if !slices.Contains([]dict.Kind{
			dict.KindByteArray, dict.KindList, dict.KindSet, dict.KindDict, dict.KindOrderedDict,
		}, k) {
			c.Keys = append(c.Keys, k)
		}
	}
	return c
}

func TestCodec(t *testing.T) { codectest.Run(t, config()) }
