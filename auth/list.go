package auth

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/codec"
	"github.com/dictwire/dictwire/codec/json"
	"github.com/dictwire/dictwire/dict"
	"github.com/dictwire/dictwire/store"
)

// A List is the content of a file.
type List struct {
	Entries []Entry
}

// An Entry is a credential and its rights: see the package comment.
type Entry struct {
	Name      string // unique; letters, digits, and . _ - between them
	Principal string // "" means Name

	// The credential: exactly one of these.
	Token       Hash
	Certificate string
	Unix        string
	Network     netip.Prefix

	// The token's predecessor, which is valid until then.
	OldToken   Hash
	OldExpires time.Time

	// The topics, or patterns of topics, of each right.
	Send, Read, Admin []string

	Created time.Time // zero: unknown
	Expires time.Time // the zero value: never
}

// Who returns the entry's principal.
func (e *Entry) Who() string {
	if e.Principal == "" {
		return e.Name
	}
	return e.Principal
}

// Find returns the entry with a name, or nil.
func (l *List) Find(name string) *Entry {
	for i := range l.Entries {
		if l.Entries[i].Name == name {
			return &l.Entries[i]
		}
	}
	return nil
}

// These limit a file.
const (
	maxEntries = 100_000
	maxFile    = 64 << 20 // bytes
)

// limits are for the JSON of a file.
var limits = codec.Limits{RecordBytes: maxFile, Depth: 4, Items: 100 * maxEntries}

// Parse parses the content of a file. The error has all faults of its entries.
func Parse(b []byte) (*List, error) {
	start, end, err := json.Codec{}.NewScanner(limits).Next(b)
	if errors.Is(err, codec.ErrIncomplete) {
		return nil, fmt.Errorf("%d bytes that are no whole dictionary", len(b))
	}
	if err == nil && len(bytes.TrimSpace(b[end:])) > 0 {
		err = fmt.Errorf("something follows the dictionary (at byte %d)", end)
	}
	if err != nil {
		return nil, err
	}
	d, err := json.Codec{}.Decode(b[start:end], limits)
	if err != nil {
		return nil, err
	}
	list, version := new(List), int64(0)
	var faults []error
	for key, v := range d.All() {
		switch name, _ := key.Text(); name {
		case "dictwire_tokens":
			version, _ = v.Int()
		case "entries":
			faults = list.parse(v)
		default:
			faults = append(faults, fmt.Errorf("unknown key %q", name))
		}
	}
	if version != 1 {
		faults = slices.Insert(faults, 0, errors.New(`want "dictwire_tokens": 1`))
	}
	return list, errors.Join(faults...)
}

func (l *List) parse(v dict.Value) (faults []error) {
	if v.Kind() != dict.KindList || v.Len() > maxEntries {
		return []error{fmt.Errorf(`"entries": want a list of at most %d dictionaries`, maxEntries)}
	}
	for v := range v.Items() {
		var e Entry
		d, ok := v.Dict()
		err := errors.New("want a dictionary")
		if ok {
			err = e.parse(d)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("entry %d (%q): %w", len(l.Entries)+1, e.Name, err))
		}
		l.Entries = append(l.Entries, e)
	}
	return append(faults, l.checkUnique()...)
}

// checkUnique returns an error for each duplicate name and credential.
func (l *List) checkUnique() (faults []error) {
	names, credentials := map[string]bool{}, map[string]string{}
	for i := range l.Entries {
		e := &l.Entries[i]
		if names[e.Name] {
			faults = append(faults, fmt.Errorf("the name %q comes twice", e.Name))
		}
		names[e.Name] = true
		for _, c := range e.credentials() {
			if other, twice := credentials[c]; twice {
				faults = append(faults, fmt.Errorf("entries %q and %q have the same credential", other, e.Name))
			}
			credentials[c] = e.Name
		}
	}
	return faults
}

// credentials returns keys that identify the entry's credentials.
func (e *Entry) credentials() (all []string) {
	for _, h := range []Hash{e.Token, e.OldToken} {
		if h != (Hash{}) {
			all = append(all, "sha256 "+h.String())
		}
	}
	if e.Certificate != "" {
		all = append(all, "certificate "+e.Certificate)
	}
	if e.Unix != "" {
		all = append(all, "unix "+e.Unix)
	}
	if e.Network.IsValid() {
		all = append(all, "network "+e.Network.String())
	}
	return all
}

// parse parses an entry.
func (e *Entry) parse(d *dict.Dict) error {
	var faults []error
	for key, v := range d.All() {
		name, _ := key.Text()
		if err := e.set(name, v); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(append(faults, e.Check())...)
}

// set sets one field of an entry.
func (e *Entry) set(key string, v dict.Value) (err error) {
	switch key {
	case "send":
		e.Send, err = texts(v)
		return err
	case "read":
		e.Read, err = texts(v)
		return err
	case "admin":
		e.Admin, err = texts(v)
		return err
	}
	text, ok := v.Text()
	if !ok {
		return errors.New("want a string")
	}
	switch key {
	case "name":
		e.Name = text
	case "principal":
		e.Principal = text
	case "sha256":
		e.Token, err = parseHash(text)
	case "old_sha256":
		e.OldToken, err = parseHash(text)
	case "certificate":
		e.Certificate = text
	case "unix":
		e.Unix = text
	case "network":
		e.Network, err = ParseNetwork(text)
	case "created":
		e.Created, err = parseTime(text)
	case "expires":
		e.Expires, err = parseTime(text)
	case "old_expires":
		e.OldExpires, err = parseTime(text)
	default:
		return errors.New("unknown key")
	}
	return err
}

func texts(v dict.Value) (all []string, _ error) {
	if v.Kind() != dict.KindList {
		return nil, errors.New("want a list of topics")
	}
	for item := range v.Items() {
		text, ok := item.Text()
		if !ok {
			return nil, errors.New("want a list of topics")
		}
		all = append(all, text)
	}
	return all, nil
}

func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, errors.New("want a time as 2027-02-28T00:00:00Z")
	}
	return t, nil
}

// ParseNetwork parses a network, such as 10.1.0.0/16 or 2001:db8::/32, or a single
// address.
func ParseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() || p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%.60q: want a network as 10.1.0.0/16 or 2001:db8::/32, whose address ends in zeros", text)
	}
	return p, nil
}

// maxName is the longest name of an entry, in bytes.
const maxName = 128

// Check returns an error with all faults of a single entry.
func (e *Entry) Check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if err := checkName(e.Name); err != nil {
		fault("%w", err)
	}
	if who := e.Who(); strings.HasPrefix(who, "_") || len(who) > store.MaxPrincipal {
		fault("principal: want at most %d bytes that don't begin with _", store.MaxPrincipal)
	}
	kinds := 0
	for _, has := range []bool{e.Token != (Hash{}), e.Certificate != "", e.Unix != "", e.Network.IsValid()} {
		if has {
			kinds++
		}
	}
	if kinds != 1 {
		fault("want one of sha256, certificate, unix and network, got %d", kinds)
	}
	if old := e.OldToken != (Hash{}); old != !e.OldExpires.IsZero() || old && e.Token == (Hash{}) {
		fault("old_sha256 and old_expires stand together, beside sha256")
	}
	if _, err := strconv.ParseUint(e.Unix, 10, 32); e.Unix != "" && e.Unix != "*" && err != nil {
		fault("unix: want a user's number, or *")
	}
	for right, patterns := range map[string][]string{"send": e.Send, "read": e.Read, "admin": e.Admin} {
		for _, p := range patterns {
			if err := store.CheckPattern(p); err != nil {
				fault("%s: %w", right, err)
			}
		}
	}
	return errors.Join(faults...)
}

func checkName(name string) error {
	inside := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	}
	for i, r := range name {
		if !inside(r) && (i == 0 || !strings.ContainsRune("._-", r)) {
			return fmt.Errorf("name %.60q: want letters and digits, and . _ - after the first", name)
		}
	}
	if name == "" || len(name) > maxName {
		return fmt.Errorf("name: want 1 to %d bytes", maxName)
	}
	return nil
}

// Append appends the content of a file, with one entry per line.
func (l *List) Append(dst []byte) []byte {
	dst = append(dst, "{\"dictwire_tokens\": 1, \"entries\": ["...)
	for i := range l.Entries {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, "\n\t"...)
		line, err := json.Codec{}.Append(dst, l.Entries[i].dict())
		if err != nil { // it holds only texts and lists of them
			panic(err)
		}
		dst = line
	}
	return append(dst, "\n]}\n"...)
}

// dict returns the entry as it is in the file.
func (e *Entry) dict() *dict.Dict {
	d := dict.Of("name", e.Name)
	text := func(key, value string) {
		if value != "" {
			d.Set(key, dict.String(value))
		}
	}
	text("principal", e.Principal)
	if e.Token != (Hash{}) {
		text("sha256", e.Token.String())
	}
	text("certificate", e.Certificate)
	text("unix", e.Unix)
	if e.Network.IsValid() {
		text("network", e.Network.String())
	}
	moment := func(key string, t time.Time) {
		if !t.IsZero() {
			text(key, t.UTC().Format(time.RFC3339))
		}
	}
	if e.OldToken != (Hash{}) {
		text("old_sha256", e.OldToken.String())
	}
	moment("old_expires", e.OldExpires)
	for _, r := range []struct {
		key    string
		topics []string
	}{{"send", e.Send}, {"read", e.Read}, {"admin", e.Admin}} {
		if len(r.topics) > 0 {
			items := make([]dict.Value, 0, len(r.topics))
			for _, t := range r.topics {
				items = append(items, dict.String(t))
			}
			d.Set(r.key, dict.List(items...))
		}
	}
	moment("created", e.Created)
	moment("expires", e.Expires)
	return d
}

// Allows reports whether the entry grants a right to a topic, or to all topics of a
// pattern.
func (e *Entry) Allows(right access.Right, topic string) bool {
	var patterns []string
	switch right {
	case access.Send:
		patterns = e.Send
	case access.Read:
		patterns = e.Read
	case access.Admin:
		patterns = e.Admin
	}
	return slices.ContainsFunc(patterns, func(p string) bool { return covers(p, topic) })
}

// covers reports whether a pattern matches a topic, or all topics of another pattern.
func covers(pattern, topic string) bool {
	prefix, below := strings.CutSuffix(pattern, "*")
	switch {
	case pattern == "*":
		return !strings.HasPrefix(topic, "_")
	case below:
		return strings.HasPrefix(topic, prefix)
	default:
		return topic == pattern
	}
}

func parseHash(text string) (h Hash, err error) {
	if n, err := hex.Decode(h[:], []byte(text[:min(len(text), 2*len(h))])); err != nil || len(text) != 2*len(h) || n != len(h) {
		return Hash{}, fmt.Errorf("want %d hexadecimal digits", 2*len(h))
	}
	return h, nil
}
