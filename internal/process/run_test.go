//go:build unix

package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"capstan"
)

func TestRunCaptures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := sh(`pwd; echo "$KEY $1"; echo problem >&2`)
	c.Args = append(c.Args, "sh", "arg with space")
	c.Dir, c.Env = dir, []string{"KEY=value", "PATH=" + os.Getenv("PATH")}
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(r.Stdout), dir+"\nvalue arg with space\n"; got != want {
		t.Errorf("stdout %q, want %q", got, want)
	}
	if string(r.Stderr) != "problem\n" || r.ExitCode != 0 || r.Signal != "" || r.StdoutCut || r.StderrCut || r.Held {
		t.Errorf("result %+v", r)
	}
}

func TestStdinIsEmptyUnlessGiven(t *testing.T) {
	t.Parallel()
	r, err := Run(t.Context(), sh(`cat; read x || echo end of file`))
	if err != nil || string(r.Stdout) != "end of file\n" {
		t.Errorf("%q, %v", r.Stdout, err)
	}
	big := strings.Repeat("0123456789", 100_000)
	var out bytes.Buffer
	c := Command{Path: "cat", Stdin: strings.NewReader(big), Stdout: &out}
	if _, err := Run(t.Context(), c); err != nil || out.String() != big {
		t.Errorf("%d bytes of %d came back, %v", out.Len(), len(big), err)
	}
}

// A child has a session of its own and no terminal to ask anything at.
func TestChildHasNoTerminal(t *testing.T) {
	t.Parallel()
	p, err := Start(t.Context(), sh(`cut -d' ' -f5,6,7 /proc/$$/stat; echo $$ $$ 0; exec </dev/tty`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Wait(t.Context())
	lines := strings.Split(string(r.Stdout), "\n")
	if err == nil || len(lines) < 2 || lines[0] != lines[1] {
		t.Errorf("group, session and terminal: %q, %v", r.Stdout, err)
	}
}

func TestStandardStreamsAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Command{
		"stdin": {Path: "cat", Stdin: os.Stdin}, "stdout": {Path: "true", Stdout: os.Stdout}, "stderr": {Path: "true", Stderr: os.Stderr},
	} {
		if _, err := Run(t.Context(), c); !errors.Is(err, capstan.ErrRefused) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStreamingToAFile(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c := sh("echo out; echo err >&2")
	c.Stdout, c.Stderr = file, file
	if _, err := Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(file.Name()); err != nil || string(data) != "out\nerr\n" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestExitErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		script, message, signal string
		code                    int
	}{
		{`echo one >&2; echo "two " >&2; exit 3`, "sh: exit status 3: one | two", "", 3},
		{`exit 1`, "sh: exit status 1", "", 1},
		{`kill -KILL $$`, "sh: ended by signal: killed", "killed", -1},
		{`for i in 1 2 3 4 5 6 7 8; do echo $i >&2; done; exit 2`, "sh: exit status 2: 4 | 5 | 6 | 7 | 8", "", 2},
		{`printf '%600s\377' x >&2; exit 2`, "sh: exit status 2: x?", "", 2},
	}
	for _, test := range tests {
		r, err := Run(t.Context(), sh(test.script))
		var exit *ExitError
		if !errors.As(err, &exit) {
			t.Fatalf("%s: %v", test.script, err)
		}
		if err.Error() != test.message || exit.ExitCode != test.code || r.ExitCode != test.code || r.Signal != test.signal {
			t.Errorf("%s: %q, result %+v", test.script, err, r)
		}
		if exit.Name != "sh" || exit.Err != nil {
			t.Errorf("%+v", exit)
		}
	}
}

func TestMessagesAreShort(t *testing.T) {
	t.Parallel()
	_, err := Run(t.Context(), sh(`head -c 100000 /dev/zero | tr '\0' x >&2; exit 2`))
	if err == nil || len(err.Error()) > 600 {
		t.Errorf("%d bytes: %v", len(err.Error()), err)
	}
}

func TestStartFailuresNameTheTool(t *testing.T) {
	t.Parallel()
	plain := filepath.Join(t.TempDir(), "plain.txt")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		command Command
		is      error
		message string
	}{
		{Command{Path: "no-such-tool"}, exec.ErrNotFound, "start no-such-tool: executable file not found in $PATH; install it, or give its full path"},
		{Command{Path: "/no/such/tool"}, fs.ErrNotExist, "start /no/such/tool: stat /no/such/tool: no such file or directory; check the path"},
		{Command{Path: plain}, fs.ErrPermission, "start " + plain + ": permission denied; check the path"},
		{Command{Path: "true", Dir: "/no/such/dir"}, fs.ErrNotExist, "start true: in its directory: stat /no/such/dir: no such file or directory"},
	}
	for _, test := range tests {
		_, err := Run(t.Context(), test.command)
		var told *capstan.Error
		if !errors.Is(err, test.is) || !errors.As(err, &told) || err.Error() != test.message {
			t.Errorf("got  %v\nwant %v", err, test.message)
		}
	}
}

func TestFloodsStayInBounds(t *testing.T) {
	t.Parallel()
	c := sh(`yes | head -c 30000000; echo; echo end; yes | head -c 3000000 >&2; echo problem >&2`)
	c.Keep = 4 * capstan.KiB
	p, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Stdout) != 4096 || !r.StdoutCut || !strings.HasSuffix(string(r.Stdout), "y\n\nend\n") {
		t.Errorf("stdout: %d bytes, cut %v, %q", len(r.Stdout), r.StdoutCut, r.Stdout[len(r.Stdout)-20:])
	}
	if len(r.Stderr) != 4096 || !r.StderrCut || !strings.HasSuffix(string(r.Stderr), "y\nproblem\n") {
		t.Errorf("stderr: %d bytes, cut %v", len(r.Stderr), r.StderrCut)
	}
	if n := cap(p.out.buf); n > 32<<10 {
		t.Errorf("%d bytes were held", n)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 3, 7, 10, 11, 25, 100} {
		keep, all := &tail{limit: 10}, []byte{}
		for i := range 20 {
			piece := bytes.Repeat([]byte{byte('a' + i)}, size)
			all = append(all, piece...)
			if n, err := keep.Write(piece); n != size || err != nil {
				t.Fatal(n, err)
			}
			got, cut := keep.last()
			if want := all[max(0, len(all)-10):]; !bytes.Equal(got, want) || cut != (len(all) > 10) {
				t.Fatalf("size %d: kept %q of %q, cut %v", size, got, all, cut)
			}
		}
	}
}

// A reader that takes its time after the child's end gets everything.
func TestSlowReaderGetsEverything(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	first := true
	c := sh(`head -c 60000 /dev/zero`)
	c.Stdout = writerFunc(func(p []byte) (int, error) {
		if first {
			first = false
			<-time.After(drainTime + 500*time.Millisecond)
		}
		return got.Write(p)
	})
	r, err := Run(t.Context(), c)
	if err != nil || got.Len() != 60000 || r.Held {
		t.Errorf("%d bytes of 60000, held %v, %v", got.Len(), r.Held, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestFailingWriterEndsTheChild(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	c := sh(`trap "" PIPE; yes; sleep 300`)
	c.Stdout = writerFunc(func([]byte) (int, error) { return 0, full })
	_, err := Run(t.Context(), c)
	if !errors.Is(err, full) || strings.Count(err.Error(), "disk full") != 1 {
		t.Errorf("%v", err)
	}
}

func TestStdinThatBlocks(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	start := time.Now()
	if _, err := Run(t.Context(), Command{Path: "true", Stdin: r}); err != nil || time.Since(start) > 60*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	if err := w.Close(); err != nil { // frees the goroutine that reads it
		t.Error(err)
	}
}

// Half an input must not look like a whole one: a restore would commit it.
func TestFailingStdinIsNoEndOfFile(t *testing.T) {
	t.Parallel()
	marker := filepath.Join(t.TempDir(), "committed")
	broken := errors.New("source is gone")
	c := sh(`cat >/dev/null; echo >"$1"`)
	c.Args = append(c.Args, "sh", marker)
	c.Stdin = io.MultiReader(strings.NewReader("begin"), failing{broken})
	if _, err := Run(t.Context(), c); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(marker); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the child saw the end of its input: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestRedact(t *testing.T) {
	t.Parallel()
	got := redact([]string{"-d", "postgres://user:s3cret@host/db", "s3://b/p", "a://:x@h b://u:p:q@h", "me@host:22"})
	want := []string{"-d", "postgres://user:***@host/db", "s3://b/p", "a://:***@h b://u:***@h", "me@host:22"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q", got)
	}
}

// As another user if the test may, else as its own: the child has that user's
// number and groups and no others.
func TestRunsAsAnAccount(t *testing.T) {
	t.Parallel()
	as := &Account{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	want := fmt.Sprintf("%d %d\n", as.UID, as.GID)
	if as.UID == 0 {
		as = &Account{UID: 65534, GID: 65533, Groups: []uint32{65532}}
		want = "65534 65533\n65533 65532\n"
	}
	c := sh(`echo $(id -u) $(id -g); test $(id -u) != 65534 || id -G`)
	c.As, c.Dir = as, "/"
	r, err := Run(t.Context(), c)
	if err != nil || string(r.Stdout) != want {
		t.Errorf("%q, %v; want %q", r.Stdout, err, want)
	}
}
