package web_test

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// Records can be read as CSV.
func TestReadCSV(t *testing.T) {
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s})
	for topic, body := range map[string]string{
		"people":   `{"name":"Zoë","age":30}{"age":null,"name":"B, \"b\"\n"}{"name":true}{"name":{"x":[1,"a,b"]},"age":1.5}`,
		"wide":     `{"a":1}{"a":2,"b":3}`,
		"empty":    `{}{"a":1}`,
		"formulas": `{"=a":"=1+1","b":-1}{"b":"-1","=a":"@x"}`,
		"one":      `{"a":null}{"a":""}{"a":"x"}{}`,
		"many":     `{` + keys(1025) + `}`,
		"long":     `{"` + strings.Repeat("k", 17<<10) + `":1}`,
	} {
		if r, text := do(t, addr, ask{path: "/v1/topics/" + topic, body: body}); r.StatusCode != http.StatusOK {
			t.Fatal(topic, text)
		}
	}
	set, _ := dict.SetOf(dict.Int(1))
	odd := &dict.Dict{}
	_ = odd.SetKey(dict.Int(1), set)
	odd.Set("x", dict.Bytes([]byte("\xff")))
	same := &dict.Dict{}
	_ = same.SetKey(dict.Int(1), dict.Int(1))
	same.Set("1", dict.Int(2))
	for topic, d := range map[string]*dict.Dict{"odd": odd, "same": same} {
		b := &store.Block{Topic: topic, Codec: "cbor", Principal: store.Anonymous}
		b.Add([]byte(encoded(t, cbor.Codec{}, d)))
		if r := s.Append(t.Context(), b)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	const kind = "text/csv; charset=utf-8; header=present"
	for _, c := range []struct{ path, header, answer string }{
		{"people", "Accept: text/csv", "name,age\nZoë,30\n\"B, \"\"b\"\"\n\",\ntrue,\n\"{\"\"x\"\":[1,\"\"a,b\"\"]}\",1.5\n"},
		{"people?format=csv&limit=1", "Accept: application/json", "name,age\nZoë,30\n"},
		{"people?format=csv&limit=0", "", ""},
		{"none?format=csv", "", ""},
		{"people?format=csv&limit=1&columns=age", "", "age\n30\n"},
		{`people?format=csv&limit=1&columns=age,%22a,b%22,name`, "", "age,\"a,b\",name\n30,,Zoë\n"},
		{"none?format=csv&columns=a,b", "", "a,b\n"},
		{"none?format=csv&columns=a,b&limit=0", "", "a,b\n"},
		{"wide?format=csv&columns=b,a", "", "b,a\n,1\n3,2\n"},
		{"empty?format=csv&columns=a", "", "a\n\"\"\n1\n"},
		{"one?format=csv", "", "a\n\"\"\n\"\"\nx\n\"\"\n"},
		{"formulas?format=csv", "", "=a,b\n=1+1,-1\n@x,-1\n"},
		{"formulas?format=csv&spreadsheet=1", "", "'=a,b\n'=1+1,-1\n'@x,'-1\n"},
		{"odd?format=csv", "", "1,x\n[1],/w==\n"},
		{"odd?format=csv&columns=1", "", "1\n[1]\n"},
		{"many?format=csv&columns=k7", "", "k7\n1\n"},
	} {
		r, text := do(t, addr, ask{path: "/v1/topics/" + c.path, header: c.header})
		if r.StatusCode != http.StatusOK || text != c.answer || r.Header.Get("Content-Type") != kind {
			t.Errorf("%s: %d %s\n%q\nwant\n%q", c.path, r.StatusCode, r.Header.Get("Content-Type"), text, c.answer)
		}
	}
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"empty?format=csv", 406, `the record at [^ ]+: it is empty, so it has no columns; columns=KEY,KEY gives`},
		{"same?format=csv", 406, `the record at [^ ]+: the key '1' has the same text as another one; `},
		{"odd?format=csv&exact=1", 406, `the record at [^ ]+: /: csv can't hold an int as a key; read it without exact=1`},
		{"wide?format=csv&exact=1&columns=b", 406, `the key 'a' is none of the columns; without exact=1`},
		{"many?format=csv", 406, `it has more than 1024 keys or 16384 bytes of keys; columns=`},
		{"long?format=csv", 406, `it has more than 1024 keys or 16384 bytes of keys; columns=`},
		{"people?format=csv&columns=", 400, `columns: want keys separated by commas`},
		{"people?format=csv&columns=a%0Ab", 400, `columns: want keys separated by commas`},
		{"people?format=csv&columns=%22a", 400, `columns: want keys separated by commas`},
		{"people?format=csv&columns=a,b,a", 400, `columns: a key comes twice`},
		{"people?format=csv&columns=" + strings.Repeat(",", 1024), 400, `columns: 1025 columns, want at most 1024`},
		{"people?columns=a", 400, `columns and spreadsheet are for format=csv`},
		{"people?format=csv&spreadsheet=yes", 400, `spreadsheet: want 1 or 0`},
	} {
		r, text := do(t, addr, ask{path: "/v1/topics/" + c.path})
		check(t, c.path, r, text, c.status, `.*`+c.want+`.*\n`)
	}
	// If an answer breaks off, the client can see that it is incomplete.
	_, text, err := try(t.Context(), addr, ask{path: "/v1/topics/wide?format=csv"})
	if err == nil || !strings.HasPrefix(text, "a\n1\n\"{\"\"error\"\":\"\"the record at ") || !strings.Contains(text, "the key 'b' is none of the columns; columns=KEY,KEY gives") {
		t.Errorf("%v\n%s", err, text)
	}
	// In envelopes, the record is JSON.
	_, text = do(t, addr, ask{path: "/v1/topics/odd?format=csv&envelope=1"})
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(rows) != 2 || strings.Join(rows[0], " ") != "position next topic principal producer number time event_time record losses" || rows[1][2] != "odd" || rows[1][8] != `{"1":[1],"x":"/w=="}` {
		t.Errorf("%v %q", err, rows)
	}
	// Python can read it.
	out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", `
import csv, io, sys, urllib.request
with urllib.request.urlopen(sys.argv[1]) as answer:
    print(list(csv.DictReader(io.TextIOWrapper(answer, 'utf-8', newline=''))))
`, "http://"+addr+"/v1/topics/people?format=csv").CombinedOutput()
	const want = `[{'name': 'Zoë', 'age': '30'}, {'name': 'B, "b"\n', 'age': ''}, {'name': 'true', 'age': ''}, {'name': '{"x":[1,"a,b"]}', 'age': '1.5'}]` + "\n"
	if err != nil || string(out) != want {
		t.Errorf("%v %s", err, out)
	}
}

// keys returns n members of a JSON object.
func keys(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`"k%d":1`, i)
	}
	return strings.Join(all, ",")
}

// The header precedes the first row only, in however many parts the answer is made.
func TestReadMuchCSV(t *testing.T) {
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s})
	var body, want strings.Builder
	want.WriteString("n,text\n")
	for i := range 20_000 {
		fmt.Fprintf(&body, "{\"n\":%d,\"text\":%q}\n", i, strings.Repeat("x", i%100))
		fmt.Fprintf(&want, "%d,%s\n", i, strings.Repeat("x", i%100))
	}
	do(t, addr, ask{body: body.String()})
	if _, text := do(t, addr, ask{path: "/v1/topics/t?format=csv"}); text != want.String() {
		t.Errorf("%d bytes, want %d", len(text), want.Len())
	}
}
