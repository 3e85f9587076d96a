package pgtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Pooler starts a PgBouncer before the server, which listens on TCP, and gives the port
// of 127.0.0.1 that it listens on. Settings are lines of its section pgbouncer; every
// user is let in as the superuser. It ends with the test.
func (s *Server) Pooler(settings ...string) int {
	s.tb.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		path = "/usr/sbin/pgbouncer"
	}
	dir, port := directory(s.tb, false), freePort(s.tb)
	config, log := filepath.Join(dir, "pgbouncer.ini"), filepath.Join(dir, "log")
	text := fmt.Sprintf("[databases]\n* = host=%s port=%d user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = any\nlogfile = %s\n%s\n",
		s.Socket, s.Port, port, log, strings.Join(settings, "\n"))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		s.tb.Fatal(err)
	}
	cmd := exec.Command(path, "-q", config) //nolint:forbidigo,noctx // ended below
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: Credential(s.tb), Setsid: true}
	if err := cmd.Start(); err != nil {
		s.tb.Fatalf("%v: run scripts/install-test-tools.sh", err)
	}
	s.tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // reaped, however it ended
	})
	Eventually(s.tb, patience, func() (bool, string) {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)) //nolint:noctx,forbidigo // of this machine
		if err == nil {
			err = conn.Close()
		}
		said, _ := os.ReadFile(log)
		return err == nil, fmt.Sprintf("%v\n%s", err, said)
	})
	return port
}
