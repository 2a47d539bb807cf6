package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire/internal/terminal"
	"github.com/dictwire/dictwire/schema"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show settings, and check a configuration file",
		Long: "What a flag says, an environment variable may say, and of serve and relay a YAML file that\n" +
			"--config or DICTWIRE_CONFIG names. Flags stand above variables, those above the file, and\n" +
			"that above the defaults.\n\n" +
			"The variable is named after the flag, DICTWIRE_MAX_MEMORY for --max-memory. Where a flag\n" +
			"means something else in another command, the command stands in it: DICTWIRE_TAIL_FROM.\n" +
			"The file's keys are the flags' names; what holds for some topics stands below topics, and\n" +
			"what else than listen a server is reached at, below endpoints.",
		Example: "  dictwire config check dictwire.yaml\n  dictwire config show serve --config dictwire.yaml",
	}
	cmd.AddCommand(configShowCommand(), configCheckCommand(), configSchemaCommand())
	return cmd
}

func configShowCommand() *cobra.Command {
	var file configFlag
	cmd := &cobra.Command{
		Use:   "show [COMMAND]",
		Short: "Print each setting, its value and where it comes from",
		Long: "show prints each setting of a command, or of all, with its value and where that comes\n" +
			"from: the environment, the file or the default, with the variable that would change it.\n" +
			"Without COMMAND, variables that begin with DICTWIRE and set nothing are named, too.",
		Example: "  dictwire config show\n  DICTWIRE_MAX_MEMORY=1GiB dictwire config show serve",
		Args:    cobra.ArbitraryArgs,
		RunE:    func(cmd *cobra.Command, args []string) error { return showSettings(cmd, args, file.path) },
	}
	cmd.Flags().Var(&file, "config", configUsage)
	return cmd
}

const configUsage = "`file` that says what flags say (see config)"

// showSettings prints the settings of the command that args name, or of all.
func showSettings(cmd *cobra.Command, args []string, path string) error {
	found := false
	known := map[string]bool{"DICTWIRE_RECORDS": true, "DICTWIRE_FIRST": true, tokenVariable: true} // of tail --exec; see identityFlags
	out := bufio.NewWriter(cmd.OutOrStdout())
	root := Root()
	for _, c := range append([]*cobra.Command{root}, below(root)...) {
		name := strings.TrimPrefix(c.CommandPath(), root.Name()+" ")
		if len(args) > 0 && name != strings.Join(args, " ") || !hasSettings(c) {
			continue
		}
		found = true
		serving, isServing := configOf(c)
		if isServing && given(cmd, "config") {
			if err := c.Flags().Set("config", path); err != nil {
				return err
			}
		}
		err := settle(c)
		if isServing && len(args) == 0 && err != nil { // the file belongs to one of the commands
			err = fromEnvironment(c)
		}
		if err != nil {
			return err
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "help" {
				return
			}
			from := variable(c, f)
			known[from] = true
			if by := f.Annotations[fromAnnotation]; len(by) > 0 {
				from = strings.Join(by, ", ")
			} else if f.Changed { // the command line has --config
				from = "--" + f.Name
			} else {
				from = "default; " + from
			}
			fmt.Fprintf(out, "%s --%s=%s  (%s)\n", name, f.Name, terminal.Visible(f.Value.String()), terminal.Visible(from))
		})
		if isServing {
			serving.of.showDoors(out, name, serving.path)
		}
	}
	if !found {
		return usagef("no command %q with settings", strings.Join(args, " "))
	}
	if err := out.Flush(); err != nil || len(args) > 0 {
		return err
	}
	for _, set := range os.Environ() {
		if name, _, _ := strings.Cut(set, "="); strings.HasPrefix(name, "DICTWIRE_") && !known[name] {
			say(cmd.ErrOrStderr(), "%s sets nothing", name)
		}
	}
	return nil
}

// configOf returns the --config flag of a command that serves.
func configOf(cmd *cobra.Command) (*configFlag, bool) {
	f := cmd.Flags().Lookup("config")
	if f == nil {
		return nil, false
	}
	c, ok := f.Value.(*configFlag)
	return c, ok && c.of != nil
}

// showDoors prints the endpoints of a file.
func (s *serve) showDoors(out *bufio.Writer, name, path string) {
	for i, d := range s.doors {
		if d == &s.door {
			continue
		}
		shown, flags := newDoor()
		*shown = *d
		flags.VisitAll(func(f *pflag.Flag) {
			if text := f.Value.String(); text != "" && text != "false" {
				fmt.Fprintf(out, "%s endpoints[%d] %s=%s  (%s)\n", name, i, f.Name, terminal.Visible(text), terminal.Visible(path))
			}
		})
	}
}

func configCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say all that is wrong with a configuration file",
		Long: "check reads a configuration file, and the files that it names, as serve or relay would,\n" +
			"and says all that is wrong with them. It listens nowhere, and opens no store. Without\n" +
			"FILE, it is that of DICTWIRE_CONFIG.",
		Example: "  dictwire config check dictwire.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := os.Getenv("DICTWIRE_CONFIG")
			if len(args) > 0 {
				path = args[0]
			}
			if path == "" {
				return usagef("FILE names a configuration file")
			}
			f, err := readFile(path, nil)
			if err != nil {
				return err
			}
			c, _ := configOf(f.command)
			if err := c.of.use(f.command, f); err != nil {
				return err
			}
			if err := c.of.checkFiles(); err != nil {
				return inFileOf(path, err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s can use it\n", terminal.Visible(path), f.command.Name())
			return nil
		},
	}
}

// inFileOf returns errors with the name of their file, for errors without a place in it.
func inFileOf(path string, err error) error {
	all, ok := joined(err)
	if !ok {
		all = []error{err}
	}
	for i, err := range all {
		named := fmt.Errorf("%s: %w", path, err)
		all[i] = named
		if hint := hintOf(err); hint != "" {
			all[i] = hintError{named, hint}
		}
	}
	return errors.Join(all...)
}

// checkFiles returns what is wrong with the settings and the files that they name.
func (s *serve) checkFiles() error {
	var faults []error
	if err := s.check(); err != nil {
		faults = append(faults, err)
	}
	for _, d := range s.doors {
		_, end, err := d.behind(nil, slog.New(slog.DiscardHandler), func(string, ...any) {})
		if err != nil {
			faults = append(faults, err)
			continue
		}
		end()
	}
	if err := new(schema.Set).Load(s.schemas.values); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

func configSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of a configuration file",
		Long: "schema prints the JSON Schema (draft 2020-12) of a configuration file, by which editors\n" +
			"complete and check it.",
		Example: "  dictwire config schema >dictwire.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(fileSchema())
			return err
		},
	}
}

// fileSchema returns the JSON Schema of a configuration file.
func fileSchema() []byte {
	properties, topics := map[string]any{}, map[string]any{}
	for _, c := range []*cobra.Command{serveCommand(), relayCommand()} {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			switch {
			case !inFile(f):
			case isPerTopic(f):
				topics[f.Name] = flagSchema(f)
			default:
				properties[f.Name] = flagSchema(f)
			}
		})
	}
	_, flags := newDoor()
	of := map[string]any{}
	flags.VisitAll(func(f *pflag.Flag) { of[f.Name] = flagSchema(f) })
	properties[keyTopics] = map[string]any{
		"description":          "What holds for some topics: one, all below one as orders.*, or all but the server's own as *",
		"type":                 "object",
		"additionalProperties": closed(topics),
	}
	endpoint := closed(of)
	endpoint["required"] = []string{"listen"}
	properties[keyEndpoints] = map[string]any{
		"description": "Where the server is reached, in place of listen and what goes with it",
		"type":        "array", "minItems": 1, "items": endpoint,
	}
	root := closed(properties)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Configuration of dictwire serve and dictwire relay"
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic(err) // it holds only texts and numbers
	}
	return append(text, '\n')
}

// closed returns the schema of an object that has no other properties.
func closed(properties map[string]any) map[string]any {
	return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
}

// flagSchema returns the schema of a flag's value in the file.
func flagSchema(f *pflag.Flag) map[string]any {
	_, usage := pflag.UnquoteUsage(f)
	of := map[string]any{"description": usage}
	k := kindOf(f)
	text := map[string]any{"type": "string", "minLength": 1}
	switch v := f.Value.(type) {
	case *choice:
		text = map[string]any{"enum": slices.Sorted(slices.Values(v.of))}
	case *byteSize, *byteLimit, *perTopic[byteSize]:
		text["pattern"] = `^-?[0-9.]+([eE][0-9]+)?([KMG]i?B|B)?$`
	case *timeLimit, *waitTime:
		text["pattern"] = `^-?([0-9.]+(ns|us|µs|ms|s|m|h))+$`
	}
	number := map[string]any{"type": "integer", "minimum": -1, "not": map[string]any{"const": 0}}
	if _, ok := f.Value.(*places); ok {
		number = map[string]any{"type": "integer", "minimum": 0}
	}
	switch {
	case k.boolean:
		of["type"] = "boolean"
	case k.list:
		of["anyOf"] = []any{text, map[string]any{"type": "array", "minItems": 1, "items": text}}
	case k.integer && k.text:
		of["anyOf"] = []any{number, text}
	case k.integer:
		merge(of, number)
	default:
		merge(of, text)
	}
	if f.DefValue != "" {
		of["default"] = f.DefValue
		if n, err := strconv.Atoi(f.DefValue); err == nil && k.integer {
			of["default"] = n
		} else if k.boolean {
			of["default"] = f.DefValue == "true"
		}
	}
	return of
}

func merge(into, from map[string]any) {
	for k, v := range from {
		into[k] = v
	}
}
