package pgscratch

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/process"
	"capstan/internal/progress"
)

// Env is what a server is made with.
type Env struct {
	Disk  disk.FS
	Stage *progress.Stage // that waits are declared in
	// Say and Warn tell people; they do not block.
	Say, Warn func(format string, args ...any)
}

// Options say what server is made.
type Options struct {
	Major int
	// Bin is the directory of initdb, pg_ctl and postgres; empty: it is looked for
	// where packages put it, and in PATH.
	Bin string
	// Dir is the directory in which the server's own is made; empty: that of the system
	// for temporary files.
	Dir string
	// Notes is a directory in which it is noted where the server is made, for SweepNoted;
	// empty: it is noted nowhere.
	Notes string
	// User is whom the server runs as if this process is root's; empty: postgres.
	User string
	// Room is how much has to be free in Dir.
	Room capstan.Bytes
	// Settings are "NAME=VALUE", after our own.
	Settings []string
}

// DefaultUser is whom root's servers run as.
const DefaultUser = "postgres"

// room refuses a disk that is too small.
func (o Options) room(env Env) error {
	free, err := env.Disk.Free(o.Dir)
	if err != nil {
		return err
	}
	if free >= o.Room {
		return nil
	}
	return &capstan.Error{
		Class: capstan.ErrNoSpace, Op: "start a scratch server in", Object: o.Dir, Err: fmt.Errorf("it needs about %s, and %s are free", o.Room, free),
		Safe: "nothing was made", Next: "name a directory on a larger disk with --scratch",
	}
}

// account is whom the server runs as; nil is this process's own user.
func (o Options) account() (*process.Account, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // as process.Command has it
	}
	name := o.User
	if name == "" {
		name = DefaultUser
	}
	fail := func(err error) (*process.Account, error) {
		return nil, &capstan.Error{
			Class: capstan.ErrUsage, Op: "start a scratch server as", Object: "user " + name, Err: err,
			Next: "PostgreSQL does not run as root: name another user with --run-as, or run this as one",
		}
	}
	found, err := user.Lookup(name)
	if err != nil {
		return fail(err)
	}
	uid, err := strconv.ParseUint(found.Uid, 10, 32)
	if err != nil {
		return fail(err)
	}
	gid, err := strconv.ParseUint(found.Gid, 10, 32)
	if err != nil {
		return fail(err)
	}
	if uid == 0 {
		return fail(errors.New("it is root"))
	}
	return &process.Account{UID: uint32(uid), GID: uint32(gid)}, nil
}

// maxSocket is how long the path of a socket may be (unix(7)), without its end.
const maxSocket = 107

// place checks and completes the directory.
func (o *Options) place() (err error) {
	if o.Dir == "" {
		o.Dir = os.TempDir()
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	const longest = "/" + prefix + "0123456789/" + socketName + "/.s.PGSQL.5432.lock"
	if len(o.Dir)+len(longest) > maxSocket {
		return &capstan.Error{Class: capstan.ErrUsage, Op: "start a scratch server in", Object: o.Dir, Err: errors.New("its path is too long for a socket"), Next: "name a shorter one with --scratch"}
	}
	return nil
}
