package dumps

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/pg"
	"capstan/internal/progress"
	"capstan/internal/source/postgres"
	"capstan/internal/stage"
)

// Options say what is dumped, and where it waits to be packed.
type Options struct {
	// Name is the first component of every emitted path; empty: the database's name, of
	// a whole server its host's.
	Name string
	// Dump says which database, and how it is read.
	Dump postgres.Options
	// All dumps all databases of the server that take connections and are no templates.
	All bool
	// Globals adds roles and tablespaces, as pg_dumpall writes them; All does so too.
	Globals bool
	// Stage opens the stage that the data waits in. It stays its opener's.
	Stage func(ctx context.Context) (*stage.Stage, error)
	// Memory bounds the buffers of the sessions that read; 0: nothing does.
	Memory  capstan.Bytes
	Disk    disk.FS
	Tracker *progress.Tracker
	// Waiting says that the scan waits, which goes on with done.
	Waiting func(on progress.Resource) (done func())
	// Say and Warn tell people; they do not block.
	Say, Warn func(format string, args ...any)
}

// Source is a database, or all of a server. It is made for one run.
type Source struct {
	opt  Options
	spec string
	name string
}

var _ capstan.Snapshotter = (*Source)(nil)

// Is reports whether what a user named as a source is a database: a URL of libpq, or
// its keywords (service=app, host=db1 dbname=app).
func Is(spec string) bool {
	if strings.HasPrefix(spec, "postgres://") || strings.HasPrefix(spec, "postgresql://") {
		return true
	}
	key, _, found := strings.Cut(spec, "=")
	return found && slices.Contains([]string{"service", "host", "hostaddr", "port", "dbname", "user"}, strings.TrimSpace(key))
}

// New makes a source of a database. It does not connect. A URL that cannot be read is
// capstan.ErrUsage.
func New(opt Options) (*Source, error) {
	end, err := pg.ParseAddress(opt.Dump.URL)
	if err != nil {
		return nil, err
	}
	s := &Source{opt: opt, name: opt.Name, spec: fmt.Sprintf("postgres://%s@%s/", end.User, end.Hosts)}
	name := strings.ReplaceAll(strings.Trim(end.Host, "/"), "/", "-")
	if !opt.All {
		s.spec += end.Database
		name = end.Database
	}
	if s.name == "" {
		s.name = component(name)
	}
	if opt.Memory > 0 {
		s.opt.Dump.MostJobs = max(int(opt.Memory/4/sessionMemory), 1)
	}
	return s, nil
}

// sessionMemory is about what one session that reads takes: the buffer of its
// connection, a frame before and after compression, and the encoder.
const sessionMemory = 6 * capstan.MiB

// component makes a name one that a directory can have.
func component(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == '/' || r == 0 {
			return '_'
		}
		return r
	}, name)
	if name == "" || name == "." || name == ".." {
		return "_" + name
	}
	return name
}

// Spec is the URL with user, servers and database, and without anything secret.
func (s *Source) Spec() string { return s.spec }

// Name is the directory that the dump is packed as.
func (s *Source) Name() string { return s.name }

// Snapshot implements capstan.Snapshotter.
func (s *Source) Snapshot() {}
