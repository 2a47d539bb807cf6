// Package dictwire sends dictionaries from one program to another, in the
// shape of net/http.
//
// A server that prints what it receives, and a client:
//
//	l, err := dictwire.Listen(ctx, "127.0.0.1:65432")
//	srv := &dictwire.Server{
//		Handler: dictwire.HandlerFunc(func(ctx context.Context, r *dictwire.Request) (*dict.Dict, error) {
//			fmt.Println(r.Dict())
//			return nil, nil
//		}),
//	}
//	go srv.Serve(dictwire.Endpoint{Listener: l})
//
//	_, err = dictwire.Send(ctx, "127.0.0.1:65432", map[string]any{"name": "Alice", "age": 30})
//
// One that sends and reads more:
//
//	c, err := dictwire.Dial(ctx, "127.0.0.1:65432")
//	err = c.SendAsync(ctx, "orders", order) // any number
//	err = c.Flush(ctx)                      // all are settled, or it says which are not
//	for batch, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{Topics: []string{"orders"}}) {
//		…
//	}
//
// # What a server understands
//
// The first bytes of a connection tell what it speaks. Served so far are native
// sessions, whose records are numbered and acknowledged and can be read back, and
// bare sequences of dictionaries in JSON, CBOR, MessagePack or pickle, as every
// socket program writes them: see [codec/json] and its siblings for what is
// accepted and where the next dictionary begins. [The wire] specifies both, with
// replies and errors, in its sections 2 and 3. Everything else is refused
// by name.
//
// # What it guarantees
//
//   - Every whole dictionary that has come is stored, in the order of its
//     connection, before it is acknowledged, replied to or shown to a reader:
//     [Server.Store] says what that survives.
//   - In a native session with a producer it is stored exactly once, as far as the
//     producer keeps its numbers; without one, at least once. Bare sequences are
//     not acknowledged: what is on the way when a connection breaks is lost, and
//     the sender can't know.
//   - A [Client] numbers its records, and sends again what was not acknowledged
//     when a connection breaks: exactly once while it lives, and with a
//     [spool.Spool] beyond that. It bounds what is in flight, and says what can't be settled.
//   - A bad dictionary is refused with a clear error and kept in the topic
//     "_rejected". Wherever the next one can be found, it costs only itself.
//   - Memory and time are bounded by the fields of [Server], all of which have
//     finite defaults. A sender that is too fast is slowed down by TCP; one that is
//     too slow is cut off. A reader that is too slow lags, and slows nobody.
//   - A panic of the handler costs one record.
//   - [Server.Shutdown] finishes what has come.
//
// [codec/json]: https://pkg.go.dev/github.com/dictwire/dictwire/codec/json
// [The wire]: https://github.com/dictwire/dictwire/blob/main/docs/protocol.md
package dictwire
