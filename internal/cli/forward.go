package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/dialect/forward"
)

// forwardFlags are the flags of an endpoint for Fluent Forward with a handshake.
type forwardFlags struct{ listen, key, users string }

func (f *forwardFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.listen, "forward-listen", "", "`address` for clients of Fluent Forward that have a shared key, as 127.0.0.1:24224; others need none and use --listen")
	flags.StringVar(&f.key, "forward-key", "", "`file` with the shared key")
	flags.StringVar(&f.users, "forward-users", "", "`file` with a user and a password on each line, of whom clients have to name one")
}

// A forwardDoor is an open endpoint for Fluent Forward with a handshake.
type forwardDoor struct {
	endpoint   dictwire.Endpoint
	dialect    forward.Secure
	heartbeats net.PacketConn // nil without UDP
}

// open opens the endpoint, with the rules of another one. It returns nil if the flags ask
// for none.
func (f *forwardFlags) open(ctx context.Context, rules dictwire.Endpoint) (*forwardDoor, error) {
	if f.listen == "" {
		if f.key != "" || f.users != "" {
			return nil, usagef("--forward-key and --forward-users are about --forward-listen")
		}
		return nil, nil //nolint:nilnil // nothing is wanted
	}
	if f.key == "" {
		return nil, usagef("--forward-listen wants --forward-key; clients without a shared key use --listen")
	}
	key, err := os.ReadFile(f.key)
	if err != nil {
		return nil, err
	}
	d := &forwardDoor{dialect: forward.Secure{SharedKey: string(bytes.TrimRight(key, "\r\n"))}}
	if d.dialect.SharedKey == "" {
		return nil, fmt.Errorf("%s: the shared key is empty", f.key)
	}
	if d.dialect.Users, err = readUsers(f.users); err != nil {
		return nil, err
	}
	d.endpoint = dictwire.Endpoint{Dialects: []string{forward.SecureName}, Authorizer: rules.Authorizer, TLS: rules.TLS}
	if d.endpoint.Listener, err = dictwire.Listen(ctx, f.listen); err != nil {
		return nil, err
	}
	if at := d.endpoint.Listener.Addr(); at.Network() == "tcp" {
		if d.heartbeats, err = (&net.ListenConfig{}).ListenPacket(ctx, "udp", at.String()); err != nil {
			return nil, errors.Join(err, d.endpoint.Listener.Close())
		}
	}
	return d, nil
}

// readUsers reads a file of users and passwords. An empty path means none.
func readUsers(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path) //nolint:gosec // it is the user's to say which
	if err != nil {
		return nil, err
	}
	users := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		user, password, ok := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		switch {
		case user == "" || strings.HasPrefix(user, "#"):
		case !ok || strings.HasPrefix(user, "_"):
			return nil, fmt.Errorf("%s:%d: want a user, whose name does not begin with _, and a password", path, n)
		default:
			users[user] = strings.TrimSpace(password)
		}
	}
	if len(users) == 0 {
		return nil, fmt.Errorf("%s: there is no user in it", path)
	}
	return users, nil
}

// serve serves the endpoint until the server ends.
func (d *forwardDoor) serve(srv *dictwire.Server) error {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if d.heartbeats != nil {
			_ = forward.Heartbeat(ctx, d.heartbeats) // clients that send no heartbeats are served all the same
		}
	}()
	err := srv.Serve(d.endpoint)
	cancel()
	<-done
	return err
}
