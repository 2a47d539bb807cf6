package codectest

import (
	"bytes"
	"encoding/binary"
	"os/exec"
	"testing"
)

// AskPython runs a Python script with the given arguments and returns its answer to each
// question. Questions and answers are bytes, after their length in 4 bytes, big-endian.
func AskPython(t *testing.T, script string, questions [][]byte, args ...string) []string {
	t.Helper()
	var in, stderr bytes.Buffer
	for _, q := range questions {
		in.Write(binary.BigEndian.AppendUint32(nil, uint32(len(q))))
		in.Write(q)
	}
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", append([]string{"-X", "utf8", "-c", script}, args...)...) //nolint:gosec // the tests' own script
	cmd.Stdin, cmd.Stderr = &in, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	answers := make([]string, len(questions))
	for i := range answers {
		n := binary.BigEndian.Uint32(out)
		answers[i], out = string(out[4:4+n]), out[4+n:]
	}
	return answers
}
