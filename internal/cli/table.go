package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// A table is written for people, column under column. On a terminal, what is too wide
// for it is cut, widest column first, and the heads are bold unless NO_COLOR says not to.
// Elsewhere nothing is cut.
type table struct {
	out   io.Writer
	width int  // 0: as wide as it likes
	bold  bool // heads are

	rows   [][]cell // that are not written yet
	headed bool     // the first of them has names of columns
}

// A cell is a text of one line.
type cell struct {
	text   string
	number bool // it stands at the right
}

// A quantity is a cell's number with its unit.
type quantity string

func newTable(w io.Writer) *table {
	t := &table{out: w}
	if f, ok := unescaped(w).(*os.File); ok && f != w { // there is a screen
		t.out = f // what others have chosen is made visible here
		t.width, _, _ = term.GetSize(int(f.Fd()))
		t.bold = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return t
}

// heads adds the names of the columns, before all rows.
func (t *table) heads(names ...string) {
	t.headed = true
	row := make([]cell, len(names))
	for i, name := range names {
		row[i].text = name
	}
	t.rows = append(t.rows, row)
}

// row adds a line.
func (t *table) row(cells ...any) {
	row := make([]cell, len(cells))
	for i, c := range shown(cells) {
		row[i].text = fmt.Sprint(c)
		switch c.(type) {
		case int, int64, uint64, quantity:
			row[i].number = true
		}
	}
	t.rows = append(t.rows, row)
}

// Flush writes the lines. Others that are added then are a table of their own.
func (t *table) Flush() error {
	rows, headed := t.rows, t.headed
	t.rows, t.headed = nil, false
	var widths []int
	for i, row := range rows {
		for k, c := range row {
			if k == len(widths) {
				widths = append(widths, 0)
			}
			widths[k] = max(widths[k], columns(c.text))
			if headed && i > 0 && c.number {
				rows[0][k].number = true
			}
		}
	}
	t.fit(widths)
	var all strings.Builder
	for i, row := range rows {
		var line strings.Builder
		for k, c := range row {
			if k > 0 {
				line.WriteString("  ")
			}
			text := cutTo(c.text, widths[k])
			pad := strings.Repeat(" ", widths[k]-columns(text))
			switch {
			case c.number:
				line.WriteString(pad + text)
			case k == len(row)-1:
				line.WriteString(text)
			default:
				line.WriteString(text + pad)
			}
		}
		text := line.String()
		if headed && i == 0 && t.bold {
			text = "\x1b[1m" + text + "\x1b[0m"
		}
		all.WriteString(text + "\n")
	}
	_, err := io.WriteString(t.out, all.String())
	return err
}

// leastWidth is how narrow columns become where a terminal is too narrow for all.
const leastWidth = 8

// fit makes columns narrower until they fit the terminal.
func (t *table) fit(widths []int) {
	if t.width <= 0 || len(widths) == 0 {
		return
	}
	total := 2 * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for total > t.width {
		widest := slices.Index(widths, slices.Max(widths))
		if widths[widest] <= leastWidth {
			return
		}
		widths[widest]--
		total--
	}
}

// cutTo returns a text that takes at most so many columns.
func cutTo(s string, width int) string {
	if columns(s) <= width {
		return s
	}
	taken := 0
	for i, r := range s {
		if taken += runeColumns(r); taken >= width {
			return s[:i] + "…"
		}
	}
	return s
}

// columns returns how many columns a text takes on a terminal.
func columns(s string) (n int) {
	if len(s) == utf8.RuneCountInString(s) {
		return len(s)
	}
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

// runeColumns is 2 for what East Asian terminals show wide, about.
func runeColumns(r rune) int {
	if r >= 0x1100 && (r <= 0x115F || r >= 0x2E80 && r <= 0xA4CF || r >= 0xAC00 && r <= 0xD7A3 ||
		r >= 0xF900 && r <= 0xFAFF || r >= 0xFE30 && r <= 0xFE6F || r >= 0xFF00 && r <= 0xFF60 || r >= 0x1F300 && r <= 0x3FFFD) {
		return 2
	}
	return 1
}

// size writes a number of bytes for people.
func size(n uint64) quantity {
	unit := 0
	for ; n >= 10<<10 && unit < 3; unit++ {
		n >>= 10
	}
	return quantity(fmt.Sprintf("%d %s", n, []string{"B", "KiB", "MiB", "GiB"}[unit]))
}

// moment writes a time for people, "-" for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// orDash writes a text, "-" for none.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
