package schema_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/codec/pickle"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/schema"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// load returns a set in which all topics have a schema.
func load(t *testing.T, text string) *schema.Set {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := new(schema.Set)
	if err := s.Load(map[string]string{"*": path}); err != nil {
		t.Fatal(err)
	}
	return s
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

// A schema sees each type of value as a reader gets it in JSON, with all digits. Errors
// contain the path, and never the value.
func TestCheck(t *testing.T) {
	big53 := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 53), big.NewInt(1))
	at := time.Date(2026, 11, 29, 12, 30, 0, 123456789, time.UTC)
	for _, test := range []struct{ name, schema, want string }{
		{"an integer beyond 2^53", `{"type":"integer","minimum":9007199254740993,"maximum":9007199254740993}`, ""},
		{"one less", `{"type":"integer","maximum":9007199254740992}`, `at "/v": want at most 9007199254740992`},
	} {
		t.Run(test.name, func(t *testing.T) { try(t, must(dict.ValueOf(big53)), test.schema, test.want) })
	}
	for _, test := range []struct {
		name         string
		v            dict.Value
		schema, want string
	}{
		{"a decimal is a number", must(dict.Decimal("0.1")), `{"type":"number","multipleOf":0.1}`, ""},
		{"with all digits", must(dict.Decimal("1.00000000000000000000001")), `{"exclusiveMinimum":1,"maximum":1.00000000000000000000001}`, ""},
		{"and no more", must(dict.Decimal("1.00000000000000000000001")), `{"maximum":1}`, `at "/v": want at most 1`},
		{"an enormous decimal", must(dict.Decimal("1E+999999")), `{"maximum":1}`, `at "/v": a number with an exponent beyond 5000`},
		{"a tiny one in a list", dict.List(dict.Int(1), must(dict.Decimal("1E-999999"))), `{}`, `at "/v/1": a number with an exponent beyond 5000`},
		{"a float", dict.Float(1.5), `{"type":"number","minimum":1.5,"maximum":1.5}`, ""},
		{"a float that is an integer", dict.Float(2), `{"type":"integer"}`, ""},
		{"NaN", dict.Float(math.NaN()), `{"type":"null"}`, ""},
		{"a datetime", must(dict.ValueOf(at)), `{"type":"string","format":"date-time"}`, ""},
		{"a text that is none", dict.String("yesterday"), `{"format":"date-time"}`, `at "/v": want the format date-time`},
		{"bytes", dict.Bytes([]byte("abc")), `{"const":"YWJj"}`, ""},
		{"keys that are no texts", must(dict.ValueOf(map[int]int{1: 2})), `{"properties":{"1":{"const":2}}}`, ""},
		{"keys that are one text", twice(), `{"required":["_pairs"]}`, ""},
		{"a tuple", dict.Tuple(dict.Int(1), dict.Int(2)), `{"type":"array","prefixItems":[{"const":1},{"const":2}],"items":false}`, ""},
		{"a boolean is no integer", dict.Bool(true), `{"type":"integer"}`, `at "/v": want integer, got boolean`},
		{"null", dict.Null(), `{"type":["string","null"]}`, ""},
		{"keys", dict.Of("a/b", dict.Of("c~d", 1)).Value(), `{"properties":{"a/b":{"properties":{"c~d":{"type":"string"}}}}}`, `at "/v/a~1b/c~0d": want string, got number`},
		{"what is missing", dict.Of("a", 1).Value(), `{"required":["b","c"]}`, `at "/v": without "b", "c"`},
		{"what is too much", dict.Of("z", 1, "y", 2).Value(), `{"additionalProperties":false}`, `at "/v": want no "y", "z"`},
		{"a secret", dict.String("hunter2"), `{"pattern":"^a+$","enum":["a"],"const":"b","maxLength":3}`, `at "/v": .*`},
		{"an evil pattern", dict.String(strings.Repeat("a", 50_000) + "!"), `{"pattern":"^(a+)+$"}`, `at "/v": want a text that matches "\^\(a\+\)\+\$"`},
		{"many faults", dict.List(slicesOf(10_000)...), `{"items":{"type":"string"}}`, `at "/v/0": want string, got number; .*; 10000 faults in all`},
		{"many items that differ", dict.List(slicesOf(20_000)...), `{"uniqueItems":true}`, ""},
	} {
		t.Run(test.name, func(t *testing.T) { try(t, test.v, test.schema, test.want) })
	}
}

// twice returns a dictionary with the keys 1 and "1".
func twice() dict.Value {
	d := dict.Of("1", "text")
	if err := d.SetKey(dict.Int(1), dict.String("number")); err != nil {
		panic(err)
	}
	return d.Value()
}

func slicesOf(n int) (all []dict.Value) {
	for i := range n {
		all = append(all, dict.Int(int64(i)))
	}
	return all
}

// try checks a record with a value under the key "v" against a schema.
func try(t *testing.T, v dict.Value, text, want string) {
	t.Helper()
	d := new(dict.Dict)
	d.Set("v", v)
	s := load(t, `{"properties":{"v":`+text+`}}`)
	err := s.Of("orders")(d)
	switch {
	case want == "" && err != nil:
		t.Error(err)
	case want != "" && (err == nil || !regexp.MustCompile("^"+want+"$").MatchString(err.Error())):
		t.Errorf("%.300v, want %s", err, want)
	case err != nil && (strings.Contains(err.Error(), "hunter2") || len(err.Error()) > 2000):
		t.Errorf("%d bytes: %.300v", len(err.Error()), err)
	}
}

// The longest matching name counts, and "*" gives no schema to the server's own topics. An
// unusable file changes nothing.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	all, eu := write("all.json", `{"required":["all"]}`), write("eu.json", `{"$ref":"part.json"}`)
	write("part.json", `{"required":["eu"]}`)
	orders := write("orders.json", `{"required":["orders"]}`)
	var s schema.Set
	if s.Of("orders") != nil {
		t.Error("the zero Set has a schema")
	}
	files := map[string]string{"*": all, "orders.*": orders, "orders.eu": eu}
	if err := s.Load(files); err != nil {
		t.Fatal(err)
	}
	names := func() (got string) {
		for _, topic := range []string{"a", "orders", "orders.us", "orders.eu", "orders.eu.x"} {
			got += " " + strings.TrimPrefix(s.Of(topic)(new(dict.Dict)).Error(), `at "": without `)
		}
		return got
	}
	const want = ` "all" "all" "orders" "eu" "orders"`
	if got := names(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if s.Of("_rejected") != nil {
		t.Error("_rejected has a schema")
	}
	for _, bad := range []struct{ text, want string }{
		{`{"type":"nonsense"}`, `bad.json`},
		{`{`, `bad.json`},
		{`{"pattern":"("}`, `bad.json`},
		{`{"$ref":"http://127.0.0.1:1/s.json"}`, `http://127.0.0.1:1/s.json`},
		{`{"$ref":"absent.json"}`, `absent.json`},
		{`{"x":"` + strings.Repeat("x", 1<<20) + `"}`, `more than 1048576 bytes`},
	} {
		files["bad"], files["worse"] = write("bad.json", bad.text), filepath.Join(dir, "absent.json")
		err := s.Load(files)
		if err == nil || !strings.Contains(err.Error(), bad.want) || !strings.Contains(err.Error(), "absent.json") {
			t.Errorf("%.40s: %v, want %s", bad.text, err, bad.want)
		}
		if got := names(); got != want {
			t.Errorf("after a bad file: %s, want %s", got, want)
		}
	}
}

// A server rejects records that do not fit, in whatever format they arrive, before the
// handler sees them, and stores the others unchanged.
func TestServer(t *testing.T) {
	s := load(t, `{"properties":{"n":{"type":"integer"}}}`)
	st := memory.New(nil)
	handled := make(chan string, 100)
	for _, handler := range []dictwire.Handler{nil, dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		handled <- fmt.Sprint(r.Dict())
		return nil, nil
	})} {
		srv := &dictwire.Server{Schema: s.Of, Store: st, Handler: handler}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- srv.Serve(dictwire.Endpoint{Listener: l}) }()
		for _, c := range []codec.Codec{json.Codec{}, pickle.Codec{}} {
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range []*dict.Dict{dict.Of("n", 1), dict.Of("n", "many"), dict.Of("n", 2)} {
				record, err := c.Append(nil, d)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = conn.Write(append(record, c.Terminator()...))
			}
			_ = conn.(*net.TCPConn).CloseWrite()
			var told bytes.Buffer
			_, _ = told.ReadFrom(conn)
			_ = conn.Close()
			if !bytes.Contains(told.Bytes(), []byte("schema")) || !bytes.Contains(told.Bytes(), []byte(`at "/n": want integer, got string`)) && !bytes.Contains(told.Bytes(), []byte(`at \"/n\": want integer, got string`)) {
				t.Errorf("%s: told %q", c.Name(), told.Bytes())
			}
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-done
	}
	close(handled)
	n := 0
	for text := range handled {
		if n++; strings.Contains(text, "many") {
			t.Errorf("the handler saw %s", text)
		}
	}
	if n != 4 {
		t.Errorf("the handler saw %d records", n)
	}
	counts := map[string]uint64{}
	topics, err := st.Topics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		counts[topic.Name] = topic.Records
	}
	if counts["default"] != 8 || counts[store.Rejected] != 4 {
		t.Errorf("stored: %v", counts)
	}
}
