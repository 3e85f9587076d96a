package pgtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Options say what a cluster is made like.
type Options struct {
	Major int
	TCP   bool     // listen on a free port of 127.0.0.1 as well
	Conf  []string // lines of postgresql.conf, after our own
	// Memory puts the cluster into memory if there is room: a thousand small files
	// are copied there ten times faster. It is not for tests about a disk.
	Memory bool
}

// Server is a cluster and the server that may run on it. One goroutine uses it.
type Server struct {
	Major  int
	Bin    string // directory of the programs
	Data   string // PGDATA
	Log    string // file that the server writes its log to
	Socket string // directory of its socket
	Port   int
	TCP    bool // it listens on 127.0.0.1 as well
	// Options are more words of the server's command line, for the next Start.
	Options []string

	tb     testing.TB
	exited chan struct{} // of the server that Start started: closed when it has been reaped
	pid    int           // the same
}

// New makes a cluster; its server does not run yet.
func New(tb testing.TB, options Options) *Server {
	tb.Helper()
	dir := directory(tb, options.Memory)
	s := &Server{
		Major: options.Major, Bin: Bin(tb, options.Major), Data: filepath.Join(dir, "data"),
		Log: filepath.Join(dir, "server.log"), Port: 5432, TCP: options.TCP, tb: tb,
	}
	run(tb, nil, "cp", "-a", "--reflink=auto", template(tb, options.Major), s.Data)
	s.Socket = socketDir(tb)
	listen := ""
	if options.TCP {
		s.Port, listen = freePort(tb), "127.0.0.1"
	}
	s.Conf(append([]string{
		"listen_addresses = '" + listen + "'",
		"port = " + strconv.Itoa(s.Port),
		"unix_socket_directories = '" + s.Socket + "'",
		"fsync = off",
		"shared_buffers = 16MB",
		// What a killed server leaves of its shared memory goes with the directory.
		"dynamic_shared_memory_type = mmap",
		"log_line_prefix = '%m [%p] %b '",
	}, options.Conf...)...)
	tb.Cleanup(s.end)
	return s
}

// directory is a new one that the servers' user can work in.
func directory(tb testing.TB, memory bool) string {
	tb.Helper()
	const shared, room = "/dev/shm", 4 << 30
	var space unix.Statfs_t
	if memory && unix.Statfs(shared, &space) == nil && int64(space.Bavail)*space.Bsize >= room { //nolint:gosec // no filesystem has so many blocks
		dir, err := os.MkdirTemp(shared, "capstan-pg") //nolint:usetesting // the test's own is on a disk
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = os.RemoveAll(dir) })
		own(tb, dir)
		return dir
	}
	dir := tb.TempDir()
	// The parent that TempDir makes is for the test's user alone.
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		tb.Fatal(err)
	}
	own(tb, dir)
	return dir
}

// Conf appends lines to postgresql.conf; a running server wants a reload.
func (s *Server) Conf(lines ...string) {
	s.tb.Helper()
	file, err := os.OpenFile(filepath.Join(s.Data, "postgresql.conf"), os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
		s.tb.Fatal(err)
	}
}

// socketDir is a directory whose path is short enough for a socket's.
func socketDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "pg") //nolint:usetesting // the test's own is too long with the test's name
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	own(tb, dir)
	return dir
}

// freePort gives a TCP port that is the test's until its end: of those that the kernel
// gives to nobody by itself, neither to a client nor for port 0, one that is free and
// that no other test has locked.
func freePort(tb testing.TB) int {
	tb.Helper()
	const first, ports = 20000, 12000 // below 32768, where the kernel's own begin
	begin := rand.IntN(ports)
	for i := range ports {
		port := first + (begin+i)%ports
		path := filepath.Join(os.TempDir(), "capstan-test-port-"+strconv.Itoa(port)) //nolint:usetesting // of all tests together
		lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o666)
		if err != nil {
			continue // another user's
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && isFree(port) {
			tb.Cleanup(func() { _ = lock.Close() }) // the file stays: who has just opened it locks the same one
			return port
		}
		_ = lock.Close()
	}
	tb.Fatalf("no port from %d to %d is free", first, first+ports-1)
	return 0
}

// isFree reports whether nobody listens on a port.
func isFree(port int) bool {
	listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)) //nolint:noctx // returns at once
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

// DSN is the connection string of a database in the form of keywords, as a
// subscription wants it.
func (s *Server) DSN(database string) string {
	return fmt.Sprintf("host=%s port=%d user=postgres dbname=%s", s.Socket, s.Port, database)
}

// URL is the connection URL of a database.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://postgres@/%s?host=%s&port=%d", database, s.Socket, s.Port)
}

// Client is the path of a client program (pg_dump, pg_restore, pg_dumpall, psql) of a
// major version. There are those of 15, 17 and 18; for another version it is that of
// the next newer one.
func Client(tb testing.TB, major int, program string) string {
	tb.Helper()
	path := filepath.Join("/usr/lib/postgresql", strconv.Itoa(debianMajor), "bin", program)
	if major > debianMajor {
		path = filepath.Join(cacheDir(tb), "clients", strconv.Itoa(max(major, debianMajor+2)), "bin", program)
	}
	if _, err := os.Stat(path); err != nil {
		tb.Fatalf("%v: run scripts/install-test-tools.sh", err)
	}
	return path
}
