package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// pgServer is a PostgreSQL server of the bench's own, with its data in the case's
// directory. It is what the tests have: see scripts/install-postgres.sh.
type pgServer struct {
	major  int
	dir    string // of its data, its log and its socket
	socket string // directory with a short path
	run    *exec.Cmd
	ended  chan struct{}
}

const (
	// debianMajor is the one that comes whole from the system's packages.
	debianMajor = 15
	newMajor    = 17
	// pgPatience is how long a server may take for its start and for its end.
	pgPatience = 2 * time.Minute
)

// pgConf makes the server one that is measured and not kept: nothing waits for a disk,
// and there is room for the locks of as many tables as the case pgtables has.
const pgConf = `
listen_addresses = ''
unix_socket_directories = '%s'
fsync = off
autovacuum = off
wal_level = minimal
max_wal_senders = 0
max_wal_size = 8GB
max_locks_per_transaction = %d
dynamic_shared_memory_type = mmap
`

// pgCache is where the tests' servers and clients lie.
func pgCache() string {
	if dir := os.Getenv("CAPSTAN_TEST_CACHE"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/var/cache/capstan-test"
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "capstan-test")
}

// client is the path of a program of the server's version.
func (s *pgServer) client(program string) string {
	if s.major == debianMajor {
		return filepath.Join("/usr/lib/postgresql", strconv.Itoa(s.major), "bin", program)
	}
	return filepath.Join(pgCache(), "clients", strconv.Itoa(s.major), "bin", program)
}

func (s *pgServer) program(name string) (string, error) {
	pattern := filepath.Join("/usr/lib/postgresql", strconv.Itoa(s.major), "bin", name)
	if s.major != debianMajor {
		pattern = filepath.Join(pgCache(), "postgres-"+strconv.Itoa(s.major)+"-*", "bin", name)
	}
	found, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("no %s: run scripts/install-test-tools.sh", pattern)
	}
	return found[len(found)-1], nil
}

// startServer makes a cluster below dir and starts it. stop must be called.
func startServer(ctx context.Context, major, tables int, dir string) (_ *pgServer, err error) {
	s := &pgServer{major: major, dir: filepath.Join(dir, "server")}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return nil, err
	}
	if s.socket, err = os.MkdirTemp("", "bench"); err != nil { // a socket's path is at most 107 bytes long
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(s.socket))
		}
	}()
	if os.Geteuid() == 0 { // servers do not run as root; the parent is for its owner alone
		err = errors.Join(os.Chmod(dir, 0o711), carryOut(ctx, "chown", "postgres", s.dir, s.socket))
	}
	initdb, initErr := s.program("initdb")
	postgres, serverErr := s.program("postgres")
	if err = errors.Join(err, initErr, serverErr); err != nil {
		return nil, err
	}
	data := filepath.Join(s.dir, "data")
	if err := carryOut(ctx, unprivileged(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")...); err != nil {
		return nil, err
	}
	conf, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	// Guard and workers lock every table once each; there are 100 connections.
	_, err = fmt.Fprintf(conf, pgConf, s.socket, max(64, tables/25))
	if err = errors.Join(err, conf.Close()); err != nil {
		return nil, err
	}
	return s, s.start(ctx, unprivileged(postgres, "-D", data))
}

// unprivileged is a command as the user that servers run as.
func unprivileged(args ...string) []string {
	if os.Geteuid() != 0 {
		return args
	}
	return append([]string{"setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"}, args...)
}

// carryOut carries a command out, with what it said in its error.
func carryOut(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (s *pgServer) start(ctx context.Context, args []string) error {
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the server has its own
	// stop ends it, in the order that a server wants.
	s.run = exec.CommandContext(context.WithoutCancel(ctx), args[0], args[1:]...)
	s.run.Dir, s.run.Stdout, s.run.Stderr = "/", log, log
	if err := s.run.Start(); err != nil {
		return err
	}
	s.ended = make(chan struct{})
	go func() {
		defer close(s.ended)
		_ = s.run.Wait() // it ends by a signal of ours
	}()
	patience := time.NewTimer(pgPatience)
	defer patience.Stop()
	for {
		err := s.psql(ctx, "postgres", strings.NewReader("select 1;"))
		if err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
			continue
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-s.ended:
		case <-patience.C:
		}
		said, _ := os.ReadFile(log.Name())
		return errors.Join(fmt.Errorf("server %d does not start: %w: %s", s.major, err, said), s.stop())
	}
}

// stop ends the server, its sessions too, and waits for it.
func (s *pgServer) stop() error {
	_ = s.run.Process.Signal(syscall.SIGINT) // it may have ended
	select {
	case <-s.ended:
	case <-time.After(pgPatience):
		return errors.Join(errors.New("the server does not end"), s.run.Process.Kill(), os.RemoveAll(s.socket))
	}
	return os.RemoveAll(s.socket)
}

// url is a database's.
func (s *pgServer) url(database string) string {
	return fmt.Sprintf("postgres://postgres@/%s?host=%s", database, s.socket)
}

// psql carries a script out; an error in it is one of psql.
func (s *pgServer) psql(ctx context.Context, database string, script io.Reader) error {
	_, err := s.ask(ctx, database, script)
	return err
}

// ask carries a script out and gives what it printed, bare.
func (s *pgServer) ask(ctx context.Context, database string, script io.Reader) (string, error) {
	cmd := exec.CommandContext(ctx, s.client("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", s.url(database))
	var said strings.Builder
	cmd.Stdin, cmd.Stderr = script, &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("psql: %w: %s", err, said.String())
	}
	return strings.TrimSpace(string(out)), nil
}
