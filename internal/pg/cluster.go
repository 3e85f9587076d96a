package pg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/pgdata"
	"capstan/internal/process"
)

// The versions whose files and processes are known.
const (
	OldestMajor = 13
	NewestMajor = 18
)

// ErrPlatform reports a system on which servers cannot be looked at.
var ErrPlatform = errors.New("PostgreSQL servers are stopped and started on Linux only, not on " + runtime.GOOS)

// Cluster is a data directory. It may be used from several goroutines.
type Cluster struct {
	Dir       string          // PGDATA, absolute, without symbolic links
	Major     int             // from PG_VERSION
	Owner     process.Account // whom the directory belongs to; the server runs as this user
	OwnerName string          // his name, or his number where he has none

	fsys disk.FS
	proc string // where the processes are shown: /proc
}

// Open looks at a data directory. It opens nothing that would have to be closed.
func Open(fsys disk.FS, dir string) (*Cluster, error) {
	if runtime.GOOS != "linux" {
		return nil, &capstan.Error{Class: capstan.ErrRefused, Op: "data directory", Object: dir, Err: ErrPlatform, Safe: "nothing was touched"}
	}
	failed := func(err error) error {
		if errors.Is(err, fs.ErrPermission) {
			return &capstan.Error{
				Class: capstan.ErrRefused, Op: "data directory", Object: dir, Err: err, Safe: "nothing was touched",
				Next: "run this as its owner or as root",
			}
		}
		return &capstan.Error{Class: capstan.ErrUsage, Op: "data directory", Object: dir, Err: err, Next: "name the directory that holds PG_VERSION with -D"}
	}
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return nil, failed(err)
	}
	text, err := fsys.ReadFile(filepath.Join(abs, "PG_VERSION"), 64)
	if err != nil {
		return nil, failed(err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, failed(fmt.Errorf("PG_VERSION holds %q", text))
	}
	if major < OldestMajor || major > NewestMajor {
		return nil, &capstan.Error{
			Class: capstan.ErrRefused, Op: "data directory", Object: dir, Err: fmt.Errorf("it is of PostgreSQL %d", major),
			Safe: "nothing was touched", Next: fmt.Sprintf("known are %d to %d", OldestMajor, NewestMajor),
		}
	}
	owner, name, err := ownerOf(abs)
	if err != nil {
		return nil, failed(err)
	}
	return &Cluster{Dir: abs, Major: major, Owner: owner, OwnerName: name, fsys: fsys, proc: "/proc"}, nil
}

// controlTries and controlPause bound how long a file is read again that was
// being written: the server writes pg_control in one piece, but a read need not
// see it so.
const (
	controlTries = 10
	controlPause = 10 * time.Millisecond
)

// Control reads global/pg_control; a read that met a write is repeated.
func (c *Cluster) Control(ctx context.Context) (pgdata.Control, error) {
	path := filepath.Join(c.Dir, "global", "pg_control")
	for try := 1; ; try++ {
		data, err := c.fsys.ReadFile(path, 1<<20)
		if err != nil {
			return pgdata.Control{}, err
		}
		control, err := pgdata.ParseControl(data)
		if err == nil || !errors.Is(err, pgdata.ErrDamaged) || try == controlTries {
			if err != nil {
				err = &capstan.Error{Op: "read", Object: path, Err: err, Next: "compare with pg_controldata"}
			}
			return control, err
		}
		select {
		case <-ctx.Done():
			return pgdata.Control{}, context.Cause(ctx)
		case <-time.After(controlPause):
		}
	}
}

// PIDFile reads postmaster.pid; found is false if there is none. A file that the
// server is just writing may lack its end, and an empty one is read as none.
func (c *Cluster) PIDFile() (file pgdata.PIDFile, found bool, err error) {
	path := filepath.Join(c.Dir, "postmaster.pid")
	data, err := c.fsys.ReadFile(path, pgdata.PIDFileLimit)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && len(data) == 0) {
		return pgdata.PIDFile{}, false, nil
	}
	if err != nil {
		return pgdata.PIDFile{}, false, err
	}
	file, err = pgdata.ParsePIDFile(data)
	if err != nil {
		err = &capstan.Error{
			Class: capstan.ErrRefused, Op: "read", Object: path, Err: err, Safe: "nothing was touched",
			Next: "find out what wrote it before anything else is done here",
		}
	}
	return file, err == nil, err
}

// ReadFile reads a small file of the data directory, by its path below it.
func (c *Cluster) ReadFile(name string, limit int64) ([]byte, error) {
	return c.fsys.ReadFile(filepath.Join(c.Dir, name), limit)
}

// Settings asks the server's program for the values of settings as the next start
// would take them, with the options that the running server was started with if
// there is one. It takes tens of milliseconds for each.
func (c *Cluster) Settings(ctx context.Context, server Server, names ...string) (map[string]string, error) {
	program, args, err := c.program(server)
	if err != nil {
		return nil, err
	}
	values := make(map[string]string, len(names))
	for _, name := range names {
		result, err := process.Run(ctx, process.Command{
			Path: program, Args: append(slices.Clip(args), "-C", name), Dir: c.Dir, As: &c.Owner,
			Timeout: settingPatience,
		})
		if err != nil {
			return nil, &capstan.Error{Op: "ask " + program + " for its setting", Object: name, Err: fmt.Errorf("%w: %s", err, lastLine(result.Stderr))}
		}
		values[name] = strings.TrimRight(string(result.Stdout), "\n")
	}
	return values, nil
}

// settingPatience is how long the server's program may take to print a setting.
const settingPatience = 20 * time.Second

// program is the server's program with the options that name its data directory:
// those of the running server, which may have its configuration elsewhere.
func (c *Cluster) program(server Server) (path string, args []string, err error) {
	if server.Presence == Alive {
		if path, args, err = c.commandOf(server.Process.PID); err == nil {
			return path, args, nil
		}
	}
	bin, err := FindBin(c.Major)
	if err != nil {
		return "", nil, err
	}
	return filepath.Join(bin, "postgres"), []string{"-D", c.Dir}, nil
}

// FindBin looks for the directory with a major version's programs: where Debian and
// the PGDG packages for Red Hat put them, then in PATH.
func FindBin(major int) (string, error) {
	number := strconv.Itoa(major)
	dirs := []string{"/usr/lib/postgresql/" + number + "/bin", "/usr/pgsql-" + number + "/bin"}
	dirs = append(dirs, filepath.SplitList(os.Getenv("PATH"))...)
	for _, dir := range dirs {
		info, err := os.Stat(filepath.Join(dir, "postgres"))
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		return dir, nil
	}
	return "", &capstan.Error{
		Class: capstan.ErrNotFound, Op: "find the programs of PostgreSQL " + number, Err: errors.New("there is no postgres in " + strings.Join(dirs, ", ")),
		Next: "name their directory with --bindir",
	}
}

// lastLine is the last line of what a program said.
func lastLine(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}
