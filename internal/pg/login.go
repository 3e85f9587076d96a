package pg

import (
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"capstan"
)

// loginError is why no session came about, in one line, without a password.
type loginError struct {
	text string
	err  error
}

func (e *loginError) Error() string { return e.text }
func (e *loginError) Unwrap() error { return e.err }

// refusal tells why a server, or what is before it, let nobody in.
func refusal(object string, config *pgx.ConnConfig, err error) error {
	inner := err
	if failed, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		inner = failed.Unwrap()
	}
	var lines []string
	for line := range strings.Lines(inner.Error()) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.Contains(line, errElsewhere.Error()) && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		lines = []string{"the server that the first session was at does not answer"}
	}
	text := without(strings.Join(lines, "; "), config.Password)
	next := advise(err)
	if certified := config.TLSConfig != nil && len(config.TLSConfig.Certificates) > 0; certified && cutOff(err) {
		next = badCertificate // its alert may come too late for a client that is writing
	}
	return &capstan.Error{Op: "connect to", Object: object, Err: &loginError{text, err}, Next: next}
}

// without takes a password out of a text. Nothing is known to put one in.
func without(text, password string) string {
	const tooShort = 3 // it would be found in every word
	if len(password) < tooShort {
		return text
	}
	return strings.ReplaceAll(text, password, "***")
}

const badCertificate = "the server refuses the client's certificate: look at sslcert and sslkey, and at the server's ssl_ca_file"

// cutOff reports that the other side ended the connection without a word.
func cutOff(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// advise says what helps where a login failed. The conditions are those of
// https://www.postgresql.org/docs/current/errcodes-appendix.html; what a server has
// against a client's certificate comes as an alert of TLS.
func advise(err error) string {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch refused.Code {
		case "28P01":
			return "give the user's password: PGPASSWORD, a .pgpass file, or a service file"
		case "28000":
			return "the server's pg_hba.conf says who is let in, from where and how: another user, sslmode, or sslcert with sslkey"
		case "3D000":
			return "name a database that is there"
		case "53300":
			return "wait until other sessions have ended, or raise the server's max_connections"
		}
	}
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" {
		return badCertificate
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "sslrootcert has to name the authority that signed the server's certificate"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "connect by a name that the server's certificate has, or with sslmode=verify-ca"
	}
	if bad, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if bad.Reason == x509.Expired {
			return "renew the server's certificate"
		}
		return "look at the server's certificate"
	}
	return "give a URL that works with psql"
}
