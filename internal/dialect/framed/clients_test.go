package framed_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/internal/servertest"
	"github.com/dictwire/dictwire/store/memory"
)

// The clients of the standard library and of tutorials, unchanged.
func TestClients(t *testing.T) {
	reply := dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		d := dict.Of("result", r.Number)
		if v, ok := r.Dict().Get("value"); ok {
			d.Set("value", v)
		}
		return d, nil
	})
	for name, c := range map[string]struct {
		handler        dictwire.Handler
		script, prints string
		stored         []string // parts of the records
	}{
		"SocketHandler": {
			script: `
import datetime, decimal, logging, logging.handlers, os, uuid
host, port = os.environ['ADDR'].split(':')
log = logging.getLogger('shop')
log.setLevel(logging.DEBUG)
handler = logging.handlers.SocketHandler(host, int(port))
log.addHandler(handler)
log.info('sold %d of %s', 3, 'tea', extra={'order': {'id': 7, 'tags': ('a', 'b')}})
try:
    1 / 0
except ZeroDivisionError:
    log.exception('no price')
log.warning('typed', extra={
    'when': datetime.datetime(2026, 11, 29, 1, 2, 3, 4, tzinfo=datetime.timezone.utc), 'price': decimal.Decimal('19.90'),
    'raw': b'\x00\xff', 'set': {1}, 'id': uuid.UUID(int=5), 'big': 2 ** 70, 'nothing': None, 1: True,
})
handler.close()
`,
			stored: []string{
				`'name': 'shop', 'msg': 'sold 3 of tea', 'args': None, 'levelname': 'INFO'`, `'order': {'id': 7, 'tags': ('a', 'b')}`,
				`'msg': 'no price'`, `'exc_info': None`, `ZeroDivisionError: division by zero`,
				`datetime.datetime(2026, 11, 29, 1, 2, 3, 4, tzinfo=datetime.timezone.utc), 'price': Decimal('19.90'), 'raw': b'\x00\xff', 'set': {1}, 'id': UUID('00000000-0000-0000-0000-000000000005'), 'big': 1180591620717411303424, 'nothing': None, 1: True`,
			},
		},
		"struct.pack": {
			script: `
import json, os, pickle, socket, struct
host, port = os.environ['ADDR'].split(':')
with socket.create_connection((host, int(port))) as s:
    for data in json.dumps({'name': 'Alice'}).encode(), pickle.dumps({'name': 'Bob', 'seen': (1, 2)}):
        s.sendall(struct.pack('>I', len(data)) + data)
`,
			stored: []string{"{'name': 'Alice'}", "{'name': 'Bob', 'seen': (1, 2)}"},
		},
		"a 2-byte header": { // Real Python, Socket Programming in Python
			handler: reply,
			script: `
import io, json, os, socket, struct, sys
host, port = os.environ['ADDR'].split(':')

def message(content_bytes, content_type, content_encoding):
    jsonheader = {
        'byteorder': sys.byteorder, 'content-type': content_type,
        'content-encoding': content_encoding, 'content-length': len(content_bytes),
    }
    header = json.dumps(jsonheader, ensure_ascii=False).encode('utf-8')
    return struct.pack('>H', len(header)) + header + content_bytes

def read(s):
    hdrlen = struct.unpack('>H', s.recv(2, socket.MSG_WAITALL))[0]
    header = json.load(io.BytesIO(s.recv(hdrlen, socket.MSG_WAITALL)))
    for reqhdr in ('byteorder', 'content-length', 'content-type', 'content-encoding'):
        assert reqhdr in header, reqhdr
    assert header['content-type'] == 'text/json', header
    content = s.recv(header['content-length'], socket.MSG_WAITALL)
    return json.loads(content.decode(header['content-encoding']))

with socket.create_connection((host, int(port))) as s:
    for value in 'morpheus', 'ring':
        request = json.dumps({'action': 'search', 'value': value}, ensure_ascii=False).encode('utf-8')
        s.sendall(message(request, 'text/json', 'utf-8'))
        print(read(s))
`,
			prints: "{'result': 1, 'value': 'morpheus'}\n{'result': 2, 'value': 'ring'}\n",
			stored: []string{"{'action': 'search', 'value': 'morpheus'}", "{'action': 'search', 'value': 'ring'}"},
		},
		"10 columns and a pickle": { // sentdex, Sockets with Python 3
			handler: reply,
			script: `
import os, pickle, socket
host, port = os.environ['ADDR'].split(':')
HEADERSIZE = 10
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.connect((host, int(port)))
for d in {1: 'hi', 2: 'there'}, {'value': (1, 2)}:
    msg = pickle.dumps(d)
    msg = bytes(f'{len(msg):<{HEADERSIZE}}', 'utf-8') + msg
    s.send(msg)
    full_msg, new_msg = b'', True
    while True:
        part = s.recv(16)
        if new_msg:
            msglen, new_msg = int(part[:HEADERSIZE]), False
        full_msg += part
        if len(full_msg) - HEADERSIZE == msglen:
            print(pickle.loads(full_msg[HEADERSIZE:]))
            break
`,
			prints: "{'result': 1}\n{'result': 2, 'value': (1, 2)}\n",
			stored: []string{"{1: 'hi', 2: 'there'}", "{'value': (1, 2)}"},
		},
		"64 columns and JSON": { // Tech With Tim, Python Socket Programming
			script: `
import json, os, socket
host, port = os.environ['ADDR'].split(':')
HEADER, FORMAT, DISCONNECT_MESSAGE = 64, 'utf-8', '!DISCONNECT'
client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
client.connect((host, int(port)))

def send(msg):
    message = msg.encode(FORMAT)
    msg_length = len(message)
    send_length = str(msg_length).encode(FORMAT)
    send_length += b' ' * (HEADER - len(send_length))
    client.send(send_length)
    client.send(message)

send(json.dumps({'name': 'Zoë'}))
send(json.dumps({'name': 'Tim'}))
send(DISCONNECT_MESSAGE)
`,
			stored: []string{"{'name': 'Zoë'}", "{'name': 'Tim'}"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := memory.New(nil)
			srv := &dictwire.Server{Store: st, Handler: c.handler}
			addr := servertest.Start(t, srv)
			cmd := exec.CommandContext(t.Context(), "python3", "-")
			cmd.Env = append(os.Environ(), "ADDR="+addr, "PYTHONUTF8=1")
			cmd.Stdin = strings.NewReader(c.script)
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != c.prints {
				t.Errorf("%v\n%s\nwant\n%s", err, out, c.prints)
			}
			servertest.Await(t, st, 1) // a client may be gone before its connection is accepted
			if err := srv.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			got := strings.Join(servertest.Texts(t, st, "default"), "\n")
			for _, want := range c.stored {
				at := strings.Index(got, want)
				if at < 0 {
					t.Fatalf("stored %s\nwant %s", got, want)
				}
				got = got[at+len(want):]
			}
		})
	}
}
