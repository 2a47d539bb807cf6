package wire

import "bytes"

// peers are the first bytes of other servers' answers.
var peers = []struct{ prefix, name string }{
	{"SSH-", "an SSH server"},
	{"\x15\x03", "a server that wants TLS"},
	{"HTTP/", "an HTTP server"},
	{"<", "an HTTP server"},
	{"220", "an SMTP or FTP server"},
	{"-ERR", "a Redis or POP3 server"},
	{"+OK", "a POP3 server"},
	{"* ", "an IMAP server"},
	{"AMQP", "an AMQP server"},
	{"INFO {", "a NATS server"},
	{"RFB ", "a VNC server"},
}

// peerOf names the kind of server that sent the first bytes, or returns "".
func peerOf(first []byte) string {
	for _, p := range peers {
		if bytes.HasPrefix(first, []byte(p.prefix)) {
			return p.name
		}
	}
	return ""
}
