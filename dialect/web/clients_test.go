package web_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/store/memory"
)

// Stock clients work unchanged.
func TestClients(t *testing.T) {
	for _, c := range []struct {
		name    string
		command []string
		script  string
		prints  string
		stored  string
	}{
		{
			name: "curl", command: []string{"sh", "-eu"}, script: `
				curl -sS "$URL" -d '{"name":"Alice"}' >/dev/null
				printf '{"n":1}\n{"n":2}\n' | curl -sS "$URL" --data-binary @- -H 'Content-Type: application/x-ndjson' >/dev/null
				printf '{"n":3}' | gzip | curl -sS "$URL" --data-binary @- -H 'Content-Encoding: gzip' -H 'Expect: 100-continue' >/dev/null
				printf '{"n":4}' | curl -sS "$URL" -T - -X POST >/dev/null
				curl -sS --http2 "$URL" -d '{"n":5}' >/dev/null
				curl -sS --http2-prior-knowledge "$URL" -d '{"n":6}' -o /dev/null -w '%{http_version}\n'
				printf '[{"n":7}]' | curl -sS --http2-prior-knowledge "$URL" --data-binary @- -H 'Content-Type: application/json' -o /dev/null
				curl -sS --http2-prior-knowledge "$URL?limit=1"
				curl -sS "$URL?limit=2"
				curl -sS -o /dev/null -w '%{http_code}\n' "$URL" -d '[1]'
			`,
			prints: "2\n{\"name\":\"Alice\"}\n{\"name\":\"Alice\"}\n{\"n\":1}\n400\n",
			stored: `{"name":"Alice"} {"n":1} {"n":2} {"n":3} {"n":4} {"n":5} {"n":6} {"n":7}`,
		},
		{
			name: "urllib", command: []string{"/usr/bin/python3", "-"}, script: `
import json, os, pickle, urllib.request
url = os.environ['URL']
def post(body, kind=None):
    request = urllib.request.Request(url, body, {'Content-Type': kind} if kind else {})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)
print(post(json.dumps([{'name': 'Zoë'}, {'big': 2 ** 100}]).encode(), 'application/json')['accepted'])
print(post(pickle.dumps({'set': {1}, 'bytes': b'x'}), 'application/octet-stream')['accepted'])
try:
    post(b'{"a":1,"a":2}')
except urllib.error.HTTPError as e:
    print(e.code, json.load(e)['code'])
with urllib.request.urlopen(url) as answer:
    print([json.loads(line) for line in answer])
`,
			prints: "2\n1\n422 duplicate_key\n[{'name': 'Zoë'}, {'big': 1267650600228229401496703205376}, {'set': [1], 'bytes': 'eA=='}]\n",
			stored: `{"name": "Zo\u00eb"} {"big": 1267650600228229401496703205376} {'set': {1}, 'bytes': b'x'}`,
		},
		{
			name: "requests", command: []string{"/usr/bin/python3", "-"}, script: `
import json, os, requests
url = os.environ['URL']
with requests.Session() as s:
    print(s.post(url, json={'name': 'Zoë'}).json()['accepted'])
    print(s.post(url, data='\n'.join(json.dumps({'n': n}) for n in range(2)), headers={'Content-Type': 'application/x-ndjson'}).json()['accepted'])
    print(s.post(url, data=(json.dumps({'n': n}).encode() for n in (2, 3)), headers={'Idempotency-Key': 'a'}).json()['accepted'])
    bad = s.post(url, json=[1])
    print(bad.status_code, bad.json()['code'])
    print([json.loads(line) for line in s.get(url, params={'limit': 2}, stream=True).iter_lines()])
    first = s.get(url, params={'cursor': 'c', 'envelope': 1, 'limit': 1}).json()
    print(s.post(url.replace('topics/t', 'cursors/c'), params={'reads': 't', 'to': first['next']}).status_code)
    print(s.get(url, params={'cursor': 'c', 'format': 'json'}).json())
    print(s.get(url, params={'columns': 'n,name'}, headers={'Accept': 'text/csv'}).text.split('\n'))
`,
			prints: "1\n2\n2\n422 not_a_dictionary\n[{'name': 'Zoë'}, {'n': 0}]\n200\n[{'n': 0}, {'n': 1}, {'n': 2}, {'n': 3}]\n['n,name', ',Zoë', '0,', '1,', '2,', '3,', '']\n",
			stored: `{"name": "Zo\u00eb"} {"n": 0} {"n": 1} {"n": 2} {"n": 3}`,
		},
		{
			name: "http.client, one connection", command: []string{"/usr/bin/python3", "-"}, script: `
import http.client, json, os
c = http.client.HTTPConnection(os.environ['HOST'])
for n in range(3):
    c.request('POST', '/v1/topics/t', json.dumps({'n': n}), {'Idempotency-Key': str(n // 2)})
    answer = c.getresponse()
    print(answer.status, answer.read()[:14].decode())
c.request('POST', '/v1/topics/t', iter([b'{"n"', b':7}\n{', b'"n":8}']), encode_chunked=True, headers={'Transfer-Encoding': 'chunked'})
print(json.load(c.getresponse())['accepted'])
`,
			prints: "200 {\"accepted\":1,\n422 {\"type\":\"about\n200 {\"accepted\":1,\n2\n",
			stored: `{"n": 0} {"n": 2} {"n":7} {"n":8}`,
		},
		{
			name: "fetch of Node", command: []string{"node", "-"}, script: `
const url = process.env.URL
async function main() {
  const posted = await fetch(url, {method: 'POST', body: JSON.stringify({name: 'Zoë'}), headers: {'Content-Type': 'application/json'}})
  console.log(posted.status, (await posted.json()).accepted)
  const plain = await fetch(url, {method: 'POST', body: JSON.stringify({n: 1})})
  console.log(plain.status, plain.headers.get('content-type'))
  const read = await fetch(url + '?follow=1', {headers: {Accept: 'text/event-stream'}})
  let text = ''
  for await (const chunk of read.body) {
    text += new TextDecoder().decode(chunk)
    if (text.split('data: ').length > 2) break
  }
  console.log(text.replace(/id: .*\n/g, ''))
}
main()
`,
			prints: "200 1\n200 application/json\ndata: {\"name\":\"Zoë\"}\n\ndata: {\"n\":1}\n\n\n",
			stored: `{"name":"Zoë"} {"n":1}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := memory.New(nil)
			addr := start(t, &dictwire.Server{Store: s})
			cmd := exec.CommandContext(t.Context(), c.command[0], c.command[1:]...)
			cmd.Env = append(os.Environ(), "HOST="+addr, "URL=http://"+addr+"/v1/topics/t", "HOME="+filepath.Join(t.TempDir(), "home"))
			cmd.Stdin = strings.NewReader(c.script)
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != c.prints {
				t.Errorf("%v\n%s\nwant\n%s", err, out, c.prints)
			}
			if got := stored(t, s, "t"); got != c.stored {
				t.Errorf("stored %s\nwant %s", got, c.stored)
			}
		})
	}
}

// Requests as sent by programs that are not installed here: Fluent Bit's "out_http" (format
// json and json_lines, compress gzip) and Vector's "http" sink (encoding json, framing
// newline_delimited, and an array). Each connection is reused.
func TestRecorded(t *testing.T) {
	const bit = "POST /v1/topics/t HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nContent-Type: %s\r\nUser-Agent: Fluent-Bit\r\n%s\r\n%s"
	const vector = "POST /v1/topics/t HTTP/1.1\r\ncontent-type: %[3]s\r\nuser-agent: Vector/0.50.0 (x86_64-unknown-linux-gnu)\r\naccept-encoding: zstd,gzip,deflate,br\r\n%[4]shost: %[1]s\r\ncontent-length: %[2]d\r\n\r\n%[5]s"
	for _, c := range []struct {
		name, shape, kind, header string
		bodies                    []string
		stored                    string
	}{
		{
			"Fluent Bit, json", bit, "application/json", "",
			[]string{
				`[{"date":1700000000.123456,"log":"a","kubernetes":{"pod":"p-1"}},{"date":1700000001.5,"log":"b\n"}]`,
				`[{"date":1700000002.0,"cpu_p":1.5}]`,
			},
			`{"date":1700000000.123456,"log":"a","kubernetes":{"pod":"p-1"}} {"date":1700000001.5,"log":"b\n"} {"date":1700000002.0,"cpu_p":1.5}`,
		},
		{
			"Fluent Bit, json_lines", bit, "application/x-ndjson", "",
			[]string{"{\"date\":1700000000.1,\"log\":\"a\"}\n{\"date\":1700000000.2,\"log\":\"b\"}\n", "{\"date\":1700000000.3,\"log\":\"c\"}\n"},
			`{"date":1700000000.1,"log":"a"} {"date":1700000000.2,"log":"b"} {"date":1700000000.3,"log":"c"}`,
		},
		{
			"Fluent Bit, gzip", bit, "application/json", "Content-Encoding: gzip\r\n",
			[]string{gzipped(t, `[{"date":1700000000.1,"log":"a"}]`), gzipped(t, `[{"date":1700000000.2,"log":"b"}]`)},
			`{"date":1700000000.1,"log":"a"} {"date":1700000000.2,"log":"b"}`,
		},
		{
			"Vector, newline_delimited", vector, "application/x-ndjson", "",
			[]string{"{\"message\":\"a\",\"timestamp\":\"2026-11-23T10:00:00.123456789Z\"}\n{\"message\":\"b\"}\n", "{\"message\":\"c\"}\n"},
			`{"message":"a","timestamp":"2026-11-23T10:00:00.123456789Z"} {"message":"b"} {"message":"c"}`,
		},
		{
			"Vector, an array", vector, "application/json", "content-encoding: gzip\r\n",
			[]string{gzipped(t, `[{"message":"a"},{"message":"b"}]`), gzipped(t, `[{"message":"c"}]`)},
			`{"message":"a"} {"message":"b"} {"message":"c"}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := memory.New(nil)
			addr := start(t, &dictwire.Server{Store: s})
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			in := bufio.NewReader(nc)
			for _, body := range c.bodies {
				if _, err := fmt.Fprintf(nc, c.shape, addr, len(body), c.kind, c.header, body); err != nil {
					t.Fatal(err)
				}
				answer, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(answer.Body)
				_ = answer.Body.Close()
				if err != nil || answer.StatusCode != http.StatusOK || answer.Close {
					t.Errorf("%d %s, %v", answer.StatusCode, text, err)
				}
			}
			if got := stored(t, s, "t"); got != c.stored {
				t.Errorf("stored %s\nwant %s", got, c.stored)
			}
		})
	}
}
