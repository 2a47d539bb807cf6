package cli

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/internal/csvrow"
)

func convertCommand() *cobra.Command {
	var (
		f     formatFlags
		in    inputFlags
		to    choice
		table csvWriter
	)
	cmd := &cobra.Command{
		Use:   "convert --from FORMAT --to FORMAT [FILE]",
		Short: "Write the same dictionaries in another format",
		Long: "convert reads a sequence of dictionaries from FILE, or standard input, and writes each in\n" +
			"another format. A bad record is reported and, where the next one can be found, left\n" +
			"out; the exit code is then 1. What is compressed by gzip or zstd is decompressed.\n\n" +
			"The first row of CSV names the keys, and the first comma, semicolon, tab or vertical bar\n" +
			"in it separates fields; values are text, or what --infer makes of them.\n" +
			"Written as CSV, the keys of the first dictionary are the columns, unless --columns names\n" +
			"them; what a dictionary lacks and null are empty, and what is no string is JSON.",
		Example: "  dictwire convert --from json --to python people.json\n" +
			"  dictwire convert --from pickle --to cbor people.pickle >people.cbor\n" +
			"  dictwire convert --from csv --infer --to json people.csv.gz\n" +
			"  dictwire convert --to csv --columns name,age people.ndjson\n" +
			"  dictwire convert --raw-lines --to json app.log\n" +
			"  curl -s https://example.com/people | dictwire convert --from json --to json",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.strict = true
			if err := in.check(); err != nil {
				return err
			}
			format := f.appenders()[to.value]
			if to.value == "csv" {
				table.JSON = f.json().Append
				format = table.append
			} else if table.Columns != nil || table.Spreadsheet {
				return usagef("--columns and --spreadsheet are for --to csv")
			}
			file, name, err := input(cmd, args)
			if err != nil {
				return err
			}
			defer file.Close()
			return convert(cmd, f.readFile(name, file, &in), format)
		},
	}
	flags := cmd.Flags()
	f.addInput(flags, &in)
	to = choice{"python", in.from.of}
	flags.Var(&to, "to", "`format` that is written: "+strings.Join(to.of, ", "))
	flags.StringSliceVar(&table.Columns, "columns", nil, "`keys` that are the columns of CSV, separated by commas")
	flags.BoolVar(&table.Spreadsheet, "spreadsheet", false, "put a ' in front of texts in CSV that a spreadsheet would run as formulas")
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

func convert(cmd *cobra.Command, next source, format appender) error {
	out := bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)
	var line []byte
	var failed error
	for {
		d, err := next(cmd.Context())
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
		case errors.As(err, &bad), errors.As(err, &loss), errors.As(err, new(*csvrow.ColumnError)):
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
