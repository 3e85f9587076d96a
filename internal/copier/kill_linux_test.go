package copier

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"capstan"
)

const (
	killHome = "CAPSTAN_TEST_COPIER_HOME"
	killStep = "CAPSTAN_TEST_COPIER_STEP"
)

// TestKilledChild is the child of TestKill, and does nothing by itself.
func TestKilledChild(t *testing.T) {
	home := os.Getenv(killHome)
	if home == "" {
		return
	}
	step, err := strconv.Atoi(os.Getenv(killStep))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, home)
	r.options.LeaseTime = leaseForTests
	var mu sync.Mutex // held from the step on: all stand still until the kill
	count := 0
	tell := func(at string) {
		fmt.Printf("\nat %s\n", at)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
	r.eachStep(func() {
		mu.Lock()
		defer mu.Unlock()
		if count++; count == step {
			tell("a step")
		}
	})
	r.start(t.Context())
	outcomes, err := r.queue.Drain()
	if err != nil {
		t.Fatal(err)
	}
	tell(fmt.Sprintf("the end %s %s", outcomes[0].State, outcomes[1].State))
}

// The process is killed before each step in turn, of all that the disks do and
// between a durable copy and the catalog's word: the next one completes the set,
// writes nothing a second time that is written, and leaves nothing in the stage.
func TestKill(t *testing.T) {
	t.Parallel()
	template := memory(t)
	r := newRig(t, template)
	r.pack(1000, 2000)
	r.must(r.catalog.Close()) // a closed one is one file
	r.must(r.stage.Close())
	const lanes = 4
	for lane := range lanes {
		t.Run(fmt.Sprint("lane ", lane), func(t *testing.T) {
			t.Parallel()
			step := lane + 1
			for killOnce(t, template, step) {
				step += lanes
			}
			t.Logf("%d steps", step)
		})
	}
}

// killOnce reports whether the child came to that step.
func killOnce(t *testing.T, template string, step int) (more bool) {
	home := memory(t)
	if err := os.CopyFS(home, os.DirFS(template)); err != nil {
		t.Error(err)
		return false
	}
	at := killAt(t, home, step)
	if at == "" {
		return false
	}
	r := newRig(t, home)
	when := fmt.Sprintf("killed at step %d", step)
	written := r.requireTrue(when)
	before := r.identities()
	r.options.LeaseTime = leaseForTests
	r.tidy()
	r.bring(capstan.CopyWritten, capstan.CopyWritten)
	r.requireWhole()
	r.requireUntouched(before, when)
	if at == "the end written written" && (written[0] != 2 || written[1] != 2) {
		t.Errorf("undisturbed: %d", written)
	}
	for number := range capstan.ArchiveNumber(2) {
		for i := range r.volumes {
			if c := r.copyOf(number+1, i); c.Attempts != 0 {
				t.Errorf("%s: %+v", when, c)
			}
		}
	}
	if t.Failed() {
		t.Logf("%s: %s", when, at)
		return false
	}
	return at == "a step"
}

// killAt runs the child, kills it before the given step, and tells where it was.
func killAt(t *testing.T, home string, step int) (at string) {
	self, err := os.Executable()
	if err != nil {
		t.Error(err)
		return ""
	}
	child := exec.CommandContext(t.Context(), self, "-test.run=^TestKilledChild$", "-test.timeout=60s")
	child.Env = append(os.Environ(), killHome+"="+home, killStep+"="+strconv.Itoa(step))
	stdin, err := child.StdinPipe() // open for as long as the child shall wait
	if err != nil {
		t.Error(err)
		return ""
	}
	defer stdin.Close()
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Error(err)
		return ""
	}
	if err := child.Start(); err != nil {
		t.Error(err)
		return ""
	}
	var said strings.Builder
	for lines := bufio.NewScanner(stdout); at == "" && lines.Scan(); {
		fmt.Fprintln(&said, lines.Text())
		if word, ok := strings.CutPrefix(lines.Text(), "at "); ok {
			at = word
		}
	}
	if at == "" {
		t.Errorf("the child ended by itself: %s", said.String())
	}
	if err := child.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := child.Wait(); err == nil {
		t.Error("the child was not killed")
	}
	return at
}
