package auth

import (
	"cmp"
	"context"
	"crypto/subtle"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/dictwire/dictwire/access"
	"github.com/dictwire/dictwire/fault"
)

// A File knows the peers that a file names: File.Authorize is an [access.Authorizer]. The
// file is read again when it changes; an invalid one is logged once, and the last valid
// one stays in force. When an entry is removed, expires or has other rights, its sessions
// end. All others go on.
//
// A peer is identified by its token, or else by its certificate, the user of a Unix
// socket, or its address, in this order. An unknown token or certificate is refused,
// whatever the address.
type File struct {
	*watcher

	path string
	now  atomic.Pointer[credentials]
}

// Open reads a file and watches it.
func Open(path string, o *Options) (*File, error) {
	f := &File{path: path}
	f.now.Store(new(credentials))
	w, err := watch(o, f.load, path)
	if err != nil {
		return nil, err
	}
	f.watcher = w
	return f, nil
}

// load reads the file. Calls must not overlap.
func (f *File) load() error {
	info, err := os.Stat(f.path)
	if err == nil && othersWrite(info) {
		err = fmt.Errorf("%s: everybody may write to it (mode %04o): want 0600", f.path, info.Mode().Perm())
	}
	if err != nil {
		return err
	}
	list, err := Read(f.path)
	if err != nil {
		return err
	}
	before := f.now.Load()
	f.now.Store(index(list, before))
	before.end(f.now.Load())
	return nil
}

// credentials are the credentials of a file, indexed.
type credentials struct {
	all      map[string]*grant // by Entry.credentials
	tokens   map[uint64]*grant // by the first bytes of the hash
	networks []*grant          // narrowest first
}

// A grant is what one credential grants.
type grant struct {
	entry   Entry
	hash    Hash // of a token
	expires time.Time
	ctx     context.Context //nolint:containedctx // the credential's life, which no call spans
	end     context.CancelFunc
}

// index returns the credentials of a list. Unchanged ones keep their grants.
func index(list *List, before *credentials) *credentials {
	c := &credentials{all: map[string]*grant{}, tokens: map[uint64]*grant{}}
	for i := range list.Entries {
		e := &list.Entries[i]
		for _, key := range e.credentials() {
			g := &grant{entry: *e, expires: e.Expires}
			// These do not affect what this credential grants.
			g.entry.Token, g.entry.OldToken, g.entry.OldExpires, g.entry.Created = Hash{}, Hash{}, time.Time{}, time.Time{}
			if h := e.OldToken; h != (Hash{}) && key == "sha256 "+h.String() {
				g.hash = h
				if g.expires.IsZero() || e.OldExpires.Before(g.expires) {
					g.expires = e.OldExpires
				}
			} else {
				g.hash = e.Token
			}
			c.add(key, g, before.all[key])
		}
	}
	slices.SortStableFunc(c.networks, func(a, b *grant) int { return cmp.Compare(b.entry.Network.Bits(), a.entry.Network.Bits()) })
	return c
}

// add adds a credential, with its grant from before if that is the same.
func (c *credentials) add(key string, g, before *grant) {
	if before != nil && before.expires.Equal(g.expires) && reflect.DeepEqual(before.entry, g.entry) {
		g = before
	} else if g.expires.IsZero() {
		g.ctx, g.end = context.WithCancel(context.Background())
	} else {
		g.ctx, g.end = context.WithDeadline(context.Background(), g.expires)
	}
	c.all[key] = g
	if g.hash != (Hash{}) {
		c.tokens[g.hash.prefix()] = g
	}
	if g.entry.Network.IsValid() {
		c.networks = append(c.networks, g)
	}
}

// end ends the grants that are not among others.
func (c *credentials) end(others *credentials) {
	for key, g := range c.all {
		if others.all[key] != g {
			g.end()
		}
	}
}

func (h Hash) prefix() uint64 { return binary.BigEndian.Uint64(h[:]) }

// Authorize is an [access.Authorizer].
func (f *File) Authorize(_ context.Context, c access.Credentials) (access.Grant, error) {
	g := f.now.Load().find(c)
	if g == nil && f.refreshNow() { // it may be new
		g = f.now.Load().find(c)
	}
	if g == nil || g.ctx.Err() != nil || !g.expires.IsZero() && !time.Now().Before(g.expires) {
		return access.Grant{}, fault.Unauthenticated
	}
	return access.Grant{Principal: g.entry.Who(), Allows: g.entry.Allows, Context: g.ctx}, nil
}

// find returns the grant for a peer's credentials, or nil.
func (c *credentials) find(of access.Credentials) *grant {
	switch cert := certificateOf(of); {
	case of.Token != "":
		h := HashOf(of.Token)
		// The time of the look-up reveals only the index's prefix of a wrong token; whole
		// hashes are compared in constant time.
		g := c.tokens[h.prefix()]
		if g == nil || subtle.ConstantTimeCompare(g.hash[:], h[:]) != 1 {
			return nil
		}
		return g
	case cert != nil:
		for _, name := range namesOf(cert) {
			if g := c.all["certificate "+name]; g != nil {
				return g
			}
		}
		return nil
	case of.UID != nil:
		return cmp.Or(c.all["unix "+strconv.FormatUint(uint64(*of.UID), 10)], c.all["unix *"])
	}
	addr := addrOf(of.RemoteAddr)
	for _, g := range c.networks {
		if g.entry.Network.Contains(addr) {
			return g
		}
	}
	return nil
}

// certificateOf returns the certificate of a peer, verified by the endpoint, or nil.
func certificateOf(c access.Credentials) *x509.Certificate {
	if c.TLS == nil || len(c.TLS.VerifiedChains) == 0 {
		return nil
	}
	return c.TLS.VerifiedChains[0][0]
}

// namesOf returns the subject alternative names of a certificate.
func namesOf(cert *x509.Certificate) []string {
	names := slices.Concat(cert.DNSNames, cert.EmailAddresses)
	for _, u := range cert.URIs {
		names = append(names, u.String())
	}
	return names
}

// addrOf returns an address without its port, or the zero value if it is not an IP
// address.
func addrOf(a net.Addr) netip.Addr {
	if a == nil {
		return netip.Addr{}
	}
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().Unmap().WithZone("")
}
