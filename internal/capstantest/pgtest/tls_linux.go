package pgtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates. Its own, Cert, is what others trust it by.
type Authority struct {
	Cert string // path of a PEM file

	tb   testing.TB
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// NewAuthority makes one with a name that is its file's too.
func NewAuthority(tb testing.TB, name string) *Authority {
	tb.Helper()
	dir := directory(tb, false)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	a := &Authority{Cert: filepath.Join(dir, name+".crt"), tb: tb, dir: dir, key: key, cert: &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}}
	a.sign(a.Cert, a.cert, &key.PublicKey)
	return a
}

// Lifetime is when a certificate counts.
type Lifetime struct{ From, To time.Duration } // from now

// The lifetimes of certificates that are good, and that have been.
var (
	Good    = Lifetime{-time.Hour, 24 * time.Hour}  //nolint:gochecknoglobals // a constant
	Expired = Lifetime{-48 * time.Hour, -time.Hour} //nolint:gochecknoglobals // a constant
)

// Issue signs a certificate for a name: that of a host, and of a user. It gives the
// paths of certificate and key, both for their owner alone; with a passphrase the key
// is encrypted by it, in the form that the driver reads.
func (a *Authority) Issue(name string, life Lifetime, passphrase string) (cert, key string) {
	a.tb.Helper()
	cert, key = filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		a.tb.Fatal(err)
	}
	a.sign(cert, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(life.From), NotAfter: time.Now().Add(life.To),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, private.Public())
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}
	if passphrase != "" {
		block, err = x509.EncryptPEMBlock(rand.Reader, block.Type, block.Bytes, []byte(passphrase), x509.PEMCipherAES256) //nolint:staticcheck // what the driver reads
		if err != nil {
			a.tb.Fatal(err)
		}
	}
	a.write(key, block)
	return cert, key
}

// sign completes a certificate, signs and writes it.
func (a *Authority) sign(path string, cert *x509.Certificate, public crypto.PublicKey) {
	a.tb.Helper()
	cert.SerialNumber = big.NewInt(time.Now().UnixNano())
	if cert.NotAfter.IsZero() {
		cert.NotBefore, cert.NotAfter = time.Now().Add(Good.From), time.Now().Add(Good.To)
	}
	signed, err := x509.CreateCertificate(rand.Reader, cert, a.cert, public, a.key)
	if err != nil {
		a.tb.Fatal(err)
	}
	a.write(path, &pem.Block{Type: "CERTIFICATE", Bytes: signed})
}

func (a *Authority) write(path string, block *pem.Block) {
	a.tb.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		a.tb.Fatal(err)
	}
}

// TLS lets the server, which does not run yet, speak TLS with a certificate of the
// authority for a host, and trust the certificates of users that it signed.
func (s *Server) TLS(a *Authority, host string) {
	s.tb.Helper()
	s.Certificate(a, host, Good)
	s.copyIn(a.Cert, "root.crt")
	s.Conf("ssl = on", "ssl_cert_file = 'server.crt'", "ssl_key_file = 'server.key'", "ssl_ca_file = 'root.crt'")
}

// Certificate gives the server another certificate; a running one wants a reload.
func (s *Server) Certificate(a *Authority, host string, life Lifetime) {
	s.tb.Helper()
	cert, key := a.Issue(host, life, "")
	s.copyIn(cert, "server.crt")
	s.copyIn(key, "server.key")
}

// HBA sets who is let in, and how: lines of pg_hba.conf. A running server wants a
// reload.
func (s *Server) HBA(lines ...string) {
	s.tb.Helper()
	var content []byte
	for _, line := range lines {
		content = append(content, line+"\n"...)
	}
	s.put(content, "pg_hba.conf")
}

func (s *Server) copyIn(path, name string) {
	s.tb.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.put(content, name)
}

// put writes a file of the server's own.
func (s *Server) put(content []byte, name string) {
	s.tb.Helper()
	path := filepath.Join(s.Data, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.tb.Fatal(err)
	}
	own(s.tb, path)
}
