package crash_test

import "strings"

// python is the beginning of the Python scripts.
const python = `
import itertools, json, os, pickle, socket, struct, sys, time
HOST, PORT, NAME, URL = os.environ['HOST'], int(os.environ['PORT']), os.environ['NAME'], os.environ['URL']

def numbers():
    return itertools.takewhile(lambda n: not os.path.exists(os.environ['STOP']), itertools.count(1))

def record(n):
    return {'client': NAME, 'n': n}

def sent(*n): print('sent', *n, flush=True)
def acked(*n): print('acked', *n, flush=True)
`

// node is the beginning of the Node scripts.
const node = `
const fs = require('fs')
const {HOST, PORT, NAME, URL: url, STOP} = process.env
const going = () => !fs.existsSync(STOP)
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const sent = (...n) => console.log('sent', ...n)
const acked = (...n) => console.log('acked', ...n)
const record = (n) => ({client: NAME, n})
`

// curl posts two records with a key until the request is answered; options are curl's.
func curl(options string) string {
	return strings.ReplaceAll(`
n=1
while [ ! -e "$STOP" ]; do
	m=$((n + 1))
	while
		echo sent $n $m
		! printf '{"client":"%s","n":%d}\n{"client":"%s","n":%d}\n' $NAME $n $NAME $m |
			curl -sf OPTIONS -H "Idempotency-Key: $n" -H 'Content-Type: application/x-ndjson' --data-binary @- "$URL" >/dev/null
	do sleep 0.02; done
	echo acked $n $m
	n=$((n + 2))
done
`, "OPTIONS", options)
}

// stockClients returns the clients that send. fluent is the binary of tests/fluent, and
// packages a python with the test packages from PyPI.
func stockClients(fluent, packages string) []stock {
	sh, debian, js := []string{"sh", "-eu"}, []string{"/usr/bin/python3", "-"}, []string{"node", "--experimental-websocket", "-"}
	pypi := []string{packages, "-"}
	return []stock{
		{"curl-1", sh, curl("--http1.1"), once},
		{"curl-2", sh, curl("--http2-prior-knowledge"), once},
		{"curl-no-key", sh, `
n=1
while [ ! -e "$STOP" ]; do
	echo sent $n
	if curl -sf -d "{\"client\":\"$NAME\",\"n\":$n}" "$URL" >/dev/null; then echo acked $n; else sleep 0.02; fi
	n=$((n + 1))
done
`, once},
		{"urllib", debian, python + `
import http.client, urllib.request
for n in numbers():
    request = urllib.request.Request(URL, json.dumps(record(n)).encode(), {'Content-Type': 'application/json', 'Idempotency-Key': str(n)})
    told = 0
    while not told:
        sent(n)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                told = json.load(answer)['accepted']
        except (OSError, http.client.HTTPException, ValueError):
            time.sleep(0.02)
    acked(n)
`, once},
		{"requests", debian, python + `
import requests, requests.adapters, urllib3
again = urllib3.Retry(total=100, backoff_factor=0.01, allowed_methods=None, status_forcelist=[409, 503])
with requests.Session() as s:
    s.mount('http://', requests.adapters.HTTPAdapter(max_retries=again))
    for n in numbers():
        sent(n)
        answer = s.post(URL, json=record(n), headers={'Idempotency-Key': str(n)}, timeout=20)
        assert answer.json()['accepted'] == 1, answer.text
        acked(n)
`, once},
		{"requests-no-key", debian, python + `
import requests
with requests.Session() as s:
    for n in numbers():
        told = 0
        while not told:
            sent(n)
            try:
                told = s.post(URL, json=record(n), timeout=20).json().get('accepted')
            except requests.RequestException:
                time.sleep(0.02)
        acked(n)
`, atLeast},
		{"fetch", js, node + `
async function main() {
  for (let n = 1; going(); n++) {
    for (let told = 0; !told;) {
      sent(n)
      try {
        const answer = await fetch(url, {method: 'POST', body: JSON.stringify(record(n)), headers: {'Idempotency-Key': String(n)}})
        told = (await answer.json()).accepted
      } catch {
        await pause(20)
      }
    }
    acked(n)
  }
}
main()
`, once},
		{"WebSocket", js, node + `
let last = 0, attempt = 0 // the last record that was acknowledged; connections
const session = () => new Promise((resolve) => {
  const socket = new WebSocket('ws://' + HOST + ':' + PORT + '/v1/connect', 'dictwire.1')
  let next = 0, timer
  const send = () => {
    if (going() && next - last < 100) {
      sent(next)
      socket.send(JSON.stringify(record(next++)))
    } else if (!going() && last == next - 1) {
      socket.close(1000)
    }
  }
  socket.onopen = () => socket.send(JSON.stringify({dictwire: 1, topic: NAME, producer: NAME, attempt: ++attempt, acked: last}))
  socket.onmessage = ({data}) => {
    const m = JSON.parse(data)
    if (m.error) throw new Error(data)
    if (m.dictwire) {
      next = m.next
      timer = setInterval(send, 3)
    }
    while (last < m.ack) acked(++last)
  }
  socket.onclose = socket.onerror = () => { // where it can't connect, it says but one of them
    clearInterval(timer)
    resolve(next > 0 && !going() && last == next - 1)
  }
})
async function main() {
  while (!await session()) await pause(20)
}
main()
`, once},
		{"fluent-logger", pypi, python + `
from fluent import sender
logger = sender.FluentSender(NAME, host=HOST, port=PORT)
for n in numbers():
    sent(n)
    logger.emit(None, record(n))
    time.sleep(0.003)
while logger.pendings:
    logger.emit(None, record(n))
logger.close()
`, resent},
		{"fluent-logger-golang", []string{fluent}, "", once},
		{"fluent-org-logger", js, node + `
const {FluentClient} = require('@fluent-org/logger')
const client = new FluentClient(NAME, {socket: {host: HOST, port: Number(PORT), reconnect: {delay: 20, maxDelay: 100}}, ack: {ackTimeout: 1000}})
client.socketOn('error', () => {})
async function main() {
  for (let n = 1; going(); n++) {
    for (let told = false; !told;) {
      sent(n)
      told = await client.emit(record(n)).then(() => true, () => pause(20))
    }
    acked(n)
  }
  await client.disconnect()
  process.exit(0)
}
main()
`, atLeast},
		{"SocketHandler", debian, python + `
import logging.handlers
handler = logging.handlers.SocketHandler(HOST, PORT)
` + logging, nothing},
		{"graypy", pypi, python + `
import graypy, logging
handler = graypy.GELFTCPHandler(HOST, PORT)
` + logging, nothing},
		{"64-columns", debian, python + bare + `
HEADER, FORMAT = 64, 'utf-8'
def message(n):
    text = json.dumps(record(n)).encode(FORMAT)
    return str(len(text)).encode(FORMAT).ljust(HEADER) + text
send(message)
`, nothing},
		{"struct-pack", debian, python + bare + `
def message(n):
    data = pickle.dumps(record(n))
    return struct.pack('>I', len(data)) + data
send(message)
`, nothing},
		{"bare", debian, python + bare + `
send(lambda n: json.dumps(record(n)).encode())
`, nothing},
		{"nc", sh, `
n=1
while [ ! -e "$STOP" ]; do
	echo sent $n
	printf '{"client":"%s","n":%d}' $NAME $n | nc.openbsd -N $HOST $PORT || sleep 0.02
	n=$((n + 1))
done
`, nothing},
	}
}

// logging sends log records through a handler.
const logging = `
handler.retryStart = handler.retryMax = 0.05
log = logging.getLogger('shop')
log.setLevel(logging.INFO)
log.addHandler(handler)
logging.raiseExceptions = False
for n in numbers():
    sent(n)
    log.info('sold', extra=record(n))
    time.sleep(0.003)
handler.close()
`

// bare sends over one connection after another, without acknowledgements.
const bare = `
def send(message):
    s = None
    for n in numbers():
        sent(n)
        try:
            s = s or socket.create_connection((HOST, PORT))
            s.sendall(message(n))
        except OSError:
            s = None
        time.sleep(0.003)
    s.close()
`

// tutorialClients read a reply to each record.
var tutorialClients = []stock{
	{"2-byte-header", []string{"/usr/bin/python3", "-"}, python + asking + `
def message(n):
    content = json.dumps(record(n)).encode()
    header = json.dumps({'byteorder': sys.byteorder, 'content-type': 'text/json', 'content-encoding': 'utf-8', 'content-length': len(content)}).encode()
    return struct.pack('>H', len(header)) + header + content
def reply(s):
    header = json.loads(exactly(s, struct.unpack('>H', exactly(s, 2))[0]))
    return json.loads(exactly(s, header['content-length']))
ask(message, reply)
`, once},
	{"10-columns", []string{"/usr/bin/python3", "-"}, python + asking + `
def message(n):
    data = pickle.dumps(record(n))
    return f'{len(data):<10}'.encode() + data
ask(message, lambda s: pickle.loads(exactly(s, int(exactly(s, 10)))))
`, once},
	{"recv", []string{"/usr/bin/python3", "-"}, python + asking + `
ask(lambda n: json.dumps(record(n)).encode(), lambda s: json.loads(s.recv(1024) or b'{}'))
`, once},
}

// asking sends a record, and waits for its reply.
const asking = `
def exactly(s, n):
    data = s.recv(n, socket.MSG_WAITALL)
    if len(data) < n:
        raise ConnectionError
    return data

def ask(message, reply):
    s = None
    for n in numbers():
        sent(n)
        try:
            s = s or socket.create_connection((HOST, PORT), 20)
            s.sendall(message(n))
            if 'received' in reply(s):
                acked(n)
                continue
        except OSError:
            time.sleep(0.02)
        s = None
    if s:
        s.close()
`
