package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// tokenVariable has the token itself. Command lines are seen by everybody, so that no
// flag has it.
const tokenVariable = "DICTWIRE_TOKEN" //nolint:gosec // the name, not the token

// tokenFlags say to a server who speaks.
type tokenFlags struct {
	tokenFile string
	token     string // as readToken found it
}

func (t *tokenFlags) addToken(flags *pflag.FlagSet) {
	flags.StringVar(&t.tokenFile, "token-file", "", "`file` with the token that says to the server who you are; "+tokenVariable+" has the token itself")
}

// readToken finds the token: in the file of the flag, else in the variable, else in the
// file of the flag's variable.
func (t *tokenFlags) readToken(cmd *cobra.Command) error {
	t.token = os.Getenv(tokenVariable)
	from := tokenVariable
	if t.tokenFile != "" && (t.token == "" || given(cmd, "token-file")) {
		from = t.tokenFile
		var err error
		if t.token, err = readFirst(t.tokenFile, maxToken+2); err != nil {
			return fmt.Errorf("--token-file: %w", err)
		}
		if t.token = strings.TrimRight(t.token, "\r\n"); t.token == "" {
			return fmt.Errorf("--token-file: %s holds no token", from)
		}
	}
	if len(t.token) > maxToken || strings.ContainsFunc(t.token, func(r rune) bool { return r < ' ' || r == 0x7F }) {
		return fmt.Errorf("%s: want one line of at most %d bytes that is a token", from, maxToken)
	}
	return nil
}

// maxToken is how long a token may be, in bytes: it has to fit into a greeting.
const maxToken = 4 << 10

// readFirst returns at most n bytes of a file.
func readFirst(path string, n int64) (string, error) {
	f, err := os.Open(path) //nolint:gosec // it is the user's to say which
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, n))
	return string(b), errors.Join(err, f.Close())
}
