// Command fluent uses fluent-logger-golang as a program would: it sends records to the
// server at PORT until the file STOP exists, and prints which records it sends and which
// were acknowledged.
package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/fluent/fluent-logger-golang/fluent"
)

func main() {
	if err := run(os.Getenv("NAME"), os.Getenv("STOP")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(name, stop string) error {
	port, err := strconv.Atoi(os.Getenv("PORT"))
	if err != nil {
		return err
	}
	logger, err := fluent.New(fluent.Config{
		FluentPort: port, RequestAck: true, RetryWait: 20, MaxRetryWait: 200, MaxRetry: 1000,
	})
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		if _, err := os.Stat(stop); err == nil {
			return logger.Close()
		}
		fmt.Println("sent", n)
		if err := logger.Post(name, map[string]any{"client": name, "n": n}); err != nil {
			return err
		}
		fmt.Println("acked", n)
	}
}
