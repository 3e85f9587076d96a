package cli_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"capstan/internal/capstantest"
	"capstan/internal/capstantest/slowfs"
)

// swept is a command of the sweeps, and the places whose operations fail under it.
type swept struct {
	places []string
	make   func() *scene
}

// scenes are the commands that are swept.
func scenes() map[string]swept {
	return map[string]swept{
		"backup": {[]string{"home", "one"}, func() *scene {
			return &scene{judge: (*scene).judgeBackup, after: (*scene).backsUpAgain}
		}},
		"backup by the stage": {[]string{"home", "stage", "two"}, func() *scene {
			return &scene{staged: true, judge: (*scene).judgeBackup, after: (*scene).backsUpAgain}
		}},
		"incremental": {[]string{"home", "stage", "one"}, func() *scene {
			return &scene{staged: true, judge: (*scene).judgeBackup, after: (*scene).backsUpAgain, before: func(s *scene) {
				s.run(s.crash.args...)
				write(s.t, filepath.Join(s.data, "b", "new"), noise(4, 2000))
				if err := os.Remove(filepath.Join(s.data, "b", "later")); err != nil {
					s.t.Fatal(err)
				}
				s.args = append(s.args, "--incremental")
			}}
		}},
		"retry": {[]string{"home", "stage", "two"}, func() *scene {
			return &scene{
				args: []string{"retry", "1", "--json", "--attempts", "2"}, staged: true, judge: (*scene).judgeBackup, after: (*scene).backsUpAgain,
				before: func(s *scene) {
					full := s.mounts["two"].Add(slowfs.Rule{Op: slowfs.Write, Name: part, Errno: unix.ENOSPC})
					s.exits(3, append(slices.Clone(s.crash.args), "--attempts", "1"))
					full.End()
				},
			}
		}},
		"restore": {[]string{"home", "one", "target"}, func() *scene {
			return &scene{
				args: []string{"restore", "latest", "--to", "target", "--json"}, before: (*scene).backedUp,
				judge: (*scene).judgeRestore, after: func(s *scene, _ ended) {
					s.run("restore", "latest", "--to", "target", "--overwrite")
					capstantest.CompareTrees(s.t, s.data, filepath.Join(s.mounts["target"].Below, "data"))
					s.sound()
				},
			}
		}},
		"verify": {[]string{"home", "one"}, func() *scene {
			return &scene{
				args: []string{"verify", "--read-data", "--json"}, before: (*scene).backedUp,
				judge: (*scene).judgeVerify, after: func(s *scene, _ ended) {
					s.exits(0, []string{"verify", "--read-data"})
					s.sound()
				},
			}
		}},
		"forget": {[]string{"home", "two"}, func() *scene {
			return &scene{
				args: forgetting[:], staged: true, judge: (*scene).judgeForget,
				before: func(s *scene) {
					s.run(s.crash.args...)
					s.run(s.crash.args...)
				},
				after: func(s *scene, _ ended) {
					s.run(forgetting[:]...)
					if sets := s.sets(); len(sets) != 1 {
						s.t.Errorf("%d sets after forgetting all but one", len(sets))
					}
					s.sound()
					s.comesBack()
					s.nothingElse()
				},
			}
		}},
		"catalog check": {[]string{"home"}, func() *scene {
			return &scene{
				args: []string{"catalog", "check"}, before: (*scene).backedUp,
				judge: (*scene).judgeReading, after: func(s *scene, _ ended) { s.sound() },
			}
		}},
		"catalog rebuild": {[]string{"home", "one"}, func() *scene {
			return &scene{
				args: []string{"catalog", "rebuild", "one"}, judge: (*scene).judgeRebuild,
				before: func(s *scene) {
					s.backedUp()
					if err := os.RemoveAll(s.mounts["home"].Dir); err == nil || !strings.Contains(err.Error(), "busy") {
						s.t.Fatal(err)
					}
				},
				after: func(s *scene, _ ended) {
					s.run("catalog", "rebuild", "one")
					s.rebuilt()
				},
			}
		}},
	}
}

func (s *scene) backedUp() {
	s.t.Helper()
	s.run(s.crash.args...)
}

// sound expects that the catalog is, and that all sets are whole.
func (s *scene) sound() {
	s.t.Helper()
	s.exits(0, []string{"catalog", "check"})
	s.exits(0, []string{"verify", "--read-data"})
}

// stalled is what the message of a command has in it that gave up waiting.
var stalled = regexp.MustCompile(`stalled|cut off|left behind|not answer`)

// honest expects that the catalog is sound, and that what it calls complete is so.
func (s *scene) honest() {
	s.t.Helper()
	s.exits(0, []string{"catalog", "check"})
	for _, set := range s.sets() {
		if set.Status == "complete" {
			s.exits(0, []string{"verify", set.Set, "--read-data"})
		}
	}
}

// comesBack restores the latest set and compares it with the tree.
func (s *scene) comesBack() {
	s.t.Helper()
	back := filepath.Join(s.dir, "back")
	s.run("restore", "latest", "--to", back)
	capstantest.CompareTrees(s.t, s.data, filepath.Join(back, "data"))
	capstantest.RemoveAll(s.t, back)
}

// excuse is what the message of a failure must have in it.
var excuse = map[string]*regexp.Regexp{
	"EIO once":               regexp.MustCompile(`input/output error|disk I/O error|unable to open database|readonly database|image is malformed`),
	"EIO from there on":      regexp.MustCompile(`input/output error|disk I/O error|unable to open database|readonly database|image is malformed`),
	"ENOSPC once":            regexp.MustCompile(`no space left|disk is full|unable to open database|disk I/O error`),
	"ENOSPC from there on":   regexp.MustCompile(`no space left|disk is full|unable to open database|disk I/O error`),
	"short write":            regexp.MustCompile(`short write`),
	"short write, then full": regexp.MustCompile(`no space left|disk is full|disk I/O error`),
	"slow":                   stalled,
	"hangs":                  stalled,
}

// told expects that a command which has failed says what, and where.
func (s *scene) told(e ended, did outcome) {
	s.t.Helper()
	if !slices.Contains([]int{0, 1, 3, 4}, e.code) {
		s.t.Errorf("exit %d", e.code)
	}
	if e.code == 0 || did.fault.holdsUp && stalled.MatchString(e.err) {
		return // a stall names what stands still, which need not be what was hit
	}
	if len(did.hits) == 0 {
		s.t.Errorf("it failed without a fault")
		return
	}
	if !excuse[did.fault.name].MatchString(e.err) {
		s.t.Errorf("it does not say what failed")
	}
	named := strings.Contains(e.err, s.mounts[did.at].Dir)
	for _, h := range did.hits {
		named = named || strings.Contains(e.err, filepath.Base(h.Path))
	}
	switch did.at {
	case "home":
		named = named || strings.Contains(e.err, "catalog")
	case "target":
		named = named || strings.Contains(e.err, "data/") // the entry
	}
	if !named {
		s.t.Errorf("it does not name what failed")
	}
}

// judgeBackup looks at a backup that a fault has met: what it calls complete is whole
// on every volume, by stock tools.
func (s *scene) judgeBackup(e ended, did outcome) {
	s.t.Helper()
	s.told(e, did)
	if e.code == 0 || strings.Contains(e.out, `"type":"summary"`) {
		if sum := summaryOf(s.t, e); (sum.Status == "complete") != (e.code == 0) {
			s.t.Errorf("exit %d, and set %s is %s", e.code, sum.Set, sum.Status)
		} else if e.code == 0 {
			s.proven(sum.Set)
		}
	}
	s.honest()
}

// proven expects that a set which is called complete is so on every volume, whatever
// the catalog says.
func (s *scene) proven(set string) {
	s.t.Helper()
	for _, volume := range s.volumes {
		target, err := os.MkdirTemp(s.dir, "proof")
		if err != nil {
			s.t.Fatal(err)
		}
		if _, err := os.Lstat(filepath.Join(volume, set, "DELETED")); err != nil {
			stockRestore(s.t, filepath.Join(volume, set), target)
		} else {
			home := filepath.Join(target, "home")
			s.run("--home", home, "catalog", "rebuild", volume)
			s.run("--home", home, "restore", set, "--to", target)
		}
		capstantest.CompareTrees(s.t, s.data, filepath.Join(target, "data"))
		capstantest.RemoveAll(s.t, target)
	}
}

// backsUpAgain expects that what a backup has left behind is completed: by the
// command that it names, and the same backup.
func (s *scene) backsUpAgain(e ended) {
	s.t.Helper()
	if next := regexp.MustCompile(`error: .*well again: capstan retry (\d+)\n`).FindStringSubmatch(e.err); next != nil {
		s.run("retry", next[1])
	} else if s.args[0] == "retry" && e.code != 0 {
		s.run("retry", "1")
	}
	if slices.Contains(s.args, "--incremental") {
		s.complete("--incremental")
		return
	}
	s.complete()
}

// judgeReading looks at a command that only reads: it has not read what could not be.
func (s *scene) judgeReading(e ended, did outcome) {
	s.t.Helper()
	s.told(e, did)
	if e.code == 0 && did.fault.name == "EIO from there on" && did.hit(slowfs.Open, slowfs.Read) {
		s.t.Errorf("it says that all is well, and could not read")
	}
}

// judgeRestore looks at a restore: what it calls complete is so, and else what is
// there under its name is whole.
func (s *scene) judgeRestore(e ended, did outcome) {
	s.t.Helper()
	s.told(e, did)
	there := filepath.Join(s.mounts["target"].Below, "data")
	if e.code == 0 {
		capstantest.CompareTrees(s.t, s.data, there)
		return
	}
	if err := s.passOver(there); err != nil {
		s.t.Error(err)
	}
	wholeFiles(s.t, s.data, there)
}

// passOver takes away what is unfinished and says so by its name. It is left where
// nothing could be removed any more; TestKilled shows that the next restore sees to it.
func (s *scene) passOver(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".capstan-") && d.Type().IsRegular() {
			err = os.Remove(path)
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
}

// judgeVerify looks at a verification: of what it could not read it says so, and it
// does not call it verified.
func (s *scene) judgeVerify(e ended, did outcome) {
	s.t.Helper()
	s.told(e, did)
	if did.at != "one" || did.fault.name != "EIO from there on" {
		return
	}
	if e.code == 0 && did.hit(slowfs.Open, slowfs.Read, slowfs.Lookup, slowfs.Stat) {
		s.t.Errorf("it says that all is well, and could not read")
	}
	for _, a := range s.onlySet().Archives {
		for _, h := range did.hits {
			if filepath.Base(h.Path) == a.Name && h.Op == slowfs.Read && a.Copies[0].State == "verified" {
				s.t.Errorf("%s is verified, and could not be read", a.Name)
			}
		}
	}
}

// judgeForget looks at a forget: what it calls done is gone, and what is kept is whole.
func (s *scene) judgeForget(e ended, did outcome) {
	s.t.Helper()
	s.told(e, did)
	if e.code == 0 {
		if sets := s.sets(); len(sets) != 1 {
			s.t.Errorf("%d sets after forgetting all but one", len(sets))
		}
		for _, volume := range s.volumes {
			if found, err := filepath.Glob(filepath.Join(volume, "20*")); err != nil || len(found) != 1 {
				s.t.Errorf("on the volume: %q, %v", found, err)
			}
		}
	}
	s.honest()
}

// judgeRebuild looks at a rebuilt catalog: what it calls done is all there.
func (s *scene) judgeRebuild(e ended, did outcome) {
	s.t.Helper()
	s.told(e, did)
	if e.code == 0 {
		s.rebuilt()
	}
}

// rebuilt expects that the catalog knows the set, and that it comes back.
func (s *scene) rebuilt() {
	s.t.Helper()
	if set := s.onlySet(); set.Status != "complete" {
		s.t.Errorf("set %s is %s", set.Set, set.Status)
	}
	s.sound()
	s.comesBack()
}

// TestFaults has operations of home, stage, volumes and targets fail under the
// commands that use them. Nothing is called done that was not, what failed is named,
// and when the fault is gone the next call leaves all as it should be.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, of := range scenes() {
		for _, at := range of.places {
			if stride(t) == 0 {
				t.Run(name+"/"+at, func(t *testing.T) {
					t.Parallel()
					s := of.make()
					s.name = name
					s.begin(t)
					for _, f := range s.some(at) {
						t.Run(f.name, func(t *testing.T) { s.sweep(t, at, f) })
					}
				})
				continue
			}
			for _, f := range faultKinds() {
				if f.rare {
					continue // TestFaultsThatHang
				}
				t.Run(name+"/"+at+"/"+f.name, func(t *testing.T) {
					t.Parallel()
					s := of.make()
					s.name = name
					s.begin(t)
					s.sweep(t, at, f)
				})
			}
		}
	}
}

// some chooses the faults of the short form: all of them for backups, which use every
// place, and a few for what else uses it.
func (s *scene) some(at string) []fault {
	kinds := slices.DeleteFunc(faultKinds(), func(f fault) bool { return f.rare })
	if strings.HasPrefix(s.name, "backup") {
		return kinds
	}
	random := rand.New(rand.NewPCG(*faultSeed, uint64(len(s.name)*10+len(at))))
	random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	return first(kinds, 3)
}

// hangingTogether is how many commands hang at the same time: each does so for as
// long as a run has that was told to end.
const hangingTogether = 24

// TestFaultsThatHang has an operation never come to its end: the command says so,
// gives up, and ends as far as the system lets it.
func TestFaultsThatHang(t *testing.T) {
	t.Parallel()
	type hanging struct {
		s *scene
		f faulted
	}
	random := rand.New(rand.NewPCG(*faultSeed, 1))
	kinds := faultKinds()
	hang := kinds[len(kinds)-1]
	all := scenes()
	var points []func(t *testing.T) hanging
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, at := range all[name].places {
			begun := func(t *testing.T) *scene {
				t.Helper()
				s := all[name].make()
				s.name = name
				s.begin(t)
				return s
			}
			if short := strings.HasPrefix(name, "backup") || at == "target"; stride(t) == 0 && !short {
				continue
			}
			for _, point := range begun(t).sample(at, hang, random) {
				points = append(points, func(t *testing.T) hanging {
					s := begun(t)
					return hanging{s, s.launch(point)}
				})
			}
		}
	}
	chunk := 0
	for together := range slices.Chunk(points, hangingTogether) {
		chunk++
		t.Run(fmt.Sprint(chunk), func(t *testing.T) { // of its own, since its places would fill a disk in the end
			var running []hanging
			for _, launch := range together {
				running = append(running, launch(t))
			}
			for _, h := range running {
				t.Run(fmt.Sprintf("%s/%s", h.s.name, h.f.faultPoint), func(t *testing.T) {
					h.s.t, h.f.program.t = t, t
					h.s.conclude(h.f)
				})
			}
		})
	}
}
