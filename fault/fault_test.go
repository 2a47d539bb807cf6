package fault

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// Every code has its remedy in docs/errors.md, and no other has.
func TestDocumented(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for _, v := range spec.Values {
			code, err := strconv.Unquote(v.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, code)
		}
		return true
	})
	page, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| \\S.* \\| \\S.* \\|$").FindAllSubmatch(page, -1) {
		documented = append(documented, string(row[1]))
	}
	slices.Sort(codes)
	slices.Sort(documented)
	if len(codes) < 20 || !slices.Equal(codes, documented) {
		t.Errorf("codes\n%q, in docs/errors.md\n%q", codes, documented)
	}
}

// What is unavailable is told from other faults, however it is wrapped.
func TestUnavailable(t *testing.T) {
	for code, want := range map[Code]bool{Unavailable: true, Internal: false} {
		err := fmt.Errorf("send: %w", &Error{Code: code})
		if got := errors.Is(err, Unavailable); got != want {
			t.Errorf("%s: %v, want %v", code, got, want)
		}
	}
}
