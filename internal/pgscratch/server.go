package pgscratch

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/process"
	"capstan/internal/progress"
)

const (
	prefix     = "capstan-scratch-"
	dataName   = "data"
	socketName = "s"
	// superuser is called as nobody else's role is: those of a dump keep their own rights.
	superuser = "capstan_scratch"
)

// Server is one that runs.
type Server struct {
	env     Env
	root    string // its directory, which is removed with it
	notes   notes
	bin     string
	account *process.Account
	process *process.Process
}

const (
	// initPatience is how long initdb may take: a second or two, unless the machine is busy.
	initPatience = 10 * time.Minute
	// startPatience is how long a new cluster may take to start.
	startPatience = 10 * time.Minute
	startLook     = 20 * time.Millisecond
	// checkMajor is the version since which a server looks for its clients in the middle
	// of a statement.
	checkMajor = 14
)

// Start makes a cluster and starts its server; it returns when it takes connections.
// When ctx ends later, the server goes on: Stop it.
func Start(ctx context.Context, env Env, options Options) (_ *Server, err error) {
	if err := options.place(); err != nil {
		return nil, err
	}
	s := &Server{env: env, notes: notes(options.Notes)}
	if s.account, err = options.account(); err != nil {
		return nil, err
	}
	if s.bin, err = options.programs(ctx); err != nil {
		return nil, err
	}
	Sweep(ctx, env, options.Dir)
	if options.Notes != "" {
		SweepNoted(ctx, env, options.Notes)
	}
	if err := options.room(env); err != nil {
		return nil, err
	}
	if s.root, err = makeRoot(env, options.Dir, s.bin, s.account, s.notes); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if err := s.makeCluster(ctx); err != nil {
		return nil, err
	}
	var more []string
	if options.Major >= checkMajor {
		more = append(more, "client_connection_check_interval=1s") // sessions of a process that was killed end
	}
	return s, s.start(ctx, append(more, options.Settings...))
}

// makeCluster runs initdb.
func (s *Server) makeCluster(ctx context.Context) error {
	defer s.env.Stage.Wait(progress.ForServer, "initdb")()
	result, err := process.Run(ctx, process.Command{
		Path: filepath.Join(s.bin, "initdb"), Args: []string{"-D", s.data(), "-U", superuser, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"},
		Dir: "/", Env: environment(), As: s.account, Timeout: initPatience,
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return &capstan.Error{Op: "make a cluster in", Object: s.root, Err: fmt.Errorf("%w: %s", err, lastLines(result.Stderr)), Safe: "it is removed again"}
	}
	return nil
}

// settings are those of a server whose data is for now: nothing is durable, nothing
// runs beside the work, and nobody else can connect.
func (s *Server) settings() []string {
	return []string{
		"listen_addresses=", "unix_socket_directories=" + s.sockets(), "unix_socket_permissions=0700", "port=5432",
		"fsync=off", "full_page_writes=off", "synchronous_commit=off", "wal_level=minimal", "max_wal_senders=0", "archive_mode=off",
		"max_wal_size=256MB", "checkpoint_timeout=1h", "autovacuum=off", "jit=off", "logging_collector=off", "log_destination=stderr",
		"max_connections=40", "max_locks_per_transaction=1024", "maintenance_work_mem=128MB", "cluster_name=capstan-scratch",
		// What a killed server leaves of its shared memory goes with the directory.
		"dynamic_shared_memory_type=mmap",
	}
}

// start starts the server as a child that ends with this process.
func (s *Server) start(ctx context.Context, more []string) (err error) {
	defer s.env.Stage.Wait(progress.ForServer, "start of the scratch server")()
	args := []string{"-D", s.data()}
	for _, setting := range append(s.settings(), more...) {
		args = append(args, "-c", setting)
	}
	// Not ctx: the server is stopped in its own way, after those who are connected.
	s.process, err = process.Start(context.WithoutCancel(ctx), process.Command{
		Path: filepath.Join(s.bin, "postgres"), Args: args, Dir: "/", Env: environment(), As: s.account,
	})
	if err != nil {
		return err
	}
	limit := time.NewTimer(startPatience)
	defer limit.Stop()
	tick := time.NewTicker(startLook)
	defer tick.Stop()
	for {
		conn, err := pg.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.process.Done():
			return s.Err(ctx)
		case <-limit.C:
			return &capstan.Error{Op: "start", Object: "the scratch server", Err: fmt.Errorf("it takes no connections after %s: %w", startPatience, err)}
		case <-tick.C:
		}
	}
}

func (s *Server) data() string    { return filepath.Join(s.root, dataName) }
func (s *Server) sockets() string { return filepath.Join(s.root, socketName) }

// URL is how to connect to one of its databases, as its superuser.
func (s *Server) URL(database string) string {
	query := url.Values{"host": {s.sockets()}, "port": {"5432"}, "sslmode": {"disable"}}
	return (&url.URL{Scheme: "postgres", User: url.User(superuser), Path: "/" + database, RawQuery: query.Encode()}).String()
}

// Done is closed when the server has ended, by itself or by Stop.
func (s *Server) Done() <-chan struct{} { return s.process.Done() }

// Err is why the server has ended, with what it said last; call it after Done.
func (s *Server) Err(ctx context.Context) error {
	result, err := s.process.Wait(ctx)
	if err == nil {
		err = errors.New("it was stopped")
	}
	return &capstan.Error{Op: "run", Object: "the scratch server", Err: fmt.Errorf("it ended: %w: %s", err, lastLines(result.Stderr)), Safe: "its directory is removed"}
}

// lastLines are the last of what a program said, in one line.
func lastLines(text []byte) string {
	const enough = 6
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(len(lines)-enough, 0):], " | ")
}

// stopPatience is how long an immediate stop may take.
const stopPatience = time.Minute

// Stop ends the server at once and removes all that is its. It is safe to call it
// again. It should get a context that has not ended.
func (s *Server) Stop(ctx context.Context) error {
	defer s.env.Stage.Wait(progress.ForServer, "end of the scratch server")()
	if s.process != nil {
		select {
		case <-s.process.Done():
		default:
			halt(ctx, s.bin, s.data(), s.account)
			_, _ = s.process.Stop(ctx) // what it held is removed, however it ended
		}
	}
	err := errors.Join(s.working(ctx), remove(ctx, s.root))
	if err == nil {
		s.notes.drop(s.env, s.root)
	}
	return err
}

// halt stops a server of this process's immediately. That it does not is seen by what
// comes next.
func halt(ctx context.Context, bin, data string, account *process.Account) {
	if _, err := os.Stat(filepath.Join(data, "postmaster.pid")); err != nil {
		return
	}
	_, _ = process.Run(ctx, process.Command{
		Path: filepath.Join(bin, "pg_ctl"), Args: []string{"stop", "-D", data, "-m", "immediate", "-w", "-s", "-t", "60"}, Dir: "/", Env: environment(), As: account, Timeout: stopPatience,
	})
}
