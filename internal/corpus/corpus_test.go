package corpus_test

import (
	"encoding/json"
	"testing"

	"github.com/dictwire/dictwire/internal/corpus"
)

func TestRecords(t *testing.T) {
	for name, test := range map[string]struct {
		records  [][]byte
		from, to int // the average size
	}{
		"small":  {corpus.Small(1, 2000), 40, 50},
		"events": {corpus.Events(1, 2000), 400, 600},
	} {
		total := 0
		different := make(map[string]bool)
		for _, r := range test.records {
			total += len(r)
			different[string(r)] = true
			if !json.Valid(r) {
				t.Errorf("%s: not JSON: %s", name, r)
			}
		}
		if mean := total / len(test.records); mean < test.from || mean > test.to {
			t.Errorf("%s: %d bytes on average", name, mean)
		}
		if len(different) < 1900 {
			t.Errorf("%s: only %d different ones", name, len(different))
		}
	}
}
