// Package auth identifies a server's peers and says what they may do, from files. It
// holds the tokens, certificates and networks for an [access.Authorizer], and the
// server's own certificates.
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
// The file is a JSON dictionary with an entry for each credential. dictwire token edits
// it; it can also be written by hand:
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
// principal is the principal of the peer; without it, it is the entry's name. Producers
// and cursors belong to principals, so a token can replace another one, or be valid
// beside it, without a change of any number. send, read and admin list the topics of each
// right: orders, all below a topic as orders.*, or * for all that don't begin with _. A
// missing right is not granted. old_sha256 is the token's predecessor, valid until
// old_expires.
//
// A token is 256 random bits. The file has only its hash, so reading the file reveals no
// token. Whoever can write to the file can grant rights.
package auth
