// Command dictwire sends, receives and converts dictionaries. See
// `dictwire --help`.
package main

import (
	"context"
	"os"

	"github.com/dictwire/dictwire/internal/cli"
)

func main() {
	os.Exit(cli.Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
