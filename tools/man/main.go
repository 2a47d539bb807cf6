// Command man writes the manual pages of dictwire into a directory.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra/doc"

	"github.com/dictwire/dictwire/internal/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: man DIR")
		os.Exit(2)
	}
	root := cli.Root()
	root.DisableAutoGenTag = true                                   // the pages change only when the commands do
	date := time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC) // of the manual, not of the build
	header := &doc.GenManHeader{Section: "1", Source: "dictwire", Manual: "dictwire", Date: &date}
	if err := doc.GenManTree(root, header, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}
