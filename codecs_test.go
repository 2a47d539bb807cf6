package dictwire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/dictwiretest"
	"github.com/dictwire/dictwire/fault"
)

// A formCodec is a codec as a program has it that knows this module from outside: a
// form's values, as browsers post them, on a line.
type formCodec struct{}

func (formCodec) Name() string       { return "form" }
func (formCodec) MediaType() string  { return "application/x-www-form-urlencoded" }
func (formCodec) Terminator() string { return "\n" }

func (formCodec) Append(dst []byte, d *dict.Dict) ([]byte, error) {
	begin := dst
	for k, v := range d.All() {
		key, isText := k.Text()
		text, ok := v.Text()
		if !isText || !ok {
			return begin, &codec.LossError{Codec: "form", Path: "/" + key, Kind: v.Kind()}
		}
		if len(dst) > len(begin) {
			dst = append(dst, '&')
		}
		dst = append(dst, url.QueryEscape(key)+"="+url.QueryEscape(text)...)
	}
	return dst, nil
}

func (formCodec) Decode(src []byte, lim codec.Limits) (*dict.Dict, error) {
	d := new(dict.Dict)
	bad := func(code fault.Code, msg string) error {
		return &codec.SyntaxError{Codec: "form", Code: code, Msg: msg}
	}
	if most := lim.Effective().RecordBytes; len(src) > most {
		return nil, bad(fault.TooLarge, fmt.Sprintf("want at most %d bytes", most))
	}
	for pair := range strings.SplitSeq(string(src), "&") {
		key, value, _ := strings.Cut(pair, "=")
		k, err := url.QueryUnescape(key)
		v, valueErr := url.QueryUnescape(value)
		if key == "" || errors.Join(err, valueErr) != nil {
			return nil, bad(fault.Malformed, "want key=value, with %XX for what is no letter")
		}
		if _, twice := d.Get(k); twice {
			return nil, bad(fault.DuplicateKey, "a key twice")
		}
		d.Set(k, dict.String(v))
	}
	return d, nil
}

func (c formCodec) NewScanner(lim codec.Limits) codec.Scanner { return &formScanner{lim} }

type formScanner struct{ lim codec.Limits }

func (s *formScanner) Next(buf []byte) (start, end int, err error) {
	for start < len(buf) && buf[start] == '\n' {
		start++
	}
	n := bytes.IndexByte(buf[start:], '\n')
	if most := s.lim.Effective().RecordBytes; n < 0 && len(buf)-start <= most {
		return start, start, codec.ErrIncomplete
	} else if n < 0 {
		n = len(buf) - start
	}
	_, err = formCodec{}.Decode(buf[start:start+n], s.lim)
	return start, start + n, err
}

func (s *formScanner) End(buf []byte) (start, end int, err error) {
	if len(bytes.Trim(buf, "\n")) == 0 {
		return len(buf), len(buf), io.EOF
	}
	return s.Next(append(bytes.Clone(buf), '\n'))
}

func (s *formScanner) Resume()      {}
func (s *formScanner) Scratch() int { return 0 }
func (s *formScanner) Release()     {}

// A codec from elsewhere serves: records are sent, replied to, stored and read in it.
func TestOwnCodec(t *testing.T) {
	srv := dictwiretest.New(t, &dictwire.Server{
		Codecs: []codec.Codec{formCodec{}},
		Handler: dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
			what, _ := r.Dict().Get("what")
			if text, _ := what.Text(); text == "milk" {
				return nil, dictwire.Reject("", "no milk")
			}
			return dict.Of("format", r.Codec.Name()), nil
		}),
	})
	c := srv.NewClient(dictwire.Dialer{Codec: formCodec{}})
	reply, err := c.Send(t.Context(), "orders", dict.Of("what", "tea & bread", "für", "Zoë"))
	if err != nil || reply.String() != "{'format': 'form'}" {
		t.Errorf("Send = %v, %v", reply, err)
	}
	var rejected *dictwire.RejectedError
	if _, err := c.Send(t.Context(), "orders", dict.Of("what", "milk")); !errors.As(err, &rejected) || string(rejected.Record) != "what=milk" {
		t.Errorf("Send = %v", err)
	}
	if _, err := c.Send(t.Context(), "orders", dict.Of("n", 1)); !errors.Is(err, dictwire.ErrNotSent) {
		t.Errorf("Send of what it can't hold = %v", err)
	}
	read := func(cd codec.Codec) (got []string) {
		for b, err := range c.Subscribe(t.Context(), dictwire.SubscribeRequest{Topics: []string{"orders"}, Codec: cd}) {
			if err != nil {
				got = append(got, string(errorCode(err)))
			}
			if b == nil {
				break
			}
			for _, r := range b.Records {
				got = append(got, b.Codec.Name()+" "+string(r))
			}
		}
		return got
	}
	if got := fmt.Sprint(read(formCodec{})); got != "[form what=tea+%26+bread&f%C3%BCr=Zo%C3%AB]" {
		t.Errorf("read %s", got)
	}
	if got := fmt.Sprint(read(json.Codec{})); got != `[json {"what":"tea & bread","für":"Zoë"}]` {
		t.Errorf("read %s", got)
	}
	if _, err := srv.Client.Send(t.Context(), "orders", dict.Of("n", 1)); err != nil {
		t.Error(err)
	}
	if got := read(formCodec{}); len(got) != 2 || got[1] != "loss" {
		t.Errorf("read %q, where the second can't be held", got)
	}

	// What is no form is one bad record of the session.
	conn, err := srv.Dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, `{"dictwire":1,"topic":"t","format":"form"}`+"\na=1\na=1&a=2\n") }()
	told, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(told), `{"rejected":2,"code":"duplicate_key"`) {
		t.Errorf("told %s, %v", told, err)
	}

	// A server that does not have it says what it has.
	_, err = dictwiretest.NewServer(t, nil).NewClient(dictwire.Dialer{}).Send(t.Context(), "t", dictwire.Record{Codec: formCodec{}, Bytes: []byte("a=1")})
	if err == nil || !strings.Contains(err.Error(), "no format form") {
		t.Errorf("Send = %v", err)
	}
	plain := dictwiretest.NewServer(t, nil)
	c, err = dictwire.Dialer{Codec: formCodec{}, DialContext: plain.Dial}.Dial(t.Context(), "")
	if errorCode(err) != fault.Unsupported || !strings.Contains(err.Error(), "cbor, json, msgpack, pickle, python are") {
		t.Errorf("Dial = %v, %v", c, err)
	}
}

// A named is a codec of another name.
type named struct {
	formCodec
	name string
}

func (n named) Name() string { return n.name }

// A codec has a name of its own.
func TestCodecNames(t *testing.T) {
	for want, codecs := range map[string][]codec.Codec{
		`another codec named "json"`: {named{name: "json"}},
		`another codec named "form"`: {formCodec{}, formCodec{}},
		`the name ""`:                {named{}},
		`the name "a b"`:             {named{name: "a b"}},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := &dictwire.Server{Codecs: codecs}
		if err := srv.Serve(dictwire.Endpoint{Listener: l}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Serve = %v, want %s", err, want)
		}
	}
}
