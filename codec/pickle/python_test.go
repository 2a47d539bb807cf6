package pickle_test

import (
	"bytes"
	"encoding/binary"
	"os/exec"
	"strconv"
	"testing"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/codectest"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/testrand"
)

// python runs testdata/generate.py with real Python, whose version is 3.minor.
func python(t *testing.T, in []byte, args ...string) (out []byte) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("/usr/bin/python3", append([]string{"testdata/generate.py"}, args...)...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	return out
}

func pythonVersion(t *testing.T) dict.Python {
	t.Helper()
	out, err := exec.Command("/usr/bin/python3", "-c", "import sys; print(sys.version_info.minor)").Output()
	if err != nil {
		t.Fatal(err)
	}
	minor, err := strconv.Atoi(string(bytes.TrimSpace(out)))
	if err != nil {
		t.Fatal(err)
	}
	return dict.Python(minor)
}

// next cuts off b what follows a 4-byte length.
func next(b []byte) (head, rest []byte) {
	n := binary.BigEndian.Uint32(b)
	return b[4 : 4+n], b[4+n:]
}

func frame(dst, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(b))), b...)
}

// What Python pickles, in any protocol and by either of its picklers, prints here as it
// prints there, and Python loads what we pickle as the same value.
func TestAgainstPython(t *testing.T) {
	pickles := testrand.Many(21_000)
	py := pythonVersion(t)
	seed := codectest.Seed(t)
	out := python(t, nil, strconv.FormatUint(seed, 10), strconv.Itoa(pickles))
	var back []byte
	s := pickle.Codec{}.NewScanner(codec.Limits{})
	for i := range pickles {
		var want, b []byte
		want, out = next(out)
		b, out = next(out)
		if start, end, err := s.Next(b); err != nil || start != 0 || end != len(b) {
			t.Fatalf("pickle %d, %q: framed %d to %d of %d, %v", i, b, start, end, len(b), err)
		}
		d, err := pickle.Codec{}.Decode(b, codec.Limits{})
		if err != nil {
			t.Fatalf("pickle %d, %q, which is %s: %v", i, b, want, err)
		}
		if got := dict.AppendRepr(nil, d.Value(), py); !bytes.Equal(got, want) {
			at := 0
			for at < min(len(got), len(want)) && got[at] == want[at] {
				at++
			}
			t.Fatalf("pickle %d, %q:\n got … %.200s\nwant … %.200s", i, b, got[max(at-40, 0):], want[max(at-40, 0):])
		}
		ours, err := pickle.Codec{}.Append(nil, d)
		if err != nil {
			t.Fatalf("pickle %d, %v: %v", i, d, err)
		}
		back = frame(frame(back, b), ours)
	}
	if len(out) > 0 {
		t.Errorf("%d bytes are left", len(out))
	}
	if differ := python(t, back, "check"); len(differ) > 0 {
		t.Errorf("Python loads what is written here as something else:\n%.3000s", differ)
	}
}
