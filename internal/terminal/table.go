package terminal

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A Table is written for people, column under column. On a terminal it is never wider
// than that: what is too wide is shortened in the middle, widest column first, but never
// a number or a time; where that is not enough, each row becomes a block of lines.
// Elsewhere nothing is left out, and times are those of RFC 3339.
type Table struct {
	// Grows says that rows are written before all are known: each Flush keeps the
	// widths of those before, and the names of the columns are written once.
	Grows bool

	out    *Output
	width  func() int       // of the terminal; 0: as wide as it likes
	now    func() time.Time // of a person's clock
	heads  []string
	rows   [][]cell
	widths []int // that rows before had, where it grows
	begun  bool  // something was written
}

// A cell is a text of one line.
type cell struct {
	text  string
	whole bool // it is not shortened
	right bool
	style Style
}

// A Quantity is a number with its unit.
type Quantity string

// NewTable returns a table that is written to out.
func NewTable(out *Output) *Table {
	return &Table{out: out, width: out.Width, now: time.Now}
}

// Heads sets the names of the columns.
func (t *Table) Heads(names ...string) { t.heads = names }

// Row adds a line. Below heads, whole numbers and quantities stand at the right.
func (t *Table) Row(cells ...any) {
	row := make([]cell, len(cells))
	for i, c := range cells {
		switch c := c.(type) {
		case time.Time:
			row[i] = cell{text: t.moment(c), whole: true, style: Quiet}
		case int, int64, uint64, Quantity:
			row[i] = cell{text: fmt.Sprint(c), whole: true, right: len(t.heads) > 0}
		default:
			row[i] = cell{text: Visible(fmt.Sprint(c))}
		}
		if row[i].text == "" {
			row[i].text = "-"
		}
	}
	t.rows = append(t.rows, row)
}

// moment writes a time.
func (t *Table) moment(at time.Time) string {
	switch {
	case at.IsZero():
		return "-"
	case t.out.IsTerminal():
		return t.person(at)
	default:
		return at.UTC().Format("2006-01-02T15:04:05Z")
	}
}

// person writes a time as the clock on the wall shows it.
func (t *Table) person(at time.Time) string {
	now := t.now()
	at = at.In(now.Location())
	if at.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return at.Format(time.TimeOnly)
	}
	return at.Format("2006-01-02 15:04")
}

// Flush writes the lines. Unless the table grows, others that are added then are a table
// of their own.
func (t *Table) Flush() error {
	_, err := io.WriteString(t.out.Raw(), t.Text())
	return err
}

// Text returns what Flush writes.
func (t *Table) Text() string {
	rows, heads := t.rows, t.heads
	t.rows = nil
	if len(rows) == 0 && t.Grows {
		return ""
	}
	widths := t.natural(heads, rows)
	var all strings.Builder
	if fits := t.fit(widths, heads, rows); fits {
		if len(heads) > 0 && !t.begun {
			t.line(&all, headsOf(heads, rows), widths)
		}
		for _, row := range rows {
			t.line(&all, row, widths)
		}
	} else {
		for i, row := range rows {
			if i > 0 || t.begun {
				all.WriteByte('\n')
			}
			t.block(&all, heads, row)
		}
	}
	if t.Grows {
		t.begun = true
	} else {
		t.heads = nil
	}
	return all.String()
}

// natural returns how wide the columns would like to be.
func (t *Table) natural(heads []string, rows [][]cell) []int {
	widths := slices.Clone(t.widths)
	at := func(i, n int) {
		for len(widths) <= i {
			widths = append(widths, 0)
		}
		widths[i] = max(widths[i], n)
	}
	for i, name := range heads {
		at(i, Columns(name))
		if t.Grows && t.width() > 0 && (len(rows) == 0 || !rows[0][i].whole) {
			at(i, min(roomyWidth, t.width()/len(heads)-gap)) // the next rows may want it
		}
	}
	for _, row := range rows {
		for i, c := range row {
			at(i, Columns(c.text))
		}
	}
	if t.Grows {
		t.widths = slices.Clone(widths)
	}
	return widths
}

// roomyWidth is how wide columns of a table that grows are from the beginning, if there is
// room.
const roomyWidth = 12

// leastWidth is how narrow columns become where a terminal is too narrow for all.
const leastWidth = 8

// fit makes columns narrower until they fit the terminal, and reports whether they do.
func (t *Table) fit(widths []int, heads []string, rows [][]cell) bool {
	limit := t.width()
	if limit <= 0 || len(widths) == 0 {
		return true
	}
	least := make([]int, len(widths))
	for i, w := range widths {
		least[i] = min(w, leastWidth)
		if i < len(heads) {
			least[i] = max(least[i], Columns(heads[i]))
		}
	}
	for _, row := range rows {
		for i, c := range row {
			if c.whole {
				least[i] = max(least[i], Columns(c.text))
			}
		}
	}
	total := gap * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for ; total > limit; total-- {
		widest := -1
		for i, w := range widths {
			if w > least[i] && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return len(heads) == 0 // then lines are shortened as a whole
		}
		widths[widest]--
	}
	return true
}

// gap is how many columns are between two others.
const gap = 2

// headsOf returns the names of columns as cells, above numbers at the right.
func headsOf(heads []string, rows [][]cell) []cell {
	cells := make([]cell, len(heads))
	for i, name := range heads {
		cells[i] = cell{text: name, style: Bold}
		for _, row := range rows {
			cells[i].right = cells[i].right || i < len(row) && row[i].right
		}
	}
	return cells
}

// line writes a row as a line.
func (t *Table) line(all *strings.Builder, row []cell, widths []int) {
	room := t.width()
	if room <= 0 {
		room = 1 << 30
	}
	for i, c := range row {
		if i > 0 {
			n := min(gap, room)
			all.WriteString(strings.Repeat(" ", n))
			room -= n
		}
		text := Shorten(c.text, min(widths[i], room))
		pad := min(widths[i], room) - Columns(text)
		room -= pad + Columns(text)
		switch text := t.out.Paint(c.style, text); {
		case c.right:
			all.WriteString(strings.Repeat(" ", pad) + text)
		case i == len(row)-1:
			all.WriteString(text)
		default:
			all.WriteString(text + strings.Repeat(" ", pad))
		}
	}
	all.WriteByte('\n')
}

// block writes a row as lines, each with the name of its column.
func (t *Table) block(all *strings.Builder, heads []string, row []cell) {
	names := 0
	for _, name := range heads {
		names = max(names, Columns(name))
	}
	for i, c := range row {
		name := cell{style: Bold}
		if i < len(heads) {
			name.text = heads[i]
		}
		c.right = false
		t.line(all, []cell{name, c}, []int{names, Columns(c.text)})
	}
}
