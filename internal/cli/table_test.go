package cli

import (
	"bytes"
	"testing"
)

// Columns stand below each other, numbers at their right, and on a narrow terminal the
// widest give way.
func TestTable(t *testing.T) {
	fill := func(tb *table) {
		tb.heads("NAME", "N", "TEXT")
		tb.row("ab", 7, "x")
		tb.row("日本", 1234, "a long text")
		tb.row("\x1b", quantity("9 B"), "-")
	}
	for width, want := range map[int]string{
		0:  "NAME     N  TEXT\nab       7  x\n日本  1234  a long text\n\\x1b   9 B  -\n",
		20: "NAME     N  TEXT\nab       7  x\n日本  1234  a long …\n\\x1b   9 B  -\n",
		5:  "NAME     N  TEXT\nab       7  x\n日本  1234  a long …\n\\x1b   9 B  -\n", // no narrower than that
	} {
		var out bytes.Buffer
		tb := newTable(&out)
		tb.width = width
		fill(tb)
		if err := tb.Flush(); err != nil || out.String() != want {
			t.Errorf("%d columns: %v\n%s\nwant\n%s", width, err, &out, want)
		}
	}
	var out bytes.Buffer
	tb := &table{out: &out, bold: true}
	tb.row("a")
	err := tb.Flush()
	fill(tb)
	if err := tb.Flush(); err != nil {
		t.Fatal(err)
	}
	if err != nil || !bytes.HasPrefix(out.Bytes(), []byte("a\n\x1b[1mNAME     N  TEXT\x1b[0m\nab ")) {
		t.Errorf("%v\n%s", err, &out)
	}
}
