package pgtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// SpillConf are the settings of a server that spills early.
func SpillConf() []string {
	return []string{"wal_level = logical", "logical_decoding_work_mem = '64kB'", "max_replication_slots = 20", "max_wal_senders = 20"}
}

// Spill makes a transaction of that many subtransactions spill into a slot, which it
// creates if need be, on a running server with SpillConf. The transaction stays open,
// and so do the files, until the server ends or the test. It gives the names of the
// spill files.
func (s *Server) Spill(slot string, subtransactions int) []string {
	s.tb.Helper()
	if s.Text("select count(*) from pg_replication_slots where slot_name = '"+slot+"'") == "0" {
		s.Exec("select pg_create_logical_replication_slot('" + slot + "', 'test_decoding')")
	}
	s.Exec("create table if not exists spilled (n int, filler text)")
	// The programs of 15 speak with all versions here.
	cmd := exec.Command(filepath.Join(Bin(s.tb, 15), "pg_recvlogical"), //nolint:forbidigo,noctx // ends with the server
		"-d", s.DSN("postgres"), "-S", slot, "--start", "--no-loop", "-f", "/dev/null")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // reaped, however it ended
	})
	return s.SpillOpen(slot, subtransactions)
}

// SpillOpen is Spill for a slot that has a consumer already: the transaction changes
// the table spilled, which must be there.
func (s *Server) SpillOpen(slot string, subtransactions int) []string {
	s.tb.Helper()
	s.hold(fmt.Sprintf(`do $$ begin for i in 1..%d loop
		begin insert into spilled values (i, repeat('x', 1000)); exception when division_by_zero then null; end;
	end loop; end $$`, subtransactions))
	s.Exec("select txid_current()") // whose commit writes the WAL out, so that the walsender sees it
	var files []string
	Eventually(s.tb, 2*time.Minute, func() (bool, string) {
		files = s.SpillFiles(slot)
		return len(files) > subtransactions/2, fmt.Sprintf("%d files are spilled\n%s", len(files), s.LogTail())
	})
	return files
}

// hold runs a statement in a transaction that stays open until the test ends.
func (s *Server) hold(statement string) {
	s.tb.Helper()
	conn := s.Conn("postgres")
	ctx, cancel := context.WithTimeout(s.tb.Context(), 2*time.Minute)
	defer cancel()
	for _, statement := range []string{"begin", statement} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			s.tb.Fatal(err)
		}
	}
}

// SpillFiles are the names of a slot's spill files.
func (s *Server) SpillFiles(slot string) []string {
	s.tb.Helper()
	entries, err := os.ReadDir(filepath.Join(s.Data, "pg_replslot", slot))
	if err != nil {
		s.tb.Fatal(err)
	}
	var files []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "xid-") {
			files = append(files, entry.Name())
		}
	}
	return files
}

// Multiply copies one of a slot's spill files until there are n: what a server
// leaves after as many subtransactions, without their time.
func (s *Server) Multiply(slot string, n int) {
	s.tb.Helper()
	files := s.SpillFiles(slot)
	dir := filepath.Join(s.Data, "pg_replslot", slot)
	content, err := os.ReadFile(filepath.Join(dir, files[len(files)-1]))
	if err != nil {
		s.tb.Fatal(err)
	}
	content = content[:min(len(content), 400)]
	_, place, _ := strings.Cut(files[0], "-lsn-")
	cred := Credential(s.tb)
	for i := range n - len(files) {
		path := filepath.Join(dir, fmt.Sprintf("xid-%d-lsn-%s", 2_000_000_000+i, place))
		if err := os.WriteFile(path, content, 0o600); err != nil {
			s.tb.Fatal(err)
		}
		if cred != nil {
			if err := os.Lchown(path, int(cred.Uid), int(cred.Gid)); err != nil {
				s.tb.Fatal(err)
			}
		}
	}
}
