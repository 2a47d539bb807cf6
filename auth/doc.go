// Package auth says who a server's peers are and what they may do, by files: it holds
// the tokens, certificates and networks that a [access.Authorizer] knows, and the
// certificates that a server shows.
//
//	tokens, err := auth.Open("tokens.json", nil)
//	if err != nil {
//		return err
//	}
//	defer tokens.Close()
//	srv := &dictwire.Server{Authorizer: tokens.Authorize}
//
// # The file
//
// One JSON dictionary, with an entry for each credential. dictwire token writes it; it
// may be written by hand, too:
//
//	{"dictwire_tokens": 1, "entries": [
//		{"name": "till-7", "sha256": "…", "send": ["orders.*"], "expires": "2027-02-28T00:00:00Z"},
//		{"name": "worker", "principal": "billing", "certificate": "worker.example", "read": ["orders.*"], "send": ["_rejected"]},
//		{"name": "sensors", "principal": "anonymous", "network": "10.1.0.0/16", "send": ["telemetry"]},
//		{"name": "local", "unix": "1000", "send": ["*"], "read": ["*"], "admin": ["*"]}
//	]}
//
// An entry has one credential:
//
//	sha256       SHA-256 of a token, in hexadecimal digits
//	certificate  a subject alternative name (DNS, URI or e-mail) of a client's certificate
//	             that the endpoint has verified
//	unix         the user number of a peer on a Unix socket; * for all of them
//	network      addresses, as 10.1.0.0/16, of those who give no credential; of several
//	             that hold an address, the narrowest counts
//
// principal is who speaks; without it, the entry's name. Producers and cursors are a
// principal's: one token may follow another, or two may hold at once, without a change
// of any number. send, read and admin are the topics of each right: orders, all below one
// as orders.*, or *, all that don't begin with _. A right that is absent is none.
// old_sha256 is a token's predecessor, until old_expires.
//
// A token is 256 random bits; the file has its hash alone, and needs no protection from
// being read. Whoever can write to it can give rights.
package auth
