package daemon

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"capstan"
	"capstan/internal/capstantest"
	"capstan/internal/envelope"
	"capstan/internal/pipeline"
	"capstan/internal/policy"
	"capstan/internal/stage"
)

var endurance = flag.Duration("endurance", 5*time.Second, "how long TestEndurance goes on; make test-long has 10m")

// leastRounds is how many rounds TestEndurance plays, however long they take.
const leastRounds = 12

// endurer is one process that goes on and on: one Daemon for good, and one more for
// each round.
type endurer struct {
	*testing.T
	dir    string
	d      *Daemon // that stays
	key    envelope.Key
	to     *envelope.Recipients
	random *rand.Rand
	rounds int
}

// TestEndurance backs a changing tree up, directly, through a stage onto two volumes,
// encrypted, full and incremental, verifies, restores, compares and forgets, again and
// again in one process: memory, open files, goroutines and threads stay where they are.
func TestEndurance(t *testing.T) {
	e := &endurer{T: t, dir: t.TempDir(), random: rand.New(rand.NewPCG(1, 2))}
	key, err := envelope.NewKey()
	e.check(err)
	e.key = key
	e.to, err = envelope.ParseRecipients([]string{key.Recipient()}, nil)
	e.check(err)
	e.plant()
	e.d = e.open()
	var all []vitals
	for begin := time.Now(); time.Since(begin) < *endurance || e.rounds < leastRounds; {
		e.round()
		all = append(all, measure(t, e.d.Home.Catalog(), time.Since(begin)))
	}
	e.check(e.d.Close())
	judge(t, all)
}

func (e *endurer) check(err error) {
	e.Helper()
	if err != nil {
		e.Fatalf("round %d: %v", e.rounds, err)
	}
}

func (e *endurer) open() *Daemon {
	e.Helper()
	d, err := Open(e.Context(), Options{Home: filepath.Join(e.dir, "home"), Memory: 32 * capstan.MiB})
	e.check(err)
	d.Engine.Identities = envelope.IdentitiesOf(e.key)
	return d
}

// round changes the tree, makes a set of each job, restores one of them, and forgets.
func (e *endurer) round() {
	e.Helper()
	e.rounds++
	e.change()
	mode := pipeline.Incremental
	if e.rounds%4 == 1 {
		mode = pipeline.Full
	}
	direct := e.backup(e.d, "direct", mode, nil)
	passing := e.open()
	stage, err := passing.Stage(e.Context(), filepath.Join(e.dir, "stage"), 256*capstan.MiB)
	e.check(err)
	staged := e.backup(passing, "staged", mode, stage)
	for d, set := range map[*Daemon]capstan.SetID{e.d: direct, passing: staged} {
		summary, err := d.Engine.Verify(e.Context(), pipeline.Verify{Sets: []capstan.SetID{set}, ReadData: 100})
		e.check(err)
		if summary.Failed > 0 {
			e.Fatalf("round %d: verify: %+v", e.rounds, summary.Problems)
		}
	}
	if e.rounds%2 == 0 {
		e.restore(e.d, direct)
	} else {
		e.restore(passing, staged)
	}
	for d, job := range map[*Daemon]capstan.JobKey{e.d: "direct", passing: "staged"} {
		_, err := d.Engine.Forget(e.Context(), pipeline.Forget{Job: job, Rules: policy.Rules{Last: 3}, Why: "the test"})
		e.check(err)
	}
	if e.rounds%8 == 0 {
		problems, err := passing.Catalog.Check(e.Context())
		if e.check(err); len(problems) > 0 {
			e.Fatalf("round %d: %q", e.rounds, problems)
		}
	}
	e.check(passing.Close())
}

// backup makes a set of a job: with a stage onto two volumes, and every other time
// encrypted.
func (e *endurer) backup(d *Daemon, job capstan.JobKey, mode pipeline.Mode, through *stage.Stage) capstan.SetID {
	e.Helper()
	specs := []string{filepath.Join(e.dir, string(job))}
	if through != nil {
		specs = append(specs, specs[0]+"-2")
	}
	volumes, err := d.Volumes(e.Context(), specs)
	e.check(err)
	sources, err := d.Sources([]string{filepath.Join(e.dir, "data")}, specs, SourceOptions{Memory: d.Engine.Memory})
	e.check(err)
	todo := pipeline.Backup{
		Job: job, Sources: sources, Volumes: volumes, Stage: through, Codec: capstan.CodecZstd, Level: 1, ArchiveSize: 2 * capstan.MiB, Mode: mode,
	}
	if (e.rounds/4+len(volumes))%2 == 0 { // as long as a chain
		todo.Recipients = e.to
	}
	summary, err := d.Engine.Backup(e.Context(), todo)
	e.check(err)
	if summary.Status != capstan.RunComplete {
		e.Fatalf("round %d: set %s is %s", e.rounds, summary.Set, summary.Status)
	}
	return summary.Set
}

func (e *endurer) restore(d *Daemon, set capstan.SetID) {
	e.Helper()
	back := filepath.Join(e.dir, "back")
	_, err := d.Engine.Restore(e.Context(), pipeline.Restore{Set: set, Target: back})
	e.check(err)
	capstantest.CompareTrees(e, filepath.Join(e.dir, "data"), filepath.Join(back, "data"))
	capstantest.RemoveAll(e, back)
}

const (
	enduringFiles = 300
	enduringDirs  = 12
)

// plant makes the tree: many small files, and one that needs several archives.
func (e *endurer) plant() {
	e.Helper()
	for n := range enduringFiles {
		e.write(n)
	}
	e.large()
}

// change writes some files anew and removes others, of which some come back later:
// the tree stays about as large as it is.
func (e *endurer) change() {
	e.Helper()
	for range 30 {
		e.write(e.random.IntN(enduringFiles))
	}
	for range 10 {
		if err := os.Remove(e.path(e.random.IntN(enduringFiles))); err != nil && !errors.Is(err, os.ErrNotExist) {
			e.Fatal(err)
		}
	}
	if e.rounds%3 == 0 {
		e.large()
	}
}

func (e *endurer) path(n int) string {
	return filepath.Join(e.dir, "data", fmt.Sprintf("dir-%02d", n%enduringDirs), fmt.Sprintf("file-%03d", n))
}

func (e *endurer) write(n int) { e.put(e.path(n), 1+e.random.IntN(8<<10)) }

func (e *endurer) large() { e.put(filepath.Join(e.dir, "data", "large"), 3<<20) }

func (e *endurer) put(path string, size int) {
	e.Helper()
	data := make([]byte, size)
	var key [32]byte
	for i := range key {
		key[i] = byte(e.random.Uint32())
	}
	_, _ = rand.NewChaCha8(key).Read(data) // never fails
	e.check(errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)))
}
