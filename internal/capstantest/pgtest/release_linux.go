package pgtest

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// debianMajor is the version that comes from the system's packages, with all its
// programs; the others have initdb, pg_ctl and postgres only.
const debianMajor = 15

// Majors are the versions that the test machine has, oldest first.
func Majors() []int { return []int{13, 14, 15, 16, 17, 18} }

// Bin is the directory of a major version's programs.
func Bin(tb testing.TB, major int) string {
	tb.Helper()
	dir := filepath.Join("/usr/lib/postgresql", strconv.Itoa(major), "bin")
	if major != debianMajor {
		found, err := filepath.Glob(filepath.Join(cacheDir(tb), "postgres-"+strconv.Itoa(major)+"-*", "bin"))
		if err != nil || len(found) == 0 {
			tb.Fatalf("no PostgreSQL %d here (%v): run scripts/install-postgres.sh", major, err)
		}
		dir = found[len(found)-1]
	}
	if _, err := os.Stat(filepath.Join(dir, "postgres")); err != nil {
		tb.Fatalf("%v: run scripts/install-postgres.sh", err)
	}
	return dir
}

// cacheDir is where scripts/install-postgres.sh puts what it fetches.
func cacheDir(tb testing.TB) string {
	tb.Helper()
	if dir := os.Getenv("CAPSTAN_TEST_CACHE"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/var/cache/capstan-test"
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(dir, "capstan-test")
}

// Credential is the user that servers run as; nil is the test's own.
func Credential(tb testing.TB) *syscall.Credential {
	tb.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		tb.Fatalf("servers do not run as root: %v", err)
	}
	uid, uidErr := strconv.ParseUint(account.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(account.Gid, 10, 32)
	if uidErr != nil || gidErr != nil {
		tb.Fatalf("user %+v: %v, %v", account, uidErr, gidErr)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// templates keeps tests of one process from making the same template twice.
var templates sync.Mutex //nolint:gochecknoglobals // guards a directory that the whole process shares

// template is a directory that initdb made, for copying. It stays in the cache.
func template(tb testing.TB, major int) string {
	tb.Helper()
	templates.Lock()
	defer templates.Unlock()
	bin := Bin(tb, major)
	version := run(tb, nil, filepath.Join(bin, "postgres"), "--version")
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("0123456789.", r) {
			return r
		}
		return -1
	}, version)
	dir := filepath.Join(cacheDir(tb), "template-"+name)
	if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err == nil {
		return dir
	}
	work, err := os.MkdirTemp(cacheDir(tb), "initdb-*") //nolint:usetesting // is renamed within the cache
	if err != nil {
		tb.Fatal(err)
	}
	defer os.RemoveAll(work)
	own(tb, work)
	made := filepath.Join(work, "data")
	run(tb, Credential(tb), filepath.Join(bin, "initdb"), "-D", made, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
	if err := os.Rename(made, dir); err != nil {
		if _, there := os.Stat(filepath.Join(dir, "PG_VERSION")); there != nil { // else another process was faster
			tb.Fatal(err)
		}
	}
	return dir
}

// own gives a directory to the servers' user.
func own(tb testing.TB, path string) {
	tb.Helper()
	if cred := Credential(tb); cred != nil {
		if err := os.Chown(path, int(cred.Uid), int(cred.Gid)); err != nil {
			tb.Fatal(err)
		}
	}
}

// run runs a program to its end and gives what it printed.
func run(tb testing.TB, cred *syscall.Credential, name string, args ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), name, args...) //nolint:forbidigo // a test kit, which may not depend on what it tests
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
