package pgslot_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"capstan/internal/capstantest/pgtest"
	"capstan/internal/pgslot"
)

func s(n int) string { return strconv.Itoa(n) }

// proof runs the command that the map gives, and finds the relation and the place of
// the changes in what it says.
func proof(t *testing.T, origin pgslot.Origin) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", "PATH="+pgtest.Bin(t, 15)+":$PATH; "+origin.Proof).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "error in WAL record") { // which is how it calls the end of a WAL that a crash cut
		t.Fatalf("%s: %v\n%s", origin.Proof, err, out)
	}
	r := origin.Relations[0]
	for _, word := range []string{
		"rel " + s(int(r.Tablespace)) + "/" + s(int(r.Database)) + "/" + s(int(r.Number)), "tx:", s(int(origin.XID)), "INSERT",
		"lsn: " + strings.Replace(origin.First.String(), "/", "/0", 1),
	} {
		if !strings.Contains(string(out), word) {
			t.Errorf("%s: no %q in\n%s", origin.Proof, word, out)
		}
	}
}

// peak is the largest resident memory of this process so far, in KiB.
func peak(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no VmHWM in " + filepath.Base("/proc/self/status"))
	return 0
}
