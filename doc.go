// Package dictwire sends dictionaries between programs, in the shape of net/http.
//
//	srv := &dictwire.Server{Handler: dictwire.HandlerFunc(
//		func(ctx context.Context, r *dictwire.Request) (*dict.Dict, error) {
//			fmt.Println(r.Dict())
//			return nil, nil
//		})}
//	go srv.ListenAndServe("127.0.0.1:65432")
//
//	c, err := dictwire.Dial(ctx, "127.0.0.1:65432")
//	reply, err := c.Send(ctx, "people", map[string]any{"name": "Alice", "age": 30})
//	err = c.SendAsync(ctx, "orders", order) // any number
//	err = c.Flush(ctx)                      // all are settled, or err says which are not
//	for batch, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{Topics: []string{"orders"}}) {
//		…
//	}
//
// A connection's first bytes select its protocol, as [The wire] specifies: a native session
// with acknowledgements and reading, a bare sequence of dictionaries in JSON, CBOR,
// MessagePack or pickle, or one of [Server.Dialects]. A record is settled when it is durable,
// in its topic or, if it was rejected, in the topic "_rejected".
//
//   - Each whole dictionary is stored before it is acknowledged, replied to or shown to a
//     reader, in the order of its connection. [Server.Store] says what that survives.
//   - A [Client] resends what was not acknowledged: each record is stored exactly once while
//     the client lives, with a [spool.Spool] also after that. Bare sequences lose what is in
//     flight when a connection breaks.
//   - A bad dictionary, or a panic of the handler, costs one record if the next can be found.
//   - Memory and time are bounded. Fast senders are slowed down by TCP, slow ones are cut off,
//     slow readers lag.
//
// [The wire]: https://github.com/dictwire/dictwire/blob/main/docs/protocol.md
package dictwire
