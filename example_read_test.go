package dictwire_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
)

// Process a record, commit it, continue.
func ExampleSubscription() {
	c, end := dialed(nil)
	defer end()
	send3(c)
	ctx := context.Background()
	sub := c.Subscription(dictwire.SubscribeRequest{Topics: []string{"orders"}, Cursor: "billing"})
	defer sub.Close()
	for r, err := range sub.Records(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		d, err := r.Dict()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.Topic, r.Number, d)
		if err := sub.Commit(ctx, r.Next()); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// orders 1 {'id': 1, 'what': 'tea'}
	// orders 2 {'id': 2, 'what': 'milk'}
	// orders 3 {'id': 3, 'what': 'bread'}
}

// A loop can be left, and the next one continues after the last record.
func ExampleSubscription_Records() {
	c, end := dialed(nil)
	defer end()
	send3(c)
	ctx := context.Background()
	sub := c.Subscription(dictwire.SubscribeRequest{Topics: []string{"orders"}})
	defer sub.Close()
	for r, err := range sub.Records(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("the first:", r.Number)
		break
	}
	for r, err := range sub.Records(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("then:", r.Number)
	}
	// Output:
	// the first: 1
	// then: 2
	// then: 3
}

// A cursor outlives its reader: the next reader continues from it.
func ExampleSubscription_Commit() {
	c, end := dialed(nil)
	defer end()
	send3(c)
	ctx := context.Background()
	for range 3 {
		sub := c.Subscription(dictwire.SubscribeRequest{Topics: []string{"orders"}, Cursor: "billing"})
		for r, err := range sub.Records(ctx) {
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(r.Number)
			if err := sub.Commit(ctx, r.Next()); err != nil {
				log.Fatal(err)
			}
			break
		}
		_ = sub.Close()
	}
	// Output:
	// 1
	// 2
	// 3
}

// A record that a reader can't use goes to "_rejected", and does not stop the reader.
func ExampleSubscription_Reject() {
	c, end := dialed(nil)
	defer end()
	send3(c)
	ctx := context.Background()
	sub := c.Subscription(dictwire.SubscribeRequest{Topics: []string{"orders"}})
	defer sub.Close()
	for r, err := range sub.Records(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		if r.Number == 2 {
			if err := sub.Reject(ctx, r, "sold out"); err != nil {
				log.Fatal(err)
			}
		}
	}
	for batch, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{Topics: []string{"_rejected"}}) {
		if err != nil {
			log.Fatal(err)
		}
		for d, err := range batch.All() {
			if err != nil {
				log.Fatal(err)
			}
			reason, _ := d.Get("error")
			topic, _ := d.Get("topic")
			fmt.Println(topic, reason)
		}
	}
	// Output: 'orders' 'sold out'
}

// A subscription can follow a topic until its context ends.
func ExampleSubscription_Batches() {
	c, end := dialed(nil)
	defer end()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sub := c.Subscription(dictwire.SubscribeRequest{Topics: []string{"orders"}, From: "latest", Follow: true})
	defer sub.Close()
	n := 0
	for batch, err := range sub.Batches(ctx) {
		if batch == nil {
			fmt.Println(n, errors.Is(err, context.Canceled))
			break
		}
		if len(batch.Records) == 0 && n == 0 { // the beginning of the read
			send3(c)
		}
		if n += len(batch.Records); n == 3 {
			cancel()
		}
	}
	// Output: 3 true
}

// A Go function can filter what a reader gets.
func ExampleSubscribeRequest_filter() {
	c, end := dialed(nil)
	defer end()
	send3(c)
	req := dictwire.SubscribeRequest{Topics: []string{"orders"}, Filter: func(r *dictwire.Received) bool {
		d, err := r.Dict()
		if err != nil {
			return true // let the loop see the error
		}
		what, _ := d.Get("what")
		text, _ := what.Text()
		return text != "milk"
	}}
	for batch, err := range c.Subscribe(context.Background(), req) {
		if err != nil {
			log.Fatal(err)
		}
		for d, err := range batch.All() {
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(d)
		}
	}
	// Output:
	// {'id': 1, 'what': 'tea'}
	// {'id': 3, 'what': 'bread'}
}

// Records are converted if another format is requested.
func ExampleSubscribeRequest_format() {
	c, end := dialed(nil)
	defer end()
	send3(c)
	for batch, err := range c.Subscribe(context.Background(), dictwire.SubscribeRequest{Topics: []string{"orders"}, Codec: json.Codec{}}) {
		if err != nil {
			log.Fatal(err)
		}
		for _, record := range batch.Records {
			fmt.Printf("%s\n", record)
		}
	}
	// Output:
	// {"id":1,"what":"tea"}
	// {"id":2,"what":"milk"}
	// {"id":3,"what":"bread"}
}

// Reuse avoids garbage if a loop needs a batch only for one step.
func ExampleSubscribeRequest_reuse() {
	c, end := dialed(nil)
	defer end()
	send3(c)
	bytes := 0
	for batch, err := range c.Subscribe(context.Background(), dictwire.SubscribeRequest{Topics: []string{"orders"}, Reuse: true}) {
		if err != nil {
			log.Fatal(err)
		}
		for _, record := range batch.Records {
			bytes += len(record)
		}
	}
	fmt.Println(bytes)
	// Output: 45
}

// A pattern reads all topics below a prefix.
func ExampleClient_Subscribe() {
	c, end := dialed(nil)
	defer end()
	ctx := context.Background()
	for _, topic := range []string{"orders.eu", "orders.us", "prices"} {
		if _, err := c.Send(ctx, topic, dict.Of("n", 1)); err != nil {
			log.Fatal(err)
		}
	}
	for batch, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{Topics: []string{"orders.*"}}) {
		if err != nil {
			log.Fatal(err)
		}
		if len(batch.Records) > 0 {
			fmt.Println(batch.Topic)
		}
	}
	// Output:
	// orders.eu
	// orders.us
}

// If the position is stored together with the work, each record is processed exactly once.
func ExampleReceived_Position() {
	c, end := dialed(nil)
	defer end()
	send3(c)
	ctx := context.Background()
	done := map[string]bool{} // in the database, in the same transaction as the work
	for range 2 {
		for batch, err := range c.Subscribe(ctx, dictwire.SubscribeRequest{Topics: []string{"orders"}}) {
			if err != nil {
				log.Fatal(err)
			}
			for i := range batch.Records {
				if p := batch.Record(i).Position(); !done[p] {
					done[p] = true
				}
			}
		}
	}
	fmt.Println(len(done))
	// Output: 3
}

// A received record can be sent on unchanged.
func ExampleReceived() {
	c, end := dialed(nil)
	defer end()
	send3(c)
	ctx := context.Background()
	sub := c.Subscription(dictwire.SubscribeRequest{Topics: []string{"orders"}})
	defer sub.Close()
	for r, err := range sub.Records(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		if err := c.SendAsync(ctx, "copies", r.Record); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(c.Flush(ctx), c.Stats().Topics["copies"].Settled)
	// Output: <nil> 3
}
