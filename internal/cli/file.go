package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire/store"
)

// The file of --config has the names of flags as its keys. Two keys have more below them:
// "topics", with settings for some topics, and "endpoints", with further addresses of a
// server. The flags are the only table of settings: their names, the variables, the file,
// its JSON Schema and `config show` are derived from it.

const (
	maxFile      = 64 << 10 // bytes: its parser takes quadratic time
	maxFileDepth = 16
	maxFaults    = 100 // that are reported

	keyTopics    = "topics"
	keyEndpoints = "endpoints"
)

// A file is a parsed configuration file.
type file struct {
	path      string
	command   *cobra.Command // the command with these settings; they were tried on it
	settings  []said
	endpoints []*door
	faults    []error
	more      int // number of faults that are not reported
}

// A said is a setting in a file.
type said struct {
	flag  string
	topic string // for settings under "topics"; otherwise ""
	texts []string
	at    string // file:line:column
}

// readFile reads a configuration file for a command that serves. Without a command, the
// file is taken for relay's if it has settings that only relay has, and for serve's
// otherwise. It reports all faults at once.
func readFile(path string, command *cobra.Command) (*file, error) {
	f := &file{path: path, command: command}
	root, err := f.parse()
	if err != nil {
		return nil, err
	}
	if command == nil {
		f.command = serveCommand()
		if relay := relayCommand(); root != nil {
			for _, v := range root.Values {
				if name := v.Key.GetToken().Value; f.command.Flags().Lookup(name) == nil && relay.Flags().Lookup(name) != nil {
					f.command = relay
				}
			}
		}
	}
	if root != nil {
		f.take(root)
	}
	if f.more > 0 {
		f.faults = append(f.faults, usageError{hintError{fmt.Errorf("%s: %d more faults", path, f.more), "mend these first"}})
	}
	return f, errors.Join(f.faults...)
}

// parse returns the root mapping of the file, or nil if the file is empty.
func (f *file) parse() (root *ast.MappingNode, err error) {
	in, err := os.Open(f.path)
	if err != nil {
		return nil, usageError{hintError{err, "--config names a file"}}
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, usageError{readError(f.path, err)}
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if at, what, remedy := hostile(text); what != "" {
		line := 1 + bytes.Count(text[:at], []byte("\n"))
		return nil, f.fault(&token.Position{Line: line, Column: at - bytes.LastIndexByte(text[:at], '\n')}, remedy, "%s", what)
	}
	defer func() {
		if p := recover(); p != nil {
			root, err = nil, usageError{hintError{fmt.Errorf("%s: not YAML that can be read", f.path), "docs/operations.md shows a file"}}
		}
	}()
	tokens := lexer.Tokenize(string(text))
	if err := f.checkTokens(tokens); err != nil {
		return nil, err
	}
	doc, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	var syntax yaml.Error
	switch {
	case errors.As(err, &syntax) && syntax.GetToken() != nil:
		return nil, f.fault(syntax.GetToken().Position, "docs/operations.md shows a file", "not YAML: %s", syntax.GetMessage())
	case err != nil:
		return nil, usageError{hintError{fmt.Errorf("%s: not YAML: %w", f.path, err), "docs/operations.md shows a file"}}
	case len(doc.Docs) == 0 || doc.Docs[0].Body == nil:
		return nil, nil
	case len(doc.Docs) > 1:
		return nil, f.fault(doc.Docs[1].Start.Position, "leave one", "the file has %d documents", len(doc.Docs))
	}
	body := doc.Docs[0].Body
	switch body := body.(type) {
	case *ast.MappingNode:
		return body, nil
	case *ast.NullNode, *ast.CommentGroupNode:
		return nil, nil
	}
	return nil, f.fault(body.GetToken().Position, "write KEY: VALUE on each line", "%s, want a mapping", described(body))
}

// hostile checks a text before it is parsed as YAML. It returns what is wrong with it,
// and where.
func hostile(text []byte) (at int, what, remedy string) {
	if len(text) > maxFile {
		return 0, fmt.Sprintf("more than %d bytes", maxFile), "name another file"
	}
	for _, mark := range []string{"\xff\xfe", "\xfe\xff"} {
		if bytes.HasPrefix(text, []byte(mark)) {
			return 0, "the text is UTF-16", "save it as UTF-8"
		}
	}
	indent := true
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return i, "a byte that is not UTF-8", "save the file as UTF-8"
		case r == '\t' && indent:
			return i, "a tab in the indentation", "use spaces"
		case r < ' ' && !strings.ContainsRune("\t\r\n", r), r == 0x7f, r >= 0x80 && r < 0xa0, r == 0xfeff:
			return i, fmt.Sprintf("the control character %U", r), "remove it"
		}
		indent = r == '\n' || indent && r == ' '
		i += n
	}
	return 0, "", ""
}

// checkTokens refuses deeper nesting than any setting has, before it is followed
// recursively, and YAML features that a configuration does not need.
func (f *file) checkTokens(tokens token.Tokens) error {
	depth, line, entries := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, entries = t.Position.Line, 0
		}
		switch t.Type { //nolint:exhaustive // the others are what a file has
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			return f.fault(t.Position, "write out what it stands for", "anchors and aliases are not taken")
		case token.TagType, token.DirectiveType:
			return f.fault(t.Position, "remove it", "tags and directives are not taken")
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType:
			entries++
		}
		if depth+entries > maxFileDepth || t.Position.IndentNum > 8*maxFileDepth {
			return f.fault(t.Position, "see docs/operations.md", "more than %d levels", maxFileDepth)
		}
	}
	return nil
}

// fault returns an error for a place in the file.
func (f *file) fault(at *token.Position, remedy, format string, args ...any) error {
	err := usageError{fmt.Errorf("%s: %s", f.place(at), fmt.Sprintf(format, args...))}
	if remedy == "" {
		return err
	}
	return hintError{err, remedy}
}

func (f *file) place(at *token.Position) string {
	return fmt.Sprintf("%s:%d:%d", f.path, at.Line, at.Column)
}

func (f *file) wrong(n ast.Node, remedy, format string, args ...any) {
	if len(f.faults) >= maxFaults {
		f.more++
		return
	}
	f.faults = append(f.faults, f.fault(n.GetToken().Position, remedy, format, args...))
}

// take takes the settings of the root.
func (f *file) take(root *ast.MappingNode) {
	flags := f.command.Flags()
	names := []string{keyTopics, keyEndpoints}
	flags.VisitAll(func(flag *pflag.Flag) {
		if inFile(flag) && !isPerTopic(flag) {
			names = append(names, flag.Name)
		}
	})
	f.each(root, names, func(name string, key, value ast.Node) {
		switch name {
		case keyTopics:
			f.topics(value)
		case keyEndpoints:
			f.doors(value)
		default:
			f.set(flags.Lookup(name), "", key, value)
		}
	})
	if len(f.endpoints) == 0 {
		return
	}
	for _, s := range f.settings {
		if s.topic == "" && isOfDoor(s.flag) {
			f.faults = append(f.faults, usageError{hintError{
				fmt.Errorf("%s: %s stands in each of the endpoints, where there are any", s.at, s.flag), "move it there",
			}})
		}
	}
}

// each calls do for each key of a mapping. Keys that are not among names are faults.
func (f *file) each(m *ast.MappingNode, names []string, do func(name string, key, value ast.Node)) {
	seen := map[string]bool{}
	for _, v := range m.Values {
		key, ok := v.Key.(*ast.StringNode)
		switch {
		case !ok:
			f.wrong(v.Key, "a key is a name, as max-memory", "%s as a key", described(v.Key))
		case seen[key.Value]:
			f.wrong(key, "leave one", "%.70s stands there twice", key.Value)
		case names != nil && !slices.Contains(names, key.Value):
			f.wrong(key, f.remedy(key.Value, names), "no setting %.70q", key.Value)
		default:
			do(key.Value, key, v.Value)
		}
		if ok {
			seen[key.Value] = true
		}
	}
}

// remedy returns a hint for an unknown key.
func (f *file) remedy(name string, names []string) string {
	if len(f.faults) >= maxFaults {
		return ""
	}
	if flag := f.command.Flags().Lookup(name); flag != nil && isPerTopic(flag) {
		return fmt.Sprintf("it stands under topics, as in topics: {\"*\": {%s: …}}", name)
	}
	if f.command.Flags().Lookup(name) == nil {
		for _, other := range []*cobra.Command{serveCommand(), relayCommand()} {
			if flag := other.Flags().Lookup(name); flag != nil && inFile(flag) {
				return "it is a setting of " + other.Name()
			}
		}
	}
	if like := nearest(name, names); like != "" {
		return "perhaps " + like
	}
	return "dictwire config show lists all"
}

// topics takes the settings for some topics.
func (f *file) topics(n ast.Node) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		f.wrong(n, "as in topics: {\"orders.*\": {keep-age: 30d}}", "topics: %s, want a mapping", described(n))
		return
	}
	names := []string{}
	flags := f.command.Flags()
	flags.VisitAll(func(flag *pflag.Flag) {
		if isPerTopic(flag) {
			names = append(names, flag.Name)
		}
	})
	f.each(m, nil, func(topic string, key, value ast.Node) {
		if err := store.CheckPattern(topic); err != nil {
			f.wrong(key, "as in orders.*", "%s", strings.TrimPrefix(err.Error(), "store: "))
			return
		}
		of, ok := value.(*ast.MappingNode)
		if !ok {
			f.wrong(value, "want "+strings.Join(names, ", "), "%s: %s, want a mapping", topic, described(value))
			return
		}
		f.each(of, names, func(name string, key, value ast.Node) {
			f.set(flags.Lookup(name), topic, key, value)
		})
	})
}

// doors takes the endpoints.
func (f *file) doors(n ast.Node) {
	all, ok := n.(*ast.SequenceNode)
	if !ok || len(all.Values) == 0 {
		f.wrong(n, "as in endpoints: [{listen: 127.0.0.1:65432}]", "endpoints: %s, want a list", described(n))
		return
	}
	for _, n := range all.Values {
		m, ok := n.(*ast.MappingNode)
		if !ok {
			f.wrong(n, "as in {listen: 127.0.0.1:65432}", "an endpoint: %s, want a mapping", described(n))
			continue
		}
		d, flags := newDoor()
		var names []string
		flags.VisitAll(func(flag *pflag.Flag) { names = append(names, flag.Name) })
		f.each(m, names, func(name string, _, value ast.Node) {
			if texts, ok := f.texts(flags.Lookup(name), value); ok {
				f.try(flags.Lookup(name), name, value, texts)
			}
		})
		if flags.Lookup("listen").Value.String() == "" {
			f.wrong(n, "as in listen: 127.0.0.1:65432", "an endpoint without listen")
		}
		if err := d.check(); err != nil {
			f.wrong(n, "leave them out, or name that, too", "%s", strings.ReplaceAll(err.Error(), "--", ""))
		}
		f.endpoints = append(f.endpoints, d)
	}
}

// newDoor returns an endpoint without an address, and the flags that describe it.
func newDoor() (*door, *pflag.FlagSet) {
	d, flags := new(door), pflag.NewFlagSet("", pflag.ContinueOnError)
	d.add(flags)
	d.listen = ""
	return d, flags
}

// isOfDoor reports whether a flag belongs to an endpoint.
func isOfDoor(name string) bool {
	_, flags := newDoor()
	return flags.Lookup(name) != nil
}

// inFile reports whether a flag may be set in the file.
func inFile(f *pflag.Flag) bool { return f.Name != "help" && f.Name != "config" }

// set takes the value of a flag.
func (f *file) set(flag *pflag.Flag, topic string, key, value ast.Node) {
	texts, ok := f.texts(flag, value)
	if !ok {
		return
	}
	trying := texts
	if topic != "" {
		trying = []string{topic + "=" + texts[0]}
	}
	if f.try(flag, flag.Name, value, trying) {
		f.settings = append(f.settings, said{flag.Name, topic, texts, f.place(key.GetToken().Position)})
	}
}

// try sets a flag, and notes a fault if the flag refuses the value.
func (f *file) try(flag *pflag.Flag, name string, n ast.Node, texts []string) bool {
	for _, text := range texts {
		if text == "" {
			f.wrong(n, "leave the key out for its default", "%s: an empty text", name)
			return false
		}
		if err := flag.Value.Set(text); err != nil {
			f.wrong(n, wanted(flag, err).Error(), "%s: %.70q", name, text)
			return false
		}
	}
	return true
}

// texts returns the values of a node as a command line would pass them to a flag.
func (f *file) texts(flag *pflag.Flag, n ast.Node) ([]string, bool) {
	kind := kindOf(flag)
	if list, ok := n.(*ast.SequenceNode); ok && kind.list {
		var texts []string
		for _, item := range list.Values {
			text, ok := item.(*ast.StringNode)
			if !ok {
				f.wrong(item, "put it in quotes", "%s: %s, want a text", flag.Name, described(item))
				return nil, false
			}
			texts = append(texts, text.Value)
		}
		if len(texts) == 0 {
			f.wrong(n, "leave the key out for its default", "%s: an empty list", flag.Name)
		}
		return texts, len(texts) > 0
	}
	switch n := n.(type) {
	case *ast.BoolNode:
		if kind.boolean {
			return []string{fmt.Sprint(n.Value)}, true
		}
	case *ast.IntegerNode:
		if kind.integer {
			return []string{fmt.Sprint(n.Value)}, true
		}
	case *ast.StringNode:
		if kind.text {
			return []string{n.Value}, true
		}
	}
	f.wrong(n, "want "+kind.example, "%s: %s, want %s", flag.Name, described(n), kind.name)
	return nil, false
}

// described describes a node for an error text.
func described(n ast.Node) string {
	switch n.(type) {
	case nil, *ast.NullNode, *ast.CommentGroupNode:
		return "no value"
	case *ast.BoolNode:
		return "true or false"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.StringNode:
		return "a text"
	case *ast.LiteralNode:
		return "a text of several lines"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	default:
		return "something else"
	}
}

// A kind is a kind of value in the file.
type kind struct {
	name, example                string
	boolean, integer, text, list bool
}

// kindOf returns the kind of a flag's value.
func kindOf(f *pflag.Flag) kind {
	switch f.Value.(type) {
	case *limit:
		return kind{name: "a whole number", example: "a number from 1 on, or -1 for no limit", integer: true}
	case *places:
		return kind{name: "a whole number", example: "a number, or 0 for none", integer: true}
	case *byteSize, *byteLimit, *perTopic[byteSize]:
		return kind{name: "a number of bytes", example: "1048576 or 32MiB", integer: true, text: true}
	case *timeLimit, *waitTime:
		return kind{name: "a duration", example: "500ms, 90s or 1h30m", text: true}
	case *networksFlag, *listFlag:
		return kind{name: "a list of texts", example: "[a, b]", text: true, list: true}
	}
	if f.Value.Type() == "bool" {
		return kind{name: "true or false", example: "true or false", boolean: true}
	}
	return kind{name: "a text", example: "a text, in quotes where it looks like something else", text: true}
}

// A perTopicFlag is a flag with a value for each topic.
type perTopicFlag interface {
	pflag.Value

	// Under sets the value of a topic, unless it has one.
	Under(topic, text string) error
}

func isPerTopic(f *pflag.Flag) bool { _, is := f.Value.(perTopicFlag); return is }

// apply sets the flags of a command that are set neither by its command line nor by the
// environment.
func (f *file) apply(cmd *cobra.Command) error {
	changed := map[string]bool{}
	cmd.Flags().VisitAll(func(flag *pflag.Flag) { changed[flag.Name] = flag.Changed })
	for _, s := range f.settings {
		flag := cmd.Flags().Lookup(s.flag)
		if by, ok := flag.Value.(perTopicFlag); ok {
			if err := by.Under(s.topic, s.texts[0]); err != nil {
				return usageError{fmt.Errorf("%s: %w", s.at, err)}
			}
		} else if changed[s.flag] {
			continue
		} else {
			for _, text := range s.texts {
				if err := flag.Value.Set(text); err != nil {
					return usageError{fmt.Errorf("%s: %w", s.at, err)}
				}
			}
		}
		setFrom(flag, s.at)
	}
	return nil
}

// A configFlag is the path of the file, and the command that it is for.
type configFlag struct {
	path string
	of   *serve
}

// Set implements [pflag.Value].
func (c *configFlag) Set(s string) error { c.path = s; return nil }

func (c *configFlag) String() string { return c.path }

// Type names the value in help texts.
func (*configFlag) Type() string { return "file" }

// fromFile sets flags from the configuration file of a command that serves, if there is
// one.
func fromFile(cmd *cobra.Command) error {
	c, ok := configOf(cmd)
	if !ok || c.path == "" {
		return nil
	}
	f, err := readFile(c.path, c.of.fresh())
	if err == nil {
		err = f.apply(cmd)
	}
	if err != nil {
		return err
	}
	return c.of.use(cmd, f)
}

// use adds the endpoints of a file to a server, unless the command line or the
// environment says where to listen.
func (s *serve) use(cmd *cobra.Command, f *file) error {
	if len(f.endpoints) == 0 {
		return nil
	}
	if cmd.Flags().Changed("listen") {
		return nil
	}
	var failed error
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if flag.Changed && isOfDoor(flag.Name) && failed == nil {
			failed = usageError{hintError{
				fmt.Errorf("--%s is for --listen, and the endpoints of %s have their own", flag.Name, f.path),
				"say it there, or give --listen, too, which takes their place",
			}}
		}
	})
	s.doors = f.endpoints
	return failed
}
