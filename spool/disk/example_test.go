package disk_test

import (
	"context"
	"fmt"
	"hash/crc32"
	"log"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dictwire/dictwire/spool/disk"
)

func ExampleSpool() {
	ctx := context.Background()
	s, err := disk.Open(ctx, "till/spool", &disk.Options{Name: "till", FS: vfs.NewMem()})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	for id := range 3 {
		n, err := s.Append(ctx, "orders", "json", fmt.Appendf(nil, `{"id":%d}`, id))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("durable as record", n)
	}
	for b, err := range s.Read(ctx, "orders", 2) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("from %d: %s\n", b.First, b.Records)
		if last := b.First + uint64(len(b.Records)) - 1; last == 3 {
			sum := crc32.Checksum(b.Records[len(b.Records)-1], crc32.MakeTable(crc32.Castagnoli))
			if err := s.Settle(ctx, "orders", last, sum); err != nil {
				log.Fatal(err)
			}
			break
		}
	}
	fmt.Println("left:", s.Stats().Records)
	// Output:
	// durable as record 1
	// durable as record 2
	// durable as record 3
	// from 2: [{"id":1}]
	// from 3: [{"id":2}]
	// left: 0
}
