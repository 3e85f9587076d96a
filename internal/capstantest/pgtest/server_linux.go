package pgtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// patience is how long a server may take for what it does in an instant.
const patience = 4 * time.Minute

// Start starts the server and waits until it takes connections.
func (s *Server) Start() {
	s.tb.Helper()
	s.Spawn()
	Eventually(s.tb, patience, func() (bool, string) {
		select {
		case <-s.exited:
			s.tb.Fatalf("the server did not start:\n%s", s.LogTail())
		default:
		}
		if s.PIDFileLine(1) != strconv.Itoa(s.pid) {
			return false, "its pid file is not there" // or is that of a server that crashed
		}
		status := s.PIDFileLine(8)
		return status == "ready" || status == "standby", "the server is " + status + ":\n" + s.LogTail()
	})
}

// Spawn starts the server and does not wait for it.
func (s *Server) Spawn() {
	s.tb.Helper()
	log, err := os.OpenFile(s.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(s.Bin, "postgres"), append([]string{"-D", s.Data}, s.Options...)...) //nolint:forbidigo,noctx // outlives nothing: end kills it
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	// Should the test process die, the server stops at once.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: Credential(s.tb), Setsid: true, Pdeathsig: syscall.SIGQUIT}
	began, exited := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(exited)
		runtime.LockOSThread() // the death signal comes when the thread ends that started the server
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		began <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is the test's business
		}
	}()
	if err := <-began; err != nil {
		s.tb.Fatal(err)
	}
	s.exited, s.pid = exited, cmd.Process.Pid
}

// PID is the process id of the server that Start started.
func (s *Server) PID() int { return s.pid }

// Exited is closed when the server that Start started has ended and been reaped.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// PIDFileLine is a line of postmaster.pid, from 1; empty if there is none.
func (s *Server) PIDFileLine(number int) string {
	content, err := os.ReadFile(filepath.Join(s.Data, "postmaster.pid"))
	lines := strings.Split(string(content), "\n")
	if err != nil || len(lines) < number {
		return ""
	}
	return strings.TrimSpace(lines[number-1])
}

// Signal sends a signal to the server's first process, wherever it came from.
func (s *Server) Signal(signal syscall.Signal) {
	s.tb.Helper()
	pid, err := strconv.Atoi(s.PIDFileLine(1))
	if err != nil || pid <= 1 {
		s.tb.Fatalf("no server runs on %s", s.Data)
	}
	if err := syscall.Kill(pid, signal); err != nil {
		s.tb.Fatal(err)
	}
}

// Stop stops the server that Start started, fast.
func (s *Server) Stop() {
	s.tb.Helper()
	s.Signal(syscall.SIGINT)
	s.WaitExit()
}

// WaitExit waits for the end of the server that Start started.
func (s *Server) WaitExit() {
	s.tb.Helper()
	select {
	case <-s.exited:
	case <-time.After(patience):
		s.tb.Fatalf("the server did not end:\n%s", s.LogTail())
	}
}

// Crash kills the server and everything that works in its data directory with
// SIGKILL, as a power failure would, and waits until all of it is gone.
func (s *Server) Crash() {
	s.tb.Helper()
	s.killAll()
	Eventually(s.tb, patience, func() (bool, string) {
		s.killAll()
		return len(s.processes()) == 0, "processes survive SIGKILL"
	})
	if s.exited != nil {
		s.WaitExit()
	}
	s.freeSegment()
}

// freeSegment removes the segment of shared memory that a killed server leaves
// behind, and that the next start would remove: the system has room for few.
func (s *Server) freeSegment() {
	_, text, _ := strings.Cut(s.PIDFileLine(7), " ")
	id, err := strconv.Atoi(strings.TrimSpace(text))
	var segment unix.SysvShmDesc
	if err != nil {
		return
	}
	if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &segment); err != nil {
		return // it is gone
	}
	// A test may have written the pid file: the segment must be of that server.
	if segment.Nattch == 0 && strconv.Itoa(int(segment.Cpid)) == s.PIDFileLine(1) {
		_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	}
}

// end leaves nothing behind. A failed test shows the end of the log.
func (s *Server) end() {
	if s.tb.Failed() {
		s.tb.Logf("log of server %d:\n%s", s.Major, s.LogTail())
	}
	s.Crash()
}

func (s *Server) killAll() {
	for _, pid := range s.processes() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone
	}
}

// processes are those that work in the data directory: the server, its children,
// the commands that it started, and what was orphaned of them. Zombies have no
// working directory any more.
func (s *Server) processes() []int {
	var pids []int
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range links {
		if cwd, err := os.Readlink(link); err != nil || cwd != s.Data {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// LogTail is the end of the server's log.
func (s *Server) LogTail() string {
	content, _ := os.ReadFile(s.Log)
	const enough = 4 << 10
	return string(content[max(len(content)-enough, 0):])
}

// Conn connects to a database as the superuser, until the test ends.
func (s *Server) Conn(database string) *pgx.Conn {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		s.tb.Fatalf("%v\n%s", err, s.LogTail())
	}
	s.tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // the server may be gone
	})
	return conn
}

// Exec runs statements in the database postgres, each by itself.
func (s *Server) Exec(statements ...string) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		s.tb.Fatalf("%v\n%s", err, s.LogTail())
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			s.tb.Fatalf("%s: %v", statement, err)
		}
	}
}

// Text is the one value that a query of the database postgres gives, as text;
// empty where it gives none or null.
func (s *Server) Text(query string) string {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		s.tb.Fatalf("%v\n%s", err, s.LogTail())
	}
	defer conn.Close(ctx)
	results, err := conn.PgConn().Exec(ctx, query).ReadAll()
	if err != nil {
		s.tb.Fatalf("%s: %v", query, err)
	}
	last := results[len(results)-1]
	if len(last.Rows) == 0 {
		return ""
	}
	return string(last.Rows[0][0])
}

// Eventually waits until done says so, and fails the test with the reason that it
// gives when the time is over.
func Eventually(tb testing.TB, within time.Duration, done func() (bool, string)) {
	tb.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, why := done()
		if ok {
			return
		}
		select {
		case <-deadline.C:
			tb.Fatalf("not within %s: %s", within, why)
		case <-tick.C:
		}
	}
}
