package rejection_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/internal/rejection"
)

func kept(t *testing.T, r rejection.Rejection) string {
	t.Helper()
	record, err := r.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := rejection.Codec.Decode(record, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// What is known is kept, in one order, and what is not is left out.
func TestAppend(t *testing.T) {
	const sum = "fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603" // of "ab"
	r := rejection.Of([]byte("ab"))
	if got, want := kept(t, r), fmt.Sprintf(`{'code': '', 'error': '', 'size': 2, 'sha256': '%s', 'bytes': b'ab'}`, sum); got != want {
		t.Errorf("kept %s\nwant %s", got, want)
	}
	r.Code, r.Text, r.Offset = "malformed", "no", 1
	r.Topic, r.Position, r.Producer, r.Number = "orders", "k3f9.1.0", "till", 7
	r.Dialect, r.Format, r.Peer = "native", "json", "127.0.0.1:1"
	r.Time = time.Date(2026, 11, 25, 10, 0, 0, 1234, time.UTC)
	want := `{'code': 'malformed', 'error': 'no', 'offset': 1, 'topic': 'orders', 'position': 'k3f9.1.0', ` +
		`'producer': 'till', 'number': 7, 'dialect': 'native', 'format': 'json', 'peer': '127.0.0.1:1', ` +
		`'time': datetime.datetime(2026, 11, 25, 10, 0, 0, 1, tzinfo=datetime.timezone.utc), ` +
		fmt.Sprintf(`'size': 2, 'sha256': '%s', 'bytes': b'ab'}`, sum)
	if got := kept(t, r); got != want {
		t.Errorf("kept %s\nwant %s", got, want)
	}
}

// Of a long record the first bytes are kept, and its size and sum are the whole's.
func TestLong(t *testing.T) {
	record := bytes.Repeat([]byte("x"), rejection.MaxBytes+1)
	r := rejection.Of(record)
	if len(r.Bytes) != rejection.MaxBytes || r.Size != len(record) {
		t.Errorf("%d bytes of %d", len(r.Bytes), r.Size)
	}
	if got := kept(t, r); !strings.HasSuffix(got, `, 'truncated': True}`) {
		t.Errorf("kept …%s", got[len(got)-40:])
	}
}
