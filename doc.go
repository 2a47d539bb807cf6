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
//	err = c.Flush(ctx)                      // all are settled, or it says which are not
//	for batch, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{Topics: []string{"orders"}}) {
//		…
//	}
//
// The first bytes of a connection tell what it speaks: a native session, whose records
// are numbered and acknowledged and can be read back, a bare sequence of dictionaries
// in JSON, CBOR, MessagePack or pickle, or one of [Server.Dialects]. [The wire]
// specifies them. A record is settled when it is durable in its topic or, where it is
// refused or rejected, in the topic "_rejected".
//
//   - Every whole dictionary is stored, in the order of its connection, before it is
//     acknowledged, replied to or shown to a reader: [Server.Store] says what that
//     survives.
//   - A [Client] sends again what was not acknowledged: each record is stored exactly
//     once while the client lives, and with a [spool.Spool] beyond that. Bare
//     sequences are not acknowledged: what is on the way when a connection breaks is
//     lost, and the sender can't know.
//   - A bad dictionary, or a panic of the handler, costs one record wherever the next
//     one can be found.
//   - Memory and time are bounded, with finite defaults. A sender that is too fast is
//     slowed down by TCP; one that is too slow is cut off. A reader that is too slow
//     lags, and slows nobody.
//
// [The wire]: https://github.com/dictwire/dictwire/blob/main/docs/protocol.md
package dictwire
