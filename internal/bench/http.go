package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// An overHTTP posts records, one request per send.
type overHTTP struct {
	nc    net.Conn
	in    *bufio.Reader
	head  []byte
	after string // appended to each record
	buf   []byte
	sent  chan int // number of records in each request in flight
}

// sequences maps formats to the media types of their sequences, and to what ends a record
// in them.
var sequences = map[string]struct{ mediaType, end string }{
	"json": {"application/x-ndjson", "\n"}, "python": {"text/x-python", "\n"},
	"cbor": {"application/cbor-seq", ""}, "msgpack": {"application/msgpack", ""}, "pickle": {"application/x-python-pickle", ""},
}

func openHTTP(nc net.Conn, o *Options, _ int) (conn, error) {
	sequence := sequences[o.Records.Format]
	h := &overHTTP{nc: nc, in: bufio.NewReader(nc), after: sequence.end, sent: make(chan int, o.InFlight)}
	h.head = fmt.Appendf(nil, "POST /v1/topics/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\n", url.PathEscape(o.Topic), sequence.mediaType)
	if o.Token != "" {
		h.head = fmt.Appendf(h.head, "Authorization: Bearer %s\r\n", o.Token)
	}
	return h, nil
}

func (h *overHTTP) send(records [][]byte) error {
	size := len(records) * len(h.after)
	for _, r := range records {
		size += len(r)
	}
	h.buf = append(h.buf[:0], h.head...)
	h.buf = fmt.Appendf(h.buf, "Content-Length: %d\r\n\r\n", size)
	for _, r := range records {
		h.buf = append(append(h.buf, r...), h.after...)
	}
	h.sent <- len(records)
	_, err := h.nc.Write(h.buf)
	return err
}

func (h *overHTTP) settle() (settled, refused int, err error) {
	response, err := http.ReadResponse(h.in, nil)
	if err != nil {
		return 0, 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, 0, err
	}
	if response.StatusCode/100 != 2 {
		return 0, 0, fmt.Errorf("%s: %.500s", response.Status, body)
	}
	var told struct{ Rejections int }
	_ = json.Unmarshal(body, &told) // another server may answer something else
	return <-h.sent, told.Rejections, nil
}

func (h *overHTTP) end() error { return nil }
