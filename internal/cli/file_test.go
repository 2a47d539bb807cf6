package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spf13/pflag"
)

// Hostile or half-written files are refused with a place and a remedy, using little memory
// and time.
func TestHostileFiles(t *testing.T) {
	deep := func(open string, n int) string { return strings.Repeat(open, n) }
	var stairs, keys strings.Builder
	for i := range 300 {
		fmt.Fprintf(&stairs, "%s\"k\":\n", strings.Repeat(" ", i))
	}
	for i := range 6_000 {
		fmt.Fprintf(&keys, "k%d: 1\n", i)
	}
	path := filepath.Join(t.TempDir(), "f.yaml")
	for _, test := range []struct{ name, text, want string }{
		{"brackets", deep("[", 60_000), `f.yaml:1:17: more than 16 levels`},
		{"braces", "topics: " + deep("{a: ", 15_000), `f.yaml:1:\d+: more than 16 levels`},
		{"dashes", deep("- ", 30_000), `f.yaml:1:33: more than 16 levels`},
		{"question marks", deep("? ", 30_000), `f.yaml:1:33: more than 16 levels`},
		{"stairs", stairs.String(), `f.yaml:\d+:\d+: more than 16 levels`},
		{"an anchor", "topics: &a {b: *a}\n", `f.yaml:1:9: anchors and aliases are not taken`},
		{"an alias", "topic: *a\n", `f.yaml:1:8: anchors and aliases are not taken`},
		{"a merge", "topics:\n  <<: {a: {}}\n", `f.yaml:2:3: anchors and aliases are not taken`},
		{"a tag", "topic: !!binary aGVsbG8=\n", `f.yaml:1:8: tags and directives are not taken`},
		{"a directive", "%YAML 1.2\n---\ntopic: a\n", `f.yaml:1:1: tags and directives are not taken`},
		{"two documents", "topic: a\n---\ntopic: b\n", `f.yaml:2:1: the file has 2 documents`},
		{"a key twice", "topic: a\nquiet: true\ntopic: b\n", `f.yaml:3:1: topic stands there twice`},
		{"much", strings.Repeat("# x\n", 25_000_000), `f.yaml:1:1: more than 65536 bytes`},
		{"nothing but keys", keys.String(), `f.yaml:1:1: no setting "k0"`},
		{"a long key", strings.Repeat("k", 60_000) + ": 1\n", `f.yaml:1:1: no setting "k{70}"`},
		{"a tab", "topics:\n\ta: {}\n", `f.yaml:2:1: a tab in the indentation`},
		{"NUL", "topic: a\x00\n", `f.yaml:1:9: the control character U\+0000`},
		{"escape", "topic: \x1b[31m\n", `f.yaml:1:8: the control character U\+001B`},
		{"Latin-1", "topic: caf\xe9\n", `f.yaml:1:11: a byte that is not UTF-8`},
		{"UTF-16", "\xff\xfet\x00o\x00", `f.yaml:1:1: the text is UTF-16`},
		{"a scalar", "topic\n", `f.yaml:1:1: a text, want a mapping`},
		{"a list", "- topic\n", `f.yaml:1:1: a list, want a mapping`},
		{"an unclosed text", "topic: \"a\nquiet: true\n", `f.yaml:1:8: not YAML: `},
		{"an unclosed mapping", "topics: {a: {keep-age: 1d}\n", `f.yaml:1:\d+: not YAML: `},
		{"no colon", "topic: a\nquiet\n", `f.yaml:2:1: not YAML: `},
		{"cut off", "topics:\n  orders:\n    keep-age:", `f.yaml:3:1\d: keep-age: no value, want a text`},
		{"a number as a text", "topic: 5\n", `f.yaml:1:8: topic: a number, want a text`},
		{"a text as a number", "max-conns: many\n", `f.yaml:1:12: max-conns: a text, want a whole number`},
		{"zero", "max-conns: 0\n", `f.yaml:1:12: max-conns: "0"`},
		{"too large", "max-conns: 99999999999999999999\n", `f.yaml:1:12: max-conns: `},
		{"a fraction", "max-conns: 1.5\n", `f.yaml:1:12: max-conns: a number, want a whole number`},
		{"infinity", "max-memory: .inf\n", `f.yaml:1:13: max-memory: a number, want a number of bytes`},
		{"a boolean as a text", "quiet: \"true\"\n", `f.yaml:1:8: quiet: a text, want true or false`},
		{"a list as a text", "topic: [a]\n", `f.yaml:1:8: topic: a list, want a text`},
		{"an empty list", "plaintext-from: []\n", `f.yaml:1:17: plaintext-from: an empty list`},
		{"an empty text", "topic: \"\"\n", `f.yaml:1:8: topic: an empty text`},
		{"a list of numbers", "plaintext-from: [1]\n", `f.yaml:1:18: plaintext-from: a number, want a text`},
		{"a bad network", "plaintext-from: [10.0.0.0/8, 10.0.0.0/99]\n", `f.yaml:1:17: plaintext-from: "10.0.0.0/99"`},
		{"a list as a key", "? [a]\n: 1\n", `f.yaml:2:1: not YAML: `},
		{"no topics", "topics: a\n", `f.yaml:1:9: topics: a text, want a mapping`},
		{"no endpoints", "endpoints: []\n", `f.yaml:1:12: endpoints: a list, want a list`},
		{"an endpoint nowhere", "endpoints:\n  - insecure: true\n", `f.yaml:2:\d+: an endpoint without listen`},
		{"a listener twice", "listen: a:1\nendpoints: [{listen: \"b:1\"}]\n", `f.yaml:1:1: listen stands in each of the endpoints`},
		{"help", "help: true\n", `f.yaml:1:1: no setting "help"`},
		{"a file of itself", "config: f.yaml\n", `f.yaml:1:1: no setting "config"`},
		{"nothing", "", ""},
		{"a comment", "# nothing\n", ""},
		{"a mark", "\xef\xbb\xbftopic: a\r\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			_, err := readFile(path, nil)
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !regexp.MustCompile(test.want).MatchString(err.Error()) {
				t.Fatalf("%.300v, want %s", err, test.want)
			}
			all, ok := joined(err)
			if !ok {
				all = []error{err}
			}
			for _, err := range all {
				if hintOf(err) == "" || exitCode(err) != exitUsage {
					t.Errorf("%v: hint %q, exit code %d", err, hintOf(err), exitCode(err))
				}
			}
			if len(all) > maxFaults+1 {
				t.Errorf("%d faults", len(all))
			}
			if took > 20*time.Second || after.TotalAlloc-before.TotalAlloc > 256<<20 {
				t.Errorf("%v, %d MiB", took, (after.TotalAlloc-before.TotalAlloc)>>20)
			}
		})
	}
}

// The schema in docs matches the flags.
func TestSchemaCurrent(t *testing.T) {
	checked, err := os.ReadFile("../../docs/dictwire.schema.json")
	if err != nil || !bytes.Equal(checked, fileSchema()) {
		t.Errorf("%v: make it anew: dictwire config schema >docs/dictwire.schema.json", err)
	}
}

// The schema and the parser agree about a file. The example in the documentation is valid
// for both.
func TestSchemaAgrees(t *testing.T) {
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(fileSchema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("file:///schema.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("file:///schema.json")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(page(t, "operations.md"), -1)
	if len(examples) == 0 {
		t.Fatal("no example")
	}
	texts := map[string]bool{}
	for _, e := range examples {
		texts[e[1]] = true
	}
	for _, f := range allSettings() {
		texts[f.Name+": "+sample(f)] = true
		for _, bad := range []string{"null", "[]", "{}", "0.5", `""`} {
			texts[f.Name+": "+bad] = false
		}
	}
	texts["nonsense: 1"] = false
	texts["endpoints: [{listen: \"unix:a\", may-send: none}]"] = true
	texts["endpoints: [{may-send: none}]"] = false
	texts["endpoints: []"] = false
	texts["topics: {a: {keep-age: 1d, keep-bytes: 1000}}"] = true
	texts["topics: {a: {keep-age: 1}}"] = false
	texts["topics: {a: {nonsense: 1}}"] = false
	path := filepath.Join(t.TempDir(), "f.yaml")
	for text, good := range texts {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		exact, _ := json.Marshal(v)
		v, _ = jsonschema.UnmarshalJSON(bytes.NewReader(exact))
		if err := compiled.Validate(v); (err == nil) != good {
			t.Errorf("%s: the schema says %v", text, err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readFile(path, nil); (err == nil) != good {
			t.Errorf("%s: the reader says %v", text, err)
		}
	}
}

// allSettings returns the flags that a file may set at its top level.
func allSettings() (all []*pflag.Flag) {
	seen := map[string]bool{}
	for _, flags := range []*pflag.FlagSet{serveCommand().Flags(), relayCommand().Flags()} {
		flags.VisitAll(func(f *pflag.Flag) {
			if inFile(f) && !isPerTopic(f) && !seen[f.Name] {
				all = append(all, f)
			}
			seen[f.Name] = true
		})
	}
	return all
}

// sample returns a valid value of a flag, as a file has it.
func sample(f *pflag.Flag) string {
	switch k := kindOf(f); {
	case f.Name == "plaintext-from":
		return "[10.0.0.0/8, 192.168.1.0/24]"
	case f.Name == "allow-origin":
		return "[https://app.example]"
	case f.Name == "dialects":
		return "[native, http]"
	case k.list:
		return "[a, b.*]"
	case k.boolean:
		return "true"
	case k.integer:
		return "12"
	case f.DefValue != "":
		return `"` + f.DefValue + `"`
	default:
		return "text"
	}
}
