package pg

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Handover is what a program of PostgreSQL is given so that it connects as we do.
type Handover struct {
	Conninfo string   // for its arguments: no secret is in it
	Env      []string // its whole environment
}

// HandOver prepares a connection URL, or keywords, for a client program. Its arguments
// can be read by every user of the machine: the password goes into its environment,
// and the passphrase of a private key, for which libpq knows no variable, into a
// service file in dir, a directory of the caller's that nobody else can look into. The
// caller removes dir when the program has ended.
func HandOver(text, dir string) (Handover, error) {
	conninfo, found, err := dissect(text)
	if err != nil {
		return Handover{}, err
	}
	h := Handover{Conninfo: conninfo, Env: os.Environ()}
	if found.password != "" {
		h.set("PGPASSWORD", found.password)
	}
	if found.serviceFile != "" {
		h.set("PGSERVICEFILE", found.serviceFile)
	}
	if found.keyPassword == "" {
		found.keyPassword = os.Getenv("PGSSLPASSWORD") // which the driver reads, and libpq does not
	}
	if found.keyPassword == "" {
		return h, nil
	}
	return h, h.unlock(found.keyPassword, dir)
}

func (h *Handover) set(name, value string) {
	h.Env = slices.DeleteFunc(h.Env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	h.Env = append(h.Env, name+"="+value)
}

// unlockService is the name of the service that has the passphrase alone.
const unlockService = "capstan"

// unlock hands the passphrase of a private key over. A service file has a line for
// each setting, and no way to quote; and a program reads one service.
func (h *Handover) unlock(passphrase, dir string) error {
	if strings.ContainsAny(passphrase, "\r\n") || strings.TrimSpace(passphrase) != passphrase {
		return malformed("a passphrase (sslpassword) with spaces at its ends, or with line ends, cannot be handed to a program")
	}
	services := strings.Contains(h.Conninfo, "service=") || os.Getenv("PGSERVICE") != ""
	if services {
		return malformed("a passphrase (sslpassword) beside a service cannot be handed to a program: write it into the service file")
	}
	path := filepath.Join(dir, "pg_service.conf")
	if err := os.WriteFile(path, []byte("["+unlockService+"]\nsslpassword="+passphrase+"\n"), 0o600); err != nil {
		return err
	}
	h.set("PGSERVICEFILE", path)
	h.set("PGSERVICE", unlockService)
	return nil
}
