// Package devca is an authority for certificates to develop and try out with: it lives in
// two files.
package devca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"time"

	"github.com/dictwire/dictwire/internal/wholefile"
)

// lifetime is how long an authority is valid.
const lifetime = 10 * 365 * 24 * time.Hour

// ErrTooLong is wrapped by the error of a certificate that would outlive its authority.
var ErrTooLong = errors.New("the root ends before that")

// An Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  crypto.PrivateKey
}

// Open reads an authority, or makes one if there is none.
func Open(certFile, keyFile string) (a *Authority, made bool, err error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if errors.Is(err, fs.ErrNotExist) && !exists(certFile) && !exists(keyFile) {
		a, err = create(certFile, keyFile)
		return a, err == nil, err
	}
	if err != nil {
		return nil, false, fmt.Errorf("%s, %s: %w", certFile, keyFile, err)
	}
	if !pair.Leaf.IsCA {
		return nil, false, fmt.Errorf("%s is no authority's certificate", certFile)
	}
	return &Authority{pair.Leaf, pair.PrivateKey}, false, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func create(certFile, keyFile string) (*Authority, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "dictwire development root of " + host},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	a := new(Authority)
	a.cert, a.key, err = a.sign(template, certFile, keyFile)
	return a, err
}

// A Request is what a certificate shall be.
type Request struct {
	Names  []string // hosts and addresses of a server; what a client is called
	Client bool     // it is a client's
	Until  time.Time
}

// Issue signs a certificate for a new key, and writes both in place of those there were.
func (a *Authority) Issue(r Request, certFile, keyFile string) error {
	if r.Until.After(a.cert.NotAfter) {
		return fmt.Errorf("%w: on %s", ErrTooLong, a.cert.NotAfter.Format(time.DateOnly))
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: r.Names[0]},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: r.Until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if r.Client {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	for _, name := range r.Names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	_, _, err := a.sign(template, certFile, keyFile)
	return err
}

// sign makes a key and its certificate, signed by the authority or, for a new authority, by
// the key itself. The key is written first: a reader of both files in between finds two
// that do not fit, and not a key that others know.
func (a *Authority) sign(template *x509.Certificate, certFile, keyFile string) (*x509.Certificate, crypto.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, err
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	return cert, key, errors.Join(
		wholefile.Replace(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600),
		wholefile.Replace(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
	)
}
