package cli

import (
	"bufio"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/codec"
)

func convertCommand() *cobra.Command {
	var (
		f        formatFlags
		from, to string
	)
	cmd := &cobra.Command{
		Use:   "convert --from FORMAT --to FORMAT [FILE]",
		Short: "Write the same dictionaries in another format",
		Long: "convert reads a sequence of dictionaries from FILE, or standard input, and writes each in\n" +
			"another format. A bad record is reported and, where the next one can be found, left\n" +
			"out; the exit code is then 1.",
		Example: "  dictwire convert --from json --to python people.json\n" +
			"  dictwire convert --from pickle --to cbor people.pickle >people.cbor\n" +
			"  curl -s https://example.com/people | dictwire convert --from json --to json",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.strict = true
			c, ok := f.codecs()[from]
			if !ok {
				return usagef("--from wants one of %s, got %q", names(f.codecs()), from)
			}
			format, ok := f.appenders()[to]
			if !ok {
				return usagef("--to wants one of %s, got %q", names(f.appenders()), to)
			}
			in, name, err := input(cmd, args)
			if err != nil {
				return err
			}
			defer in.Close()
			return convert(cmd, newSequence(name, in, c, f.limits()), format)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&from, "from", "json", "`format` that is read: "+names(f.codecs()))
	flags.StringVar(&to, "to", "python", "`format` that is written: "+names(f.appenders()))
	f.addReading(flags)
	f.addLossy(flags)
	f.addPython(flags)
	return cmd
}

// input opens the file that args name, or standard input for none and for "-".
func input(cmd *cobra.Command, args []string) (in io.ReadCloser, name string, err error) {
	if len(args) == 0 || args[0] == "-" {
		return io.NopCloser(cmd.InOrStdin()), "stdin", nil
	}
	f, err := os.Open(args[0])
	return f, args[0], err
}

func convert(cmd *cobra.Command, in *sequence, format appender) error {
	out := bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)
	var line []byte
	var failed error
	for {
		d, err := in.dict(cmd.Context())
		if err == nil {
			if line, err = format(line[:0], d); err == nil {
				_, err = out.Write(line)
			}
		}
		if err == io.EOF {
			break
		}
		var bad *recordError
		var loss *codec.LossError
		switch {
		case err == nil:
		case errors.As(err, &bad), errors.As(err, &loss):
			if err := out.Flush(); err != nil {
				return err
			}
			tell(cmd.ErrOrStderr(), err)
			failed = exitError(exitFailure)
		default:
			return errors.Join(err, out.Flush())
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return failed
}
