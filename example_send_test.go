package dictwire_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
)

// One dictionary, from a map.
func ExampleSend() {
	addr, end := serve(nil)
	defer end()
	_, err := dictwire.Send(context.Background(), addr, map[string]any{"name": "Alice", "age": 30})
	fmt.Println(err)
	// Output: <nil>
}

// Times and bytes keep their types.
func ExampleClient_Send_times() {
	c, end := dialed(nil)
	defer end()
	type photo struct {
		Taken time.Time `dict:"taken"`
		Bytes []byte    `dict:"bytes"`
	}
	ctx := context.Background()
	if _, err := c.Send(ctx, "photos", photo{time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), []byte{0xFF, 0xD8}}); err != nil {
		log.Fatal(err)
	}
	for batch, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{Topics: []string{"photos"}}) {
		if err != nil {
			log.Fatal(err)
		}
		for d, err := range batch.All() {
			var p photo
			if err == nil {
				err = d.To(&p)
			}
			fmt.Println(p.Taken.UTC(), len(p.Bytes), err)
		}
	}
	// Output: 2026-11-23 10:00:00 +0000 UTC 2 <nil>
}

// A serialized record is sent unchanged.
func ExampleRecord() {
	c, end := dialed(nil)
	defer end()
	ctx := context.Background()
	line := dictwire.Record{Codec: json.Codec{}, Bytes: []byte(`{"id": 1, "what": "tea"}`)}
	fmt.Println(c.SendAsync(ctx, "orders", line))
	line.Bytes = []byte(`{"id": 1} {"id": 2}`)
	err := c.SendAsync(ctx, "orders", line)
	fmt.Println(errors.Is(err, dictwire.ErrNotSent), c.Flush(ctx))
	// Output:
	// <nil>
	// true <nil>
}

// Many records: SendAsync waits only for room, and Flush for all of them.
func ExampleClient_Flush() {
	c, end := dialed(nil)
	defer end()
	ctx := context.Background()
	for i := range 1000 {
		if err := c.SendAsync(ctx, "orders", dict.Of("id", i)); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(c.Flush(ctx), c.Stats().Pending)
	// Output: <nil> 0
}

// Flush reports the records that the server has rejected.
func ExampleClient_Flush_rejected() {
	c, end := dialed(dictwire.HandlerFunc(func(_ context.Context, r *dictwire.Request) (*dict.Dict, error) {
		if r.Number == 2 {
			return nil, dictwire.Reject("sold_out", "no milk today")
		}
		return nil, nil
	}))
	defer end()
	ctx := context.Background()
	for _, what := range []string{"tea", "milk", "bread"} {
		if err := c.SendAsync(ctx, "orders", dict.Of("what", what)); err != nil {
			log.Fatal(err)
		}
	}
	var rejected *dictwire.RejectedError
	if err := c.Flush(ctx); errors.As(err, &rejected) {
		fmt.Println(rejected.Topic, rejected.Number, rejected.Reason, rejected.Text)
	}
	// Output: orders 2 sold_out no milk today
}

// A callback can report rejections as they arrive, instead of Flush.
func ExampleDialer_onRejected() {
	addr, end := serve(dictwire.HandlerFunc(func(context.Context, *dictwire.Request) (*dict.Dict, error) {
		return nil, dictwire.Reject("", "closed on Sundays")
	}))
	defer end()
	ctx := context.Background()
	c, err := dictwire.Dialer{OnRejected: func(r *dictwire.RejectedError) {
		fmt.Println(r.Number, r.Text)
	}}.Dial(ctx, addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.SendAsync(ctx, "orders", dict.Of("what", "tea")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Flush(ctx))
	// Output:
	// 1 closed on Sundays
	// <nil>
}

// At the end of a program, Shutdown waits until everything is settled.
func ExampleClient_Shutdown() {
	c, end := dialed(nil)
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.SendAsync(ctx, "orders", dict.Of("what", "tea")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Shutdown(ctx))
	fmt.Println(errors.Is(c.SendAsync(ctx, "orders", dict.Of("what", "milk")), dictwire.ErrClientClosed))
	// Output:
	// <nil>
	// true
}

// A context ends one call. The client still has the record.
func ExampleClient_Send_canceled() {
	ctx, cancel := context.WithCancel(context.Background())
	release := make(chan struct{})
	c, end := dialed(dictwire.HandlerFunc(func(context.Context, *dictwire.Request) (*dict.Dict, error) {
		cancel() // while Send waits
		<-release
		return nil, nil
	}))
	defer end()
	_, err := c.Send(ctx, "orders", dict.Of("what", "tea"))
	fmt.Println(errors.Is(err, context.Canceled), c.Stats().Pending == 1)
	close(release)
	fmt.Println(c.Flush(context.Background()), c.Stats().Pending)
	// Output:
	// true true
	// <nil> 0
}

// MaxAge limits how long records wait for an unavailable server.
func ExampleDialer_maxAge() {
	addr, end := serve(nil)
	defer end()
	var away atomic.Bool
	ctx := context.Background()
	c, err := dictwire.Dialer{
		MaxAge: 50 * time.Millisecond,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if away.Load() {
				return nil, errors.New("no network")
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}.Dial(ctx, addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	away.Store(true)
	_, err = c.Send(ctx, "position", dict.Of("lat", 48.1, "lon", 11.6))
	fmt.Println(errors.Is(err, dictwire.ErrExpired))
	// Output: true
}

// Dial fails at once if the address is not that of a dictwire server.
func ExampleDial() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write([]byte("SSH-2.0-OpenSSH_10.0\r\n"))
		_, _ = conn.Read(make([]byte, 1024))
	}()
	_, err = dictwire.Dial(context.Background(), l.Addr().String())
	fmt.Println(errors.Is(err, dictwire.ErrProtocol), strings.Contains(err.Error(), "it is an SSH server"))
	// Output: true true
}

// Ping checks that the server can be reached and accepts this client.
func ExampleClient_Ping() {
	c, end := dialed(nil)
	fmt.Println(c.Ping(context.Background()))
	end()
	fmt.Println(c.Ping(context.Background()) == nil)
	// Output:
	// <nil>
	// false
}

// OnState reports when a session begins, and when the server is lost.
func ExampleDialer_onState() {
	addr, end := serve(nil)
	defer end()
	states := make(chan dictwire.State, 16)
	ctx := context.Background()
	c, err := dictwire.Dialer{OnState: func(s dictwire.State) { states <- s }}.Dial(ctx, addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Send(ctx, "orders", dict.Of("what", "tea")); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%+v\n", <-states)
	// Output: {Topics:[orders] Reads:false Err:<nil>}
}

// Stats can feed any metrics library.
func ExampleClient_Stats() {
	c, end := dialed(nil)
	defer end()
	send3(c)
	st := c.Stats()
	fmt.Println(st.Sessions, st.Pending, st.Topics["orders"].Settled)
	// Output: 1 0 3
}
