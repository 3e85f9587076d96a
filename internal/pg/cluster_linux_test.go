package pg

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan"
	"capstan/internal/capstantest/pgtest"
	"capstan/internal/disk"
	"capstan/internal/pgdata"
)

func open(t *testing.T, dir string) *Cluster {
	t.Helper()
	c, err := Open(disk.FS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func presence(t *testing.T, c *Cluster) Server {
	t.Helper()
	server, err := c.Server()
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// On servers of every version: who runs, what each child is under a cluster name
// that imitates a role, settings, and what is left after a crash.
func TestServers(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			const name = "walsender: x y: checkpointer"
			s := pgtest.New(t, pgtest.Options{Memory: true, Major: major, Conf: []string{
				"cluster_name = '" + name + "'", "archive_mode = on", "archive_command = '/bin/true'",
				fmt.Sprintf("update_process_title = %v", major%2 == 0),
			}})
			c := open(t, s.Data)
			if c.Major != major || presence(t, c).Presence != Absent {
				t.Errorf("%+v, %+v", c, presence(t, c))
			}
			s.Start()
			server := presence(t, c)
			if server.Presence != Alive || server.Process.PID != s.PID() {
				t.Fatalf("%+v", server)
			}
			values, err := c.Settings(t.Context(), server, "cluster_name", "archive_command")
			if err != nil || values["cluster_name"] != name || values["archive_command"] != "/bin/true" {
				t.Fatalf("%v, %v", values, err)
			}
			s.Conn("postgres")
			var roles map[Role]int
			pgtest.Eventually(t, time.Minute, func() (bool, string) { // children set their titles one after another
				children, err := c.Children(server, name)
				if err != nil {
					t.Fatal(err)
				}
				roles = map[Role]int{}
				for _, child := range children {
					roles[child.Role]++
				}
				return roles[RoleCheckpointer] == 1 && roles[RoleArchiver] == 1 && roles[RoleBackend] == 1 && roles[RoleUnknown] == 0 && roles[RoleWalsender] == 0,
					fmt.Sprint(roles, children)
			})
			if control, err := c.Control(t.Context()); err != nil || control.State != pgdata.StateInProduction {
				t.Errorf("%+v, %v", control, err)
			}
			if strays, err := c.Strays(server); err != nil || len(strays) != 0 {
				t.Errorf("strays of a healthy server: %+v, %v", strays, err)
			}
			s.Crash()
			if got := presence(t, c); got.Presence != Dead || got.File.PID != s.PID() {
				t.Errorf("after a crash: %+v", got)
			}
		})
	}
}

// A pid file that names a living process which is not the server.
func TestForeignPID(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t, pgtest.Options{Memory: true, Major: 15})
	c := open(t, s.Data)
	write := func(pid int, started time.Time) {
		t.Helper()
		text := fmt.Sprintf("%d\n%s\n%d\n5432\n/tmp\n\n1 1\nready   \n", pid, s.Data, started.Unix())
		if err := os.WriteFile(filepath.Join(s.Data, "postmaster.pid"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sleeper := exec.CommandContext(t.Context(), "sleep", "1000")
	sleeper.Dir = s.Data
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		pid  int
		want string
	}{{os.Getpid(), "does not work in this directory"}, {sleeper.Process.Pid, "it runs "}} {
		write(test.pid, time.Now())
		if got := presence(t, c); got.Presence != Foreign || !strings.Contains(got.Why, test.want) {
			t.Errorf("%+v, want %q", got, test.want)
		}
	}
	if err := sleeper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, time.Minute, func() (bool, string) { // it stays a zombie until Wait
		return presence(t, c).Presence == Dead, "a zombie passes for a server"
	})
	_ = sleeper.Wait()

	// The server of this cluster, but not of this pid file.
	if err := os.Remove(filepath.Join(s.Data, "postmaster.pid")); err != nil {
		t.Fatal(err)
	}
	s.Start()
	write(s.PID(), time.Now().Add(-time.Hour))
	if got := presence(t, c); got.Presence != Foreign || !strings.Contains(got.Why, "started at") {
		t.Errorf("%+v", got)
	}
	child := childOf(t, c, s.PID())
	write(child.PID, time.Now())
	if got := presence(t, c); got.Presence != Foreign || !strings.Contains(got.Why, "child") {
		t.Errorf("%+v", got)
	}
}

func childOf(t *testing.T, c *Cluster, pid int) Child {
	t.Helper()
	var children []Child
	pgtest.Eventually(t, time.Minute, func() (bool, string) {
		var err error
		children, err = c.Children(Server{Presence: Alive, Process: Process{PID: pid}}, "")
		return err == nil && len(children) > 0 && children[0].Role != RoleUnknown, fmt.Sprint(children, err)
	})
	return children[0]
}

// What must not be signalled is not, and lives on.
func TestSignalRefusals(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t, pgtest.Options{Memory: true, Major: 15})
	c := open(t, s.Data)
	s.Start()
	child := childOf(t, c, s.PID()).Process
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, capstan.ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGUSR2, 0} {
		refused(signal.String(), c.Signal(child, signal, nil))
	}
	changed := child
	changed.PPID++
	refused("another parent", c.Signal(changed, syscall.SIGTERM, nil))
	refused("another role", c.Signal(child, syscall.SIGTERM, func(Process) error { return errors.New("it is another") }))
	stranger, err := c.look(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	refused("another directory", c.Signal(stranger, syscall.SIGTERM, nil))
	changed = child
	changed.Start++
	if err := c.Signal(changed, syscall.SIGTERM, nil); !errors.Is(err, ErrGone) {
		t.Errorf("another start: %v", err)
	}
	if now, err := c.look(child.PID); err != nil || now.Start != child.Start {
		t.Errorf("it was touched: %+v, %v", now, err)
	}
	if err := c.Signal(child, syscall.SIGHUP, nil); err != nil {
		t.Error(err)
	}
}

// From outside a PID namespace the server in it is found by its number there.
func TestPIDNamespace(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("only root may make a PID namespace: the server runs without one")
	}
	s := pgtest.New(t, pgtest.Options{Memory: true, Major: 15})
	c := open(t, s.Data)
	args := []string{"--pid", "--fork", "--kill-child", "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", filepath.Join(s.Bin, "postgres"), "-D", s.Data}
	cmd := exec.CommandContext(t.Context(), "unshare", args...)
	if os.Geteuid() != 0 {
		cmd = exec.CommandContext(t.Context(), filepath.Join(s.Bin, "postgres"), "-D", s.Data)
	}
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()                          //nolint:errcheck // it is killed
	defer func() { _ = cmd.Process.Kill() }() // it has ended as a rule
	pgtest.Eventually(t, time.Minute, func() (bool, string) { return s.PIDFileLine(8) == "ready", s.LogTail() })
	server := presence(t, c)
	if server.Presence != Alive || (os.Geteuid() == 0 && (server.File.PID != 1 || server.Process.PID == 1)) {
		t.Fatalf("%+v", server)
	}
	if children, err := c.Children(server, ""); err != nil || len(children) < 4 {
		t.Errorf("%+v, %v", children, err)
	}
	if err := c.Signal(server.Process, syscall.SIGINT, nil); err != nil {
		t.Error(err)
	}
	if err := c.Gone(t.Context(), server.Process, 10*time.Millisecond); err != nil {
		t.Error(err)
	}
	if control, err := c.Control(t.Context()); err != nil || !control.State.Clean() {
		t.Errorf("%+v, %v", control, err)
	}
}

// Without a URL, root connects as the server's user where only peer
// authentication is allowed.
func TestConnectAsOwner(t *testing.T) {
	t.Parallel()
	for _, tcp := range []bool{false, true} {
		s := pgtest.New(t, pgtest.Options{Memory: true, Major: 15, TCP: tcp})
		if err := os.WriteFile(filepath.Join(s.Data, "pg_hba.conf"), []byte("local all all peer\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c := open(t, s.Data)
		if c.OwnerName != "postgres" { // the test is no root: peer then means this user
			continue
		}
		s.Start()
		conn, err := c.Connect(t.Context(), presence(t, c), "")
		if err != nil {
			t.Fatal(err)
		}
		var who string
		if err := conn.QueryRow(t.Context(), "select session_user").Scan(&who); err != nil || who != "postgres" {
			t.Errorf("%s, %v", who, err)
		}
		_ = conn.Close(t.Context())
		if os.Geteuid() != 0 {
			t.Error("the identity stayed")
		}
	}
}

func TestNotACluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := Open(disk.FS{}, dir); !errors.Is(err, capstan.ErrUsage) {
		t.Error(err)
	}
	for text, want := range map[string]error{"x\n": capstan.ErrUsage, "12\n": capstan.ErrRefused, "19\n": capstan.ErrRefused} {
		if err := os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(disk.FS{}, dir); !errors.Is(err, want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestArgumentsOfAServer(t *testing.T) {
	t.Parallel()
	c := &Cluster{Dir: "/data"}
	for given, want := range map[string]string{
		"":                            "-D /data",
		"-D data -p 5":                "-D /data -p 5",
		"-Ddata":                      "-D /data",
		"-p 5 -D /etc/main -c a=b":    "-D /etc/main -p 5 -c a=b",
		"-c config_file=/x -D/etc/pg": "-D /etc/pg -c config_file=/x",
	} {
		if got := strings.Join(c.withData(strings.Fields(given)), " "); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
}
