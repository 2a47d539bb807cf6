package web_test

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/cbor"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store"
	"github.com/dictwire/dictwire/store/memory"
)

// fill stores n records in each of the topics, each in a block of its own, and a CBOR
// record that JSON cannot represent in "odd". It returns the positions of the records and the head.
func fill(t *testing.T, s store.Store, n int, topics ...string) []store.Position {
	t.Helper()
	var at []store.Position
	add := func(topic, format, record string) {
		b := &store.Block{Topic: topic, Codec: format, Principal: store.Anonymous}
		b.Add([]byte(record))
		r := s.Append(t.Context(), b)[0]
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		at = append(at, r.Position)
	}
	for i := range n {
		for _, topic := range topics {
			add(topic, "json", fmt.Sprintf("{\"n\" : %d}", i))
		}
	}
	set, _ := dict.SetOf(dict.Int(1))
	add("odd", "cbor", encoded(t, cbor.Codec{}, dict.Of("s", set, "x", dict.Float(math.Inf(1)))))
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return append(at, head)
}

// after returns the position after a record.
func after(p store.Position) string {
	p.Index++
	return p.String()
}

// Records can be read in every form, between any two positions.
func TestRead(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	s := memory.New(&memory.Options{Now: func() time.Time {
		now = now.Add(time.Second)
		return now
	}})
	addr := start(t, &dictwire.Server{Store: s})
	at := fill(t, s, 4, "o.eu", "o.us")
	times := map[int]string{} // of the records
	for b, err := range s.Read(t.Context(), store.Position{}, store.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		times[len(times)] = b.Time.Format(time.RFC3339)
	}
	const all = `{"n":0}` + "\n" + `{"n":1}` + "\n" + `{"n":2}` + "\n" + `{"n":3}` + "\n"
	for _, c := range []struct {
		path   string
		header string
		kind   string
		answer string
	}{
		{"o.eu", "", "application/x-ndjson", all},
		{"o.eu", "Accept: */*", "application/x-ndjson", all},
		{"o.eu?limit=2", "", "application/x-ndjson", all[:16]},
		{"o.eu?limit=0", "", "application/x-ndjson", ""},
		{"none", "", "application/x-ndjson", ""},
		{"o.*?limit=3", "", "application/x-ndjson", "{\"n\":0}\n{\"n\":0}\n{\"n\":1}\n"},
		{"o.eu?from=" + at[4].String(), "", "application/x-ndjson", all[16:]},
		{"o.eu?from=" + at[2].String() + "&to=" + at[6].String(), "", "application/x-ndjson", all[8:24]},
		{"o.eu?to=" + at[4].String(), "", "application/x-ndjson", all[:16]},
		{"o.eu?to=" + times[4], "", "application/x-ndjson", all[:16]},
		{"o.eu?to=" + times[4] + "&follow=1", "", "application/x-ndjson", all[:16]},
		{"o.eu?to=latest&follow=true", "", "application/x-ndjson", all},
		{"o.eu?from=latest", "", "application/x-ndjson", ""},
		{"o.eu?from=earliest", "Last-Event-ID: " + at[6].String(), "application/x-ndjson", all[24:]},
		{"o.eu?limit=2", "Accept: text/html, application/json;q=0.9", "application/json", "[\n{\"n\":0},\n{\"n\":1}\n]\n"},
		{"none?format=json", "", "application/json", "[\n]\n"},
		{"o.eu?limit=1&format=sse", "", "text/event-stream", "id: " + after(at[0]) + "\ndata: {\"n\":0}\n\n"},
		{"odd", "", "application/x-ndjson", `{"s":[1],"x":null}` + "\n"},
		{
			"odd?envelope=1", "", "application/x-ndjson",
			`{"position":"` + at[8].String() + `","topic":"odd","time":"` + times[8] + `","record":{"s":[1],"x":null},"losses":1,"lost":[{"path":"/x","what":"infinity"}]}` + "\n",
		},
	} {
		r, text := do(t, addr, ask{path: "/v1/topics/" + c.path, header: c.header})
		if r.StatusCode != http.StatusOK || text != c.answer || r.Header.Get("Content-Type") != c.kind {
			t.Errorf("%s: %d %s\n%s\nwant\n%s", c.path, r.StatusCode, r.Header.Get("Content-Type"), text, c.answer)
		}
		r, text = do(t, addr, ask{method: "HEAD", path: "/v1/topics/" + c.path, header: c.header})
		if r.StatusCode != http.StatusOK || text != "" || r.Header.Get("Content-Type") != c.kind {
			t.Errorf("HEAD %s: %d %s %s", c.path, r.StatusCode, r.Header.Get("Content-Type"), text)
		}
	}
	for path, want := range map[string]string{
		"o.eu?limit=x": "400 limit: want a number of records", "o.eu?limit=-1": "400 limit: want a number of records",
		"o.eu?follow=2": "400 follow: want 1 or 0", "o.eu?from=x": "400 from: want earliest", "o.eu?to=x": "400 to: want earliest",
		"o.eu?form=json": `400 \"form\": want each of`, "o.eu?from=1h&from=2h": `400 \"from\": want each of`, "o.eu?format=xml": "400 format: \\\"xml\\\" is not served",
		"o..eu": "404 topic", "o.eu?from=zzzzzzzz.1.0": "410 store: not a position", "o.eu?from=" + at[0].Tag + ".99.0": "410 store: not a position",
		"odd?exact=1": "406 the record at " + at[8].String() + ": /s: json can't hold a set",
	} {
		r, text := do(t, addr, ask{path: "/v1/topics/" + path})
		if got := fmt.Sprint(r.StatusCode) + " " + strings.SplitN(text+`"detail":"`, `"detail":"`, 3)[1]; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	_, text := do(t, addr, ask{path: "/v1/topics/odd?format=cbor"})
	if d, err := (cbor.Codec{}).Decode([]byte(text), codec.Limits{}); err != nil || d.String() != "{'s': {1}, 'x': inf}" {
		t.Errorf("%v, %v", d, err)
	}
	_, text = do(t, addr, ask{path: "/v1/topics/odd?envelope=1", header: "Accept: application/cbor-seq"})
	if d, err := (cbor.Codec{}).Decode([]byte(text), codec.Limits{}); err != nil || !strings.Contains(d.String(), "'record': {'s': {1}, 'x': inf}") {
		t.Errorf("%v, %v", d, err)
	}
	_, text = do(t, addr, ask{path: "/v1/topics"})
	if !strings.HasPrefix(text, `{"topics":[{"topic":"o.eu","records":4,"bytes":36,"first":"`+at[0].String()) {
		t.Error(text)
	}
	_, text = do(t, addr, ask{path: "/v1/status"})
	if !strings.HasPrefix(text, `{"principal":"anonymous","durability":"memory","max_record":1048576,"ready":true,"started":"`) {
		t.Error(text)
	}
}

// Damaged, trimmed or inconvertible records are reported after those that were given, and
// the client can see that the answer is incomplete.
func TestReadBreaksOff(t *testing.T) {
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s})
	at := fill(t, s, 2, "t")
	for form, want := range map[string]string{
		"ndjson": "{\"n\":0}\n{\"n\":1}\n{\"error\":\"the record at " + at[2].String() + ": /s: json can't hold a set",
		"json":   "[\n{\"n\":0},\n{\"n\":1},\n{\"error\":\"the record at",
		"sse":    "id: " + after(at[0]) + "\ndata: {\"n\":0}\n\nid: " + after(at[1]) + "\ndata: {\"n\":1}\n\nevent: problem\ndata: {\"error\":\"the record at",
	} {
		_, text, err := try(t.Context(), addr, ask{path: "/v1/topics/*?exact=1&format=" + form})
		if err == nil || !strings.HasPrefix(text, want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", form, err, text, want)
		}
	}
	if err := s.Trim(t.Context(), "t", at[1]); err != nil {
		t.Fatal(err)
	}
	r, text := do(t, addr, ask{path: "/v1/topics/t?from=" + at[0].String()})
	check(t, "trimmed", r, text, 410, `.*records of t from .* were trimmed; from=`+at[1].String()+` goes on after them","code":"lost"\}`+"\n")
	if _, text := do(t, addr, ask{path: "/v1/topics/t?from=" + at[1].String()}); text != "{\"n\":1}\n" {
		t.Error(text)
	}
}

// A reader that follows gets new records, and resumes after the last event that it has
// seen.
func TestFollow(t *testing.T) {
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	follow := func(id string) (*bufio.Scanner, func()) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v1/topics/t?follow=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/event-stream")
		if id != "" {
			r.Header.Set("Last-Event-ID", id)
		}
		transport := &http.Transport{DisableKeepAlives: true}
		answer, err := transport.RoundTrip(r) //nolint:bodyclose // closed by the caller
		if err != nil {
			t.Fatal(err)
		}
		return bufio.NewScanner(answer.Body), func() { _ = answer.Body.Close() }
	}
	last := ""
	event := func(in *bufio.Scanner) string {
		for in.Scan() {
			if id, ok := strings.CutPrefix(in.Text(), "id: "); ok {
				last = id
			}
			if data, ok := strings.CutPrefix(in.Text(), "data: "); ok {
				return data
			}
		}
		return fmt.Sprint("the end: ", in.Err())
	}
	in, end := follow("") // the answer begins although there are no records
	for i := range 3 {
		do(t, addr, ask{body: fmt.Sprintf(`{"n":%d}`, i)})
		if got := event(in); got != fmt.Sprintf(`{"n":%d}`, i) {
			t.Fatal(got)
		}
	}
	end()
	do(t, addr, ask{body: `{"n":3}`})
	in, end = follow(last)
	defer end()
	if got := event(in); got != `{"n":3}` {
		t.Errorf("after %s: %s", last, got)
	}
}

// A record that is stored as JSON is given as it was sent, on one line, unless strict
// readers would refuse it.
func TestReadStored(t *testing.T) {
	s := memory.New(nil)
	addr := startFiltering(t, &dictwire.Server{Store: s})
	sent := strings.Join([]string{
		"{\"a\" : [ 1.50 ,\r\n 123456789012345678901234567890 ] }", `{"s": "\u00e9 \n / \/"}`, `{"s": "about NaN"}`,
		`{"f": NaN, "g": 1.50}`, `{"s": "\ud800 1"}`, `{"s":"\ud83d\ude00","e":1e400}`,
	}, "\n")
	r, text := do(t, addr, ask{body: sent})
	check(t, "sent", r, text, 200, `\{"accepted":6,.*`)
	want := []string{
		`{"a":[1.50,123456789012345678901234567890]}`, `{"s":"\u00e9 \n / \/"}`, `{"s":"about NaN"}`,
		`{"f":null,"g":1.5}`, "{\"s\":\"\ufffd 1\"}", `{"s":"\ud83d\ude00","e":1e400}`,
	}
	_, text = do(t, addr, ask{})
	if text != strings.Join(want, "\n")+"\n" {
		t.Errorf("ndjson:\n%s", text)
	}
	if _, text = do(t, addr, ask{path: "/v1/topics/t?format=json"}); text != "[\n"+strings.Join(want, ",\n")+"\n]\n" {
		t.Errorf("json:\n%s", text)
	}
	_, text = do(t, addr, ask{path: "/v1/topics/t?format=sse&envelope=1"})
	events := strings.SplitN(text, "\n\n", len(want)+1)
	if len(events) <= len(want) {
		t.Fatalf("sse:\n%s", text)
	}
	for i, w := range want {
		if !strings.Contains(events[i], "\ndata: {") || !strings.Contains(events[i], `,"record":`+w) || strings.Count(events[i], "\n") != 1 {
			t.Errorf("sse: %s, want %s", events[i], w)
		}
	}
	_, text = do(t, addr, ask{path: "/v1/topics/t?filter=select(.s)"})
	if text != strings.Join([]string{want[1], want[2], want[4], want[5]}, "\n")+"\n" {
		t.Errorf("filter:\n%s", text)
	}
	if r, text = do(t, addr, ask{path: "/v1/topics/t?exact=1&from=" + positionOf(t, s, 3)}); r.StatusCode != http.StatusNotAcceptable {
		t.Errorf("exact: %d %s", r.StatusCode, text)
	}
}

// positionOf returns the position of a record of the first block.
func positionOf(t *testing.T, s store.Store, index uint32) string {
	for b := range s.Read(t.Context(), store.Position{}, store.ReadOptions{}) {
		b.At.Index = index
		return b.At.String()
	}
	t.Fatal("no block")
	return ""
}

// A long answer is complete.
func TestReadMuch(t *testing.T) {
	s := memory.New(nil)
	addr := start(t, &dictwire.Server{Store: s})
	const n = 20_000
	var body strings.Builder
	for i := range n {
		fmt.Fprintf(&body, "{\"n\":%d,\"text\":%q}\n", i, strings.Repeat("x", i%100))
	}
	r, text := do(t, addr, ask{body: body.String()})
	check(t, "all", r, text, 200, fmt.Sprintf(`\{"accepted":%d,.*`, n))
	_, text = do(t, addr, ask{})
	if text != body.String() {
		t.Errorf("%d bytes, want %d", len(text), body.Len())
	}
	large := `{"x":"` + strings.Repeat("é", 500_000) + `"}`
	do(t, addr, ask{path: "/v1/topics/large", body: large})
	if _, text = do(t, addr, ask{path: "/v1/topics/large"}); text != large+"\n" {
		t.Errorf("%d bytes, want %d", len(text), len(large)+1)
	}
}
