package slowfs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is when an answer of the server counts as lost.
const patience = time.Minute

// Mount is a mounted filesystem. Its methods may be called from several
// goroutines; they fail the test where something is wrong with the server itself.
type Mount struct {
	Dir   string // where it is mounted
	Below string // the directory that it shows; no rule touches who works there
	Log   string // the file that Record was told

	t       testing.TB
	command *exec.Cmd //nolint:forbidigo // see start
	control *line
	gone    chan struct{} // closed when the server has ended
	endOnce sync.Once

	mu      sync.Mutex
	last    int // request
	answers map[int]chan report
	rules   map[int]*Active
}

// Start mounts at dir what the directory below holds. Both are made. The mount
// ends with the test.
func Start(t testing.TB, below, dir string) *Mount {
	t.Helper()
	return Record(t, below, dir, "")
}

// Record is Start with a log of all that is changed in the mount, for package
// powerloss, in a new file outside of it. The directory below must be empty or not
// there. The log is whole after End.
func Record(t testing.TB, below, dir, log string) *Mount {
	t.Helper()
	for _, path := range []string{below, dir} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m := &Mount{
		Dir: dir, Below: below, Log: log, t: t,
		gone: make(chan struct{}), answers: map[int]chan report{0: make(chan report, 1)}, rules: map[int]*Active{},
	}
	if err := m.start(); err != nil {
		t.Fatalf("slowfs: %v", err)
	}
	t.Cleanup(m.End)
	if r := m.answer(m.answers[0]); r.Error != "" {
		t.Fatalf("slowfs: mount %s (needs root): %s", dir, r.Error)
	}
	return m
}

func (m *Mount) start() error {
	what, err := json.Marshal(setup{m.Below, m.Dir, m.Log})
	if err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	defer func() { _ = errors.Join(ours.Close(), theirs.Close()) }()
	if m.control, err = newLine(ours); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	m.command = exec.Command(program) //nolint:forbidigo,noctx // a test's own server, which Cleanup ends
	m.command.Env = append(os.Environ(), environment+"="+string(what))
	m.command.ExtraFiles = []*os.File{theirs}
	// If the test is killed, a stopped server shall notice that its socket is closed,
	// and unmount; to a running one this signal is nothing.
	m.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGCONT}
	if err := m.command.Start(); err != nil {
		return errors.Join(err, m.control.Close())
	}
	go m.listen()
	return nil
}

// listen takes the server's reports until it has ended.
func (m *Mount) listen() {
	for {
		var r report
		if err := m.control.in.Decode(&r); err != nil {
			break
		}
		m.mu.Lock()
		answer, rule := m.answers[r.Answer], m.rules[r.Rule]
		m.mu.Unlock()
		switch {
		case r.Hit == nil && answer != nil:
			answer <- r
		case r.Hit != nil && rule != nil:
			select {
			case rule.hits <- *r.Hit:
			default: // more than anybody asks for
			}
		}
	}
	_ = m.command.Wait() // killed or not, it is over
	close(m.gone)
}

// answer waits for the answer to a request.
func (m *Mount) answer(answers <-chan report) report {
	m.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-answers:
		return r
	case <-m.gone:
		m.t.Fatalf("slowfs at %s: the server has ended", m.Dir)
	case <-timer.C:
		m.t.Fatalf("slowfs at %s: no answer for %s (is it stopped?)", m.Dir, patience)
	}
	return report{}
}

// ask sends a request and waits until it has taken effect.
func (m *Mount) ask(r request, rule *Active) report {
	m.t.Helper()
	m.mu.Lock()
	m.last++
	r.ID = m.last
	answer := make(chan report, 1)
	m.answers[r.ID] = answer
	if rule != nil {
		rule.id, m.rules[r.ID] = r.ID, rule
	}
	err := m.control.out.Encode(r)
	m.mu.Unlock()
	if err != nil {
		m.t.Fatalf("slowfs at %s: %v", m.Dir, err)
	}
	return m.answer(answer)
}

// Active is a rule in force.
type Active struct {
	mount *Mount
	id    int
	once  sync.Once
	hits  chan Hit
}

// Add puts a rule in force. Where several are met by an operation, their times
// add up and the first error counts.
func (m *Mount) Add(rule Rule) *Active {
	m.t.Helper()
	if err := rule.check(); err != nil {
		m.t.Fatalf("slowfs: rule %+v: %v", rule, err)
	}
	a := &Active{mount: m, hits: make(chan Hit, 8192)}
	m.ask(request{Add: &rule}, a)
	return a
}

// Hits are the operations that have met the rule, each told when it begins to be
// delayed, held or failed.
func (a *Active) Hits() <-chan Hit { return a.hits }

// End takes the rule away; what it holds or delays goes on. It may be called again.
func (a *Active) End() {
	a.mount.t.Helper()
	a.once.Do(func() { a.mount.ask(request{End: a.id}, nil) })
}

// Counts are the operations so far, by kind.
func (m *Mount) Counts() map[Op]int {
	m.t.Helper()
	return m.ask(request{Counts: true}, nil).Counts
}

// Pid is the server's.
func (m *Mount) Pid() int { return m.command.Process.Pid }

// Stop stops the server: nothing is answered until Continue. It returns when all
// its threads stand still. Rules can be neither added nor ended meanwhile.
func (m *Mount) Stop() {
	m.t.Helper()
	m.signal(unix.SIGSTOP)
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !m.stands() {
		select {
		case <-poll.C:
		case <-deadline.C:
			m.t.Fatalf("slowfs at %s does not stop", m.Dir)
		}
	}
}

// stands reports whether all threads of the server are stopped.
func (m *Mount) stands() bool {
	m.t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", m.Pid()))
	if err != nil || len(threads) == 0 {
		m.t.Fatalf("slowfs at %s: the server has ended: %v", m.Dir, err)
	}
	for _, thread := range threads {
		if stat, err := os.ReadFile(thread); err == nil && !bytes.Contains(stat, []byte(") T ")) {
			return false
		}
	}
	return true
}

// Continue ends a Stop.
func (m *Mount) Continue() {
	m.t.Helper()
	m.signal(unix.SIGCONT)
}

func (m *Mount) signal(s syscall.Signal) {
	m.t.Helper()
	if err := m.command.Process.Signal(s); err != nil {
		m.t.Fatalf("slowfs at %s: %s: %v", m.Dir, s, err)
	}
}

// Kill kills the server. The mount stays: whoever waits for an answer has an error
// now, and so has everybody who asks, until End.
func (m *Mount) Kill() {
	_ = m.command.Process.Kill() // it may have ended
	<-m.gone
}

// End kills the server and unmounts. It may be called again.
func (m *Mount) End() {
	m.t.Helper()
	m.endOnce.Do(func() {
		m.Kill()
		_ = m.control.Close() // nobody is at its other end
		if err := unix.Unmount(m.Dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			m.t.Errorf("slowfs: unmount %s: %v", m.Dir, err)
		}
	})
}
