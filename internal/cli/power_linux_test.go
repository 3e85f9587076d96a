package cli_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan/internal/capstantest/powerloss"
	"capstan/internal/capstantest/slowfs"
	"capstan/internal/disk"
)

// Images of TestPowerLoss: how many, and of which seed.
var (
	images    = flag.Int("images", 50, "losses of power to come back from, in all ways of writing together")
	imageSeed = flag.Uint64("image-seed", 1, "of the moments and of what is lost")
)

// act is a command of an outage.
type act struct {
	args   []string
	change string       // script that changes the tree before
	kill   *slowfs.Rule // where the command is killed
	keeps  []int        // of a forget: the steps whose sets stay
}

func (st act) is(command string) bool { return st.args[0] == command }

// outage is a course of commands whose home, stage and volumes were recorded, and
// what the tree was at each of them. Its field's directory is where all of them lay,
// each below one of its own, so that a sync for one does not save another; images
// are put into the same place, since the catalog knows volumes by their paths.
type outage struct {
	*field
	base    string // of what does not lie there
	steps   []act
	volumes []string
	open    []string // flags that open encrypted sets
	log     *powerloss.Log
}

// newOutage makes a place for backups onto one volume directly, or onto two by a
// stage, and gives the command.
func newOutage(t *testing.T, staged bool) (s *outage, backup []string) {
	t.Helper()
	base := t.TempDir()
	mountTmpfs(t, base, "size=1g")
	s = &outage{base: base, field: &field{t: t, dir: filepath.Join(base, "place"), data: filepath.Join(base, "data")}}
	s.vol = filepath.Join(s.dir, "media", "one")
	s.volumes = []string{s.vol}
	backup = []string{"backup", s.data, "--to", s.vol, "--archive-size", "1MiB", "--json"}
	if staged {
		s.volumes = append(s.volumes, filepath.Join(s.dir, "other media", "two"))
		backup = append(backup, "--to", s.volumes[1], "--stage", s.stage())
	}
	plant(t, filepath.Join(s.data, "small"), 31, 24, 10<<10)
	write(t, filepath.Join(s.data, "large"), noise(1031, 2<<20))
	write(t, filepath.Join(s.data, "zz", "middle"), noise(1032, 300<<10))
	for _, err := range []error{
		os.Link(filepath.Join(s.data, "large"), filepath.Join(s.data, "zz", "linked")),
		os.Symlink("large", filepath.Join(s.data, "symlink")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return s, backup
}

func (s *outage) stage() string { return filepath.Join(s.dir, "disk", "stage") }

// changed is a script that changes the tree, otherwise for each n.
func changed(n int) string {
	return fmt.Sprintf("echo %d > new%d; rm -r small/dir-0%d; mkdir made%d; cp zz/middle made%d/copy; head -c 200000 large > cut%d", n, n, n, n, n, n)
}

// outages are the courses of TestPowerLoss.
var outages = map[string]func(t *testing.T) *outage{
	"one volume": func(t *testing.T) *outage {
		s, backup := newOutage(t, false)
		s.steps = []act{{args: backup}, {args: backup, change: changed(1)}}
		return s
	},
	"stage and two volumes": func(t *testing.T) *outage {
		s, backup := newOutage(t, true)
		s.steps = []act{{args: backup}, {args: backup, change: changed(1)}}
		return s
	},
	"incremental": func(t *testing.T) *outage {
		s, backup := newOutage(t, false)
		backup = append(backup, "--incremental")
		s.steps = []act{{args: backup}, {args: backup, change: changed(1)}, {args: backup, change: changed(2)}}
		return s
	},
	"forget": func(t *testing.T) *outage {
		s, backup := newOutage(t, true)
		s.steps = []act{{args: backup}, {args: backup, change: changed(1)}, {args: forgetting[:], keeps: []int{1}}}
		return s
	},
	"killed and continued": func(t *testing.T) *outage {
		s, backup := newOutage(t, true)
		s.steps = []act{
			{args: backup, kill: &slowfs.Rule{Op: slowfs.Rename, Name: archive, After: 3, Late: true}},
			{args: backup, kill: &slowfs.Rule{Op: slowfs.Unlink, Name: archive}},
			{args: backup},
		}
		return s
	},
	"encrypted": func(t *testing.T) *outage {
		s, backup := newOutage(t, false)
		key, public := newKey(t)
		s.open = []string{"--identity", key}
		backup = append(backup, "--encrypt-to", public, "--incremental")
		s.steps = []act{{args: backup}, {args: backup, change: changed(1)}}
		return s
	},
	"encrypted to others": func(t *testing.T) *outage {
		s, backup := newOutage(t, false)
		old, oldPublic := newKey(t)
		key, public := newKey(t)
		s.open = []string{"--identity", old, "--identity", key}
		s.steps = []act{
			{args: append(backup, "--encrypt-to", oldPublic)},
			{args: []string{"key", "rewrap", "--all", "--identity", old, "--identity", key, "--encrypt-to", public}},
		}
		return s
	},
}

// TestPowerLoss lets the power fail at random moments of real runs and loses what
// was not synced: the catalog is sound, the same command completes the set by itself,
// every set that was acknowledged restores, and nothing is left over.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	for i, name := range slices.Sorted(maps.Keys(outages)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := outages[name](t)
			s.play()
			for n := i; n < *images; n += len(outages) {
				random := rand.New(rand.NewPCG(*imageSeed, uint64(n)))
				at, fate := s.log.Len(), powerloss.Fate{Data: powerloss.None, Names: powerloss.None}
				if n != i { // the first: after the end, and with all lost that can be
					at, fate = s.moment(random), powerloss.RandomFate(random)
				}
				s.fails(at, fate, fmt.Sprintf("image %d of seed %d", n, *imageSeed))
			}
		})
	}
}

// fails lets the power fail, and the test, where the program does not come back.
func (s *outage) fails(at int, fate powerloss.Fate, name string) {
	s.t.Helper()
	image, problems := s.comeBack(at, fate)
	if len(problems) == 0 {
		return
	}
	var last []string
	for i := max(0, at-12); i < at; i++ {
		last = append(last, s.log.String(i))
	}
	s.t.Errorf("%s, cut at %d of %d, with %+v:\n%s\nthe last operations:\n%s\nwhat was lost:\n%s",
		name, at, s.log.Len(), fate, strings.Join(problems, "\n"), strings.Join(last, "\n"), image.Tell(40))
}

// moment chooses one: half of them beside an operation that is no write, since
// nearly all are writes.
func (s *outage) moment(random *rand.Rand) int {
	at := random.IntN(s.log.Len() + 1)
	if random.IntN(2) == 0 {
		return at
	}
	for at < s.log.Len() && s.log.Records[at].Kind == powerloss.Write {
		at++
	}
	return min(at+random.IntN(2), s.log.Len())
}

// play carries the steps out and records them.
func (s *outage) play() {
	s.t.Helper()
	m := slowfs.Record(s.t, filepath.Join(s.base, "below"), s.dir, filepath.Join(s.base, "log"))
	s.slow = append(s.slow, m)
	for _, dir := range []string{"said", "media", "other media", "disk"} {
		if err := (disk.FS{}).MkdirAll(filepath.Join(s.dir, dir)); err != nil {
			s.t.Fatal(err)
		}
	}
	for i, st := range s.steps {
		s.shell(s.data, st.change)
		s.shell(s.base, fmt.Sprintf("cp -a data was%d", i))
		s.carryOut(m, i)
	}
	m.End()
	file, err := os.Open(m.Log)
	if err == nil {
		s.log, err = powerloss.Read(file)
		_ = file.Close()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	if len(s.acknowledged(s.log.Len())) == 0 {
		s.t.Fatal("nothing was acknowledged")
	}
	if !slices.ContainsFunc(s.log.Records, func(r powerloss.Record) bool { return bytes.Contains(r.Data, []byte(earlierBoot)) }) {
		s.t.Error("no lease tells the earlier boot")
	}
}

// carryOut runs a step; what it says is a file in the log like others, so that its
// place among them is known.
func (s *outage) carryOut(m *slowfs.Mount, i int) {
	s.t.Helper()
	out, err := os.Create(filepath.Join(s.dir, saidBy(i)))
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	st := s.steps[i]
	cmd := s.command(context.Background(), st.args...)
	cmd.Stdout = out
	s.inEarlierBoot(cmd)
	if st.kill == nil {
		if e := s.launch(cmd, (*exec.Cmd).Start).end(); e.code != 0 {
			s.t.Fatalf("%q: exit %d: %s", st.args, e.code, e.err)
		}
		return
	}
	st.kill.Hold = true
	hold := m.Add(*st.kill)
	p := s.launch(cmd, (*exec.Cmd).Start)
	if _, ok := p.hits(hold); !ok {
		s.t.Fatalf("%q did not come to its kill: %s", st.args, p.end().err)
	}
	p.kill(hold)
}

const earlierBoot = "6f1c9a52-0d5b-4c5e-9d39-2b4f7a1c0e11"

// inEarlierBoot lets a command see the id of a boot that will be over when the power is
// back, so that nobody judges its leases by its process or by the clock of this boot.
func (s *outage) inEarlierBoot(cmd *exec.Cmd) {
	s.t.Helper()
	id := filepath.Join(s.base, "boot_id")
	write(s.t, id, []byte(earlierBoot+"\n"))
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		s.t.Fatal(err)
	}
	const script = `mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"`
	cmd.Args = append([]string{unshare, "--mount", "sh", "-c", script, id, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = unshare
}

func saidBy(step int) string { return fmt.Sprintf("said/%d", step) }
