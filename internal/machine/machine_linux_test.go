package machine

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestHere(t *testing.T) {
	t.Parallel()
	here, err := Here()
	if err != nil {
		t.Fatal(err)
	}
	if len(here.Boot) != 36 || here.PID != os.Getpid() || here.Started == "" || !strings.Contains(here.Space, "pid:[") || !here.Alive() {
		t.Errorf("%+v", here)
	}
	again, err := Here()
	if err != nil || again != here || here.Relation(again) != Beside {
		t.Errorf("%+v, %v", again, err)
	}
	before := Boot()
	if uptime, err := os.ReadFile("/proc/uptime"); err != nil {
		t.Error(err)
	} else if said, err := time.ParseDuration(strings.Fields(string(uptime))[0] + "s"); err != nil || (before-said).Abs() > time.Minute {
		t.Errorf("the clock says %s, the system %s, %v", before, said, err)
	}
	if Boot() < before {
		t.Error("the clock goes back")
	}
}

func TestRelation(t *testing.T) {
	t.Parallel()
	here := Place{Machine: "m", Boot: "b", Space: "s"}
	for _, test := range []struct {
		other Place
		want  Relation
	}{
		{here, Beside},
		{Place{Machine: "renamed", Boot: "b", Space: "s"}, Beside},
		{Place{Machine: "m", Boot: "earlier", Space: "s"}, Before},
		{Place{Machine: "m", Boot: "earlier", Space: "t"}, Before},
		{Place{Machine: "m", Boot: "b", Space: "container"}, Foreign},
		{Place{Machine: "n", Boot: "c", Space: "s"}, Foreign},
	} {
		if got := here.Relation(test.other); got != test.want {
			t.Errorf("%+v is %d, want %d", test.other, got, test.want)
		}
	}
	if machineName("h", "") != "h" || machineName("h", "1") == machineName("h", "2") || strings.Contains(machineName("h", "secret"), "secret") {
		t.Error("names of machines")
	}
}

// A process is there from its start to its end; one that nobody has waited for is not.
func TestAlive(t *testing.T) {
	t.Parallel()
	child := exec.CommandContext(t.Context(), "cat")
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	_, started, err := look(child.Process.Pid)
	if err != nil || started == "" {
		t.Errorf("%q, %v", started, err)
	}
	place := Place{PID: child.Process.Pid, Started: started}
	other := Place{PID: child.Process.Pid, Started: "1"}
	if !place.Alive() || other.Alive() || !(Place{PID: place.PID}).Alive() {
		t.Errorf("alive %t, another of its number %t", place.Alive(), other.Alive())
	}
	stdin.Close()
	if _, err := stdout.Read(make([]byte, 1)); err == nil {
		t.Error("it says something")
	}
	for deadline := time.Now().Add(time.Minute); place.Alive() && time.Now().Before(deadline); { // it is about to end
	}
	if place.Alive() {
		t.Error("a zombie counts as alive")
	}
	if err := child.Wait(); err != nil || place.Alive() {
		t.Errorf("ended %v, alive %t", err, place.Alive())
	}
}
