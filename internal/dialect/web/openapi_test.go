package web

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dictwire/dictwire/internal/dialect"
)

// TestOpenAPI compares the document with the handlers: paths, methods, parameters, codes
// and formats must be the same.
func TestOpenAPI(t *testing.T) {
	type parameter struct {
		Name, In string
		Schema   struct{ Enum []string }
	}
	var doc struct {
		OpenAPI    string
		Paths      map[string]map[string]json.RawMessage
		Components struct {
			Schemas struct{ Code struct{ Enum []string } }
		}
	}
	if err := json.Unmarshal(document, &doc); err != nil || doc.OpenAPI != "3.1.0" {
		t.Fatal(doc.OpenAPI, err)
	}
	d := newWeb(dialect.Config{}, nil, nil)
	routes := d.routes()
	if got, want := slices.Sorted(maps.Keys(doc.Paths)), slices.Sorted(maps.Keys(routes)); !slices.Equal(got, want) {
		t.Fatalf("paths %q\nserved are %q", got, want)
	}
	list := regexp.MustCompile(`want each of ([a-z, ]+) at most once`)
	for path, operations := range doc.Paths {
		var common []parameter
		if raw, ok := operations["parameters"]; ok {
			if err := json.Unmarshal(raw, &common); err != nil {
				t.Fatal(err)
			}
			delete(operations, "parameters")
		}
		var methods []string
		for name, raw := range operations {
			method := strings.ToUpper(name)
			methods = append(methods, method)
			var operation struct {
				Parameters []parameter
				Responses  map[string]json.RawMessage
			}
			if err := json.Unmarshal(raw, &operation); err != nil {
				t.Fatal(err)
			}
			if len(operation.Responses) < 2 || operation.Responses["default"] == nil {
				t.Errorf("%s %s: responses %v", method, path, operation.Responses)
			}
			var query, inPath []string
			for _, p := range slices.Concat(common, operation.Parameters) {
				switch p.In {
				case "query":
					query = append(query, p.Name)
				case "path":
					inPath = append(inPath, "{"+p.Name+"}")
				}
				if p.Name == "format" {
					if got, want := slices.Sorted(slices.Values(p.Schema.Enum)), slices.Sorted(maps.Keys(forms)); !slices.Equal(got, want) {
						t.Errorf("formats %q, there are %q", got, want)
					}
				}
			}
			if want := regexp.MustCompile(`\{\w+\}`).FindAllString(path, -1); !slices.Equal(inPath, want) {
				t.Errorf("%s: parameters %q in the path", path, inPath)
			}
			// Given an unknown parameter, a handler lists those that it takes.
			r := httptest.NewRequest(method, "/?unknown=1", nil)
			var takes []string
			if err := takesNone(routes[path][method], r); err != nil {
				if m := list.FindStringSubmatch(err.Error()); m != nil {
					takes = strings.Split(m[1], ", ")
				}
			}
			slices.Sort(query)
			if !slices.Equal(query, takes) {
				t.Errorf("%s %s: parameters %q, the handler takes %q", method, path, query, takes)
			}
		}
		if got, want := slices.Sorted(slices.Values(methods)), slices.Sorted(maps.Keys(routes[path])); !slices.Equal(got, want) {
			t.Errorf("%s: methods %q, served are %q", path, got, want)
		}
	}
	source, err := os.ReadFile("../../../fault/code.go")
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, m := range regexp.MustCompile(`Code = "([a-z_]+)"`).FindAllStringSubmatch(string(source), -1) {
		codes = append(codes, m[1])
	}
	if got := doc.Components.Schemas.Code.Enum; len(codes) < 20 || !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(codes))) {
		t.Errorf("codes %q, there are %q", got, codes)
	}
}

// takesNone calls a handler without a server and with a parameter that no handler takes.
func takesNone(h handle, r *http.Request) (err error) {
	defer func() { _ = recover() }() // a handler that takes no parameters continues, and has no server
	return h(httptest.NewRecorder(), r)
}
