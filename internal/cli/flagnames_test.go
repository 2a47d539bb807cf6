package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/internal/bench"
	"github.com/dictwire/dictwire/store/nats"
)

// libraryTexts calls f for the string literals of all packages except the command line and
// those that run it or other commands.
func libraryTexts(t *testing.T, f func(at token.Position, text string)) {
	t.Helper()
	const root = "../.."
	files := token.NewFileSet()
	n := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if rel != "." && strings.HasPrefix(rel, ".") || slices.Contains([]string{"internal/cli", "internal/brokertest", "cmd", "tools", "tests", "bench", "clients"}, filepath.ToSlash(rel)) {
				return filepath.SkipDir
			}
			return nil
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		n++
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if lit, ok := node.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				f(files.Position(lit.Pos()), text)
			}
			return true
		})
		return nil
	})
	if err != nil || n < 100 {
		t.Fatalf("%d files: %v", n, err)
	}
}

// The library's texts name no flags. For what they name, the command line has a flag, and
// maps to it.
func TestLibraryTextsNameNoFlags(t *testing.T) {
	flag := regexp.MustCompile(`--[a-z]`)
	option := regexp.MustCompile(`\b(?:Limits|Server|Dialer|Client|Options|SubscribeRequest|Codec|json|cbor|pickle|python)\.[A-Z][A-Za-z]*`)
	named := map[string]bool{}
	libraryTexts(t, func(at token.Position, text string) {
		if flag.MatchString(text) {
			t.Errorf("%v: %q names a flag; name the option of the library, and the flag in flagNames", at, text)
		}
		for _, name := range option.FindAllString(text, -1) {
			named[name] = true
			if got := withFlags(name); got == name || !flag.MatchString(got) {
				t.Errorf("%v: %q names %s, for which flagNames has no flag", at, text, name)
			}
		}
	})
	exists := map[string]bool{"json.KeepLast": json.KeepLast != json.Refuse, "json.Codec": json.Codec{}.Name() != "", "cbor.Codec": cbor.Codec{}.Name() != ""}
	for prefix, of := range map[string][]any{"Limits.": {codec.Limits{}}, "Server.": {dictwire.Server{}}, "Codec.": {json.Codec{}}, "Options.": {bench.Options{}, nats.Options{}}} {
		for _, one := range of {
			for _, f := range reflect.VisibleFields(reflect.TypeOf(one)) {
				exists[prefix+f.Name] = exists[prefix+f.Name] || f.IsExported()
			}
		}
	}
	flags := map[string]bool{}
	for _, cmd := range below(Root()) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { flags["--"+f.Name] = true })
	}
	for i := 0; i < len(flagNames); i += 2 {
		name, with := flagNames[i], strings.Fields(flagNames[i+1])[0]
		switch {
		case !named[name]:
			t.Errorf("no text names %s", name)
		case !exists[name]:
			t.Errorf("the library has no %s", name)
		case !flags[with]:
			t.Errorf("no command has the flag %s, of %s", with, name)
		}
	}
}

// Texts of the server are mapped to flags.
func TestFlagsOfServers(t *testing.T) {
	const text = "the record has more than 3 levels; Limits.Depth raises the limit"
	if got := withFlags(text); got != "the record has more than 3 levels; --max-depth raises the limit" {
		t.Error(got)
	}
	if got := withFlags(ofServer.Replace(text)); got != "the record has more than 3 levels; the server's --max-depth raises the limit" {
		t.Error(got)
	}
}
