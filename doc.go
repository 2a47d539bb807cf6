// Package dictwire sends dictionaries from one program to another, in the shape of
// net/http.
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
// The first bytes of a connection select its protocol: a native session with
// acknowledgements and reading, a bare sequence of dictionaries in JSON, CBOR, MessagePack
// or pickle, or one of [Server.Dialects]. [The wire] specifies them. A record is settled
// when it is durable in its topic or, if it was rejected, in the topic "_rejected".
//
//   - Every whole dictionary is stored, in the order of its connection, before it is
//     acknowledged, replied to or shown to a reader. [Server.Store] says what that survives.
//   - A [Client] resends what was not acknowledged. Each record is stored exactly once
//     while the client lives, and with a [spool.Spool] beyond that. Bare sequences are not
//     acknowledged: what is in flight when a connection breaks is lost.
//   - A bad dictionary or a panic of the handler costs one record, where the next one can
//     be found.
//   - Memory and time are bounded. TCP slows down fast senders; slow senders are cut off;
//     slow readers lag, and slow nobody.
//
// [The wire]: https://github.com/dictwire/dictwire/blob/main/docs/protocol.md
package dictwire
