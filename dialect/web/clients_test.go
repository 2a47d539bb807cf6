package web_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/store/memory"
)

// Programs that others wrote speak to the server, unchanged.
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
