package auth

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync/atomic"
)

// A TLSFiles has the names of a server's TLS files, all in PEM.
type TLSFiles struct {
	Cert string // the certificate, and its intermediate certificates
	Key  string // the private key; "" means that it is in Cert

	// ClientCA has the roots of client certificates. A client with such a certificate is
	// identified by the entry with its name. "" means that clients are not asked for one.
	ClientCA string
}

// A TLS holds a server's certificate and the roots it trusts. The files are read again
// when they change, for later handshakes; invalid ones are logged once, and the last
// valid ones stay in force.
type TLS struct {
	*watcher

	files TLSFiles
	now   atomic.Pointer[tls.Config]
}

// OpenTLS reads files and watches them.
func OpenTLS(files TLSFiles, o *Options) (*TLS, error) {
	if files.Key == "" {
		files.Key = files.Cert
	}
	t := &TLS{files: files}
	paths := []string{files.Cert, files.Key}
	if files.ClientCA != "" {
		paths = append(paths, files.ClientCA)
	}
	w, err := watch(o, t.load, paths...)
	if err != nil {
		return nil, err
	}
	t.watcher = w
	return t, nil
}

func (t *TLS) load() error {
	cert, err := tls.LoadX509KeyPair(t.files.Cert, t.files.Key)
	if err != nil {
		return fmt.Errorf("%s, %s: %w", t.files.Cert, t.files.Key, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	if t.files.ClientCA != "" {
		if config.ClientCAs, err = ReadRoots(t.files.ClientCA); err != nil {
			return err
		}
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	t.now.Store(config)
	return nil
}

// Config returns the configuration for a [dictwire.Endpoint].
func (t *TLS) Config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return t.now.Load(), nil },
	}
}

// ReadRoots reads the certificates in a PEM file as trusted roots.
func ReadRoots(path string) (*x509.CertPool, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s: no certificate in it, want PEM", path)
	}
	return roots, nil
}
