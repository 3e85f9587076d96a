package pgserver

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"capstan/internal/disk"
	"capstan/internal/pg"
)

const killedStop = "CAPSTAN_TEST_KILLED_STOP"

// killOrder says to the child which stop to do and where to die.
type killOrder struct {
	Data, Home, URL, Consumer string
	Step                      int
}

// TestKilledStop is the child of TestStopKilledAtEveryStep, and does nothing by itself.
func TestKilledStop(t *testing.T) {
	text := os.Getenv(killedStop)
	if text == "" {
		return
	}
	var order killOrder
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		t.Fatal(err)
	}
	cluster, err := pg.Open(disk.FS{}, order.Data)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	env := Env{Home: order.Home, Step: func(name string) {
		if count++; count > order.Step {
			fmt.Println("\nat", name)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it comes
		}
	}}
	_, err = Stop(t.Context(), env, cluster, killOptions(order.Consumer))
	fmt.Println("\nat end")
	if err != nil {
		t.Fatal(err)
	}
}

func killOptions(consumer string) StopOptions {
	return StopOptions{Consumers: []string{consumer}, LockRole: "sync", Walsender: WalsenderCut, Archiver: ArchiverPause}
}

// killAt runs a stop in a child that is killed before a step, and gives the step's name.
func (p *pair) killAt(step int) string {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	order, err := json.Marshal(killOrder{Data: p.Data, Home: p.home, Consumer: p.subscriber.URL("postgres"), Step: step})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	child := exec.CommandContext(ctx, self, "-test.run=^TestKilledStop$", "-test.timeout=60s")
	child.Env = append(os.Environ(), killedStop+"="+string(order))
	out, err := child.CombinedOutput()
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "at "); ok {
			return name
		}
	}
	p.t.Fatalf("step %d: %v\n%s", step, err, out)
	return ""
}

// The process is killed before each step of a stop in turn, on one cluster. Each
// time either Undo puts everything back, or a second call finishes and the next
// start puts it back. Nothing is lost on either side.
func TestStopKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	for major, stride := range map[int]int{15: 1, 18: 2} { // all of it takes long
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			killedStops(t, major, stride)
		})
	}
}

// killedStops is TestStopKilledAtEveryStep on one version, with each stride-th step.
func killedStops(t *testing.T, major, stride int) {
	t.Helper()
	// Each file waits until archiving is paused, which the command sees in PGDATA:
	// so there is always a backlog to be paused, on however busy a machine.
	p := newPair(t, major, "archive_mode = on", `archive_command = 'while ! grep -qE "^archive_command = .{2}$" postgresql.auto.conf; do sleep 0.05; done; true %p'`)
	original, err := p.cluster.ReadFile(autoConf, autoConfLimit)
	if err != nil {
		t.Fatal(err)
	}
	intact := func(where string) {
		t.Helper()
		now, err := p.cluster.ReadFile(autoConf, autoConfLimit)
		if err != nil || string(now) != string(original) {
			t.Fatalf("%s: postgresql.auto.conf is %q, %v", where, now, err)
		}
		if p.Text("select rolcanlogin from pg_roles where rolname = 'sync'") != "t" || p.subscriber.Text("select subenabled from pg_subscription") != "t" {
			t.Fatalf("%s: a setting is left changed", where)
		}
		if pending, err := Pending(t.Context(), p.env(), p.cluster); err != nil || len(pending) > 0 {
			t.Fatalf("%s: %v, %v", where, pending, err)
		}
	}
	p.Exec("select pg_create_logical_replication_slot('mute', 'test_decoding')")
	p.Exec("create table b (n int)")
	seen := map[string]bool{}
	rows := 100
	for step := 0; ; step += stride {
		mute := p.consume("START_REPLICATION SLOT mute LOGICAL 0/0") // a walsender that has to be ended as well
		rows++
		p.Exec(fmt.Sprintf("insert into d values (%d)", rows))
		p.backlog(3)
		name := p.killAt(step)
		where := fmt.Sprintf("killed at step %d (%s)", step, name)
		seen[name] = true
		t.Log(where)
		if look := p.look(); look.Server.File.Status == "ready" && look.Server.Presence == pg.Alive {
			// Nothing was told to stop: it can be undone.
			if left, err := Undo(t.Context(), p.env(), p.cluster, UndoOptions{}); err != nil || len(left) > 0 {
				t.Fatalf("%s: undo: %v, %v", where, left, err)
			}
			intact(where + ", undone")
		}
		p.stop(killOptions(p.subscriber.URL("postgres")))
		mute.close()
		p.Start()
		if left, err := Undo(t.Context(), p.env(), p.cluster, UndoOptions{}); err != nil || len(left) > 0 {
			t.Fatalf("%s: after the start: %v, %v", where, left, err)
		}
		intact(where)
		p.arrives(fmt.Sprint(rows))
		if name == "end" {
			break
		}
	}
	if stride > 1 {
		if len(seen) < 6 {
			t.Errorf("it was killed at %v only", seen)
		}
		return
	}
	for _, want := range []string{
		"journal subscription", "disable subscription", "journal role", "lock role", "checkpoint", "fast stop", "terminate walsender",
		"journal archive", "empty archive_command", "hang up", "undo archive_command", "strike archive_command", "stopped",
	} {
		if !seen[want] {
			t.Errorf("it was never killed at %q: %v", want, seen)
		}
	}
}
