package cli_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"capstan/internal/capstantest"
	"capstan/internal/capstantest/powerloss"
)

// acknowledged gives the sets that were said to be complete within the first n
// records, by step.
func (s *outage) acknowledged(n int) map[int]string {
	sets := map[int]string{}
	for i := range s.steps {
		for line := range strings.Lines(string(s.log.Content(n, saidBy(i)))) {
			var last summary
			if json.Unmarshal([]byte(line), &last) == nil && last.Type == "summary" {
				sets[i] = last.Set
			}
		}
	}
	return sets
}

// begun is the step that was under way after n records; -1 before the first.
func (s *outage) begun(n int) int {
	step := -1
	for i := range s.steps {
		if s.log.Content(n, saidBy(i)) != nil {
			step = i
		}
	}
	return step
}

// promised gives the sets that have to restore after a loss of power, with the trees
// that they are of, and those that must not be there any more.
func (s *outage) promised(n int) (trees map[string]string, gone []string) {
	sets, trees := s.acknowledged(n), map[string]string{}
	for i, set := range sets {
		if set != "" {
			trees[set] = filepath.Join(s.base, fmt.Sprintf("was%d", i))
		}
	}
	if now := s.begun(n); now >= 0 && s.steps[now].keeps != nil {
		_, done := sets[now]
		for i, set := range sets {
			if set == "" || slices.Contains(s.steps[now].keeps, i) {
				continue
			}
			delete(trees, set)
			if done {
				gone = append(gone, set)
			}
		}
	}
	return trees, gone
}

// comeBack makes the image of a loss of power and starts the program in it. It gives
// what is not as it should be.
func (s *outage) comeBack(n int, fate powerloss.Fate) (image *powerloss.Image, problems []string) {
	s.t.Helper()
	image, err := s.log.Cut(n, fate)
	if err != nil {
		s.t.Fatal(err)
	}
	back := filepath.Join(s.base, "back")
	for _, dir := range []string{s.dir, back} {
		if err := os.RemoveAll(dir); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := image.Write(s.dir); err != nil {
		s.t.Fatal(err)
	}
	trees, gone := s.promised(n)
	r := &comeback{outage: s, trees: trees, gone: gone, back: back}
	if len(trees) > 0 || fate.Seed%2 == 0 { // a backup must recover by itself, too
		r.goes("catalog", "check")
		if !s.steps[max(s.begun(n), 0)].is("key") { // a rotation notes in the catalog what a file becomes before it is that
			r.truthful()
		}
	}
	for _, args := range s.again(n) {
		r.last = r.goes(args...)
	}
	if len(r.problems) == 0 {
		r.inspect()
	}
	return image, r.problems
}

// again are the commands that a person gives who sees that the machine has started
// anew: the one that was under way, and a backup.
func (s *outage) again(n int) (commands [][]string) {
	now := max(s.begun(n), 0)
	if !s.steps[now].is("backup") {
		commands = append(commands, s.steps[now].args)
		now--
	}
	return append(commands, s.steps[now].args)
}

// comeback is a return from a loss of power.
type comeback struct {
	*outage
	trees    map[string]string
	gone     []string
	back     string
	last     string // what the last command said
	problems []string
}

func (r *comeback) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// goes expects that a command ends well.
func (r *comeback) goes(args ...string) (out string) {
	e := r.try(args...)
	if e.code != 0 {
		lines := strings.SplitAfter(e.out, "\n")
		r.problem("capstan %s: exit %d\n%s%s", strings.Join(args, " "), e.code, strings.Join(lines[max(0, len(lines)-3):], ""), e.err)
	}
	return e.out
}

// inspect looks at all that has to be true now.
func (r *comeback) inspect() {
	lines := slices.Collect(strings.Lines(r.last))
	var last summary
	if len(lines) == 0 || json.Unmarshal([]byte(lines[len(lines)-1]), &last) != nil || last.Status != "complete" {
		r.problem("the backup ends with %q", lines[max(0, len(lines)-1):])
		return
	}
	r.trees[last.Set] = r.data
	r.goes(append([]string{"verify", "--read-data"}, r.open...)...)
	for i, set := range slices.Sorted(maps.Keys(r.trees)) {
		target := filepath.Join(r.back, fmt.Sprint(i))
		r.goes(append([]string{"restore", set, "--to", target}, r.open...)...)
		differences, err := capstantest.Diff(r.trees[set], filepath.Join(target, "data"))
		if err != nil || len(differences) > 0 {
			r.problem("set %s does not restore: %v %s", set, err, strings.Join(differences, "\n\t"))
		}
	}
	r.goes("catalog", "check")
	r.nothingElse()
}

// exportedLine is a line of `catalog export`.
type exportedLine struct {
	Type     string `json:"type"`
	Set      string `json:"set"`
	Status   string `json:"status"`
	Archive  int    `json:"archive"`
	Name     string `json:"name"`
	SHA256   string `json:"sha256"`
	State    string `json:"state"`
	Volume   string `json:"volume"`
	ID       string `json:"id"` // of a volume
	Location string `json:"location"`
}

func (r *comeback) export() (lines []exportedLine) {
	for line := range strings.Lines(r.goes("catalog", "export")) {
		var e exportedLine
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			r.problem("%v in %s", err, line)
		}
		lines = append(lines, e)
	}
	return lines
}

// truthful expects that every copy which the catalog calls written is on its volume,
// every byte of it, also of a set that is not complete: its archive has left the
// stage.
func (r *comeback) truthful() {
	archives, locations := map[string]exportedLine{}, map[string]string{}
	lines := r.export()
	for _, e := range lines {
		switch e.Type {
		case "volume":
			locations[e.ID] = e.Location
		case "archive":
			archives[fmt.Sprint(e.Set, e.Archive)] = e
		}
	}
	for _, e := range lines {
		if e.Type != "copy" || e.State != "written" && e.State != "verified" {
			continue
		}
		a := archives[fmt.Sprint(e.Set, e.Archive)]
		data, err := os.ReadFile(filepath.Join(locations[e.Volume], e.Set, a.Name))
		if sum := fmt.Sprintf("%x", sha256.Sum256(data)); err != nil || sum != a.SHA256 {
			r.problem("%s is %s on %s, and is not there as it was written: %d bytes, %v", a.Name, e.State, locations[e.Volume], len(data), err)
		}
	}
}

// nothingElse expects that volumes, stage and home hold what the catalog knows, all
// of it and no more, but for a marker or a key that was being made: it stays beside
// the one that was made then.
func (r *comeback) nothingElse() {
	want := map[string]bool{"capstan-volume.json": true}
	copies := map[string]int{}
	for _, e := range r.export() {
		switch e.Type {
		case "set":
			if slices.Contains(r.gone, e.Set) || e.Status != "complete" {
				r.problem("set %s is there, %s", e.Set, e.Status)
			}
			want[e.Set] = true
			for _, name := range []string{".capstan-owner.json", "RESTORE.txt", "SHA256SUMS", "SHA256SUMS.sig"} {
				want[e.Set+"/"+name] = true
			}
			sealed := []string{"catalog.sqlite", "manifest.json.zst"}
			if r.open != nil {
				sealed = []string{"catalog.sqlite.age", "manifest.json.zst.age", "RESTORE.txt.age"}
			}
			for _, name := range sealed {
				want[e.Set+"/"+name] = true
			}
		case "archive":
			want[e.Set+"/"+e.Name] = true
			copies[fmt.Sprint(e.Set, e.Archive)] += 0
		case "copy":
			if e.State == "written" || e.State == "verified" {
				copies[fmt.Sprint(e.Set, e.Archive)]++
			}
		}
	}
	for of, n := range copies {
		if n != len(r.volumes) {
			r.problem("%d copies of %s", n, of)
		}
	}
	for _, volume := range r.volumes {
		found := everything(r.t, volume)
		for _, path := range found {
			if base := filepath.Base(path); !want[path] && base != "DELETED" && base != "DELETED.age" && !strings.HasPrefix(path, ".capstan-volume.json.") {
				r.problem("on %s and unknown: %s", volume, path)
			}
		}
		for path := range want {
			if !slices.Contains(found, path) {
				r.problem("not on %s: %s", volume, path)
			}
		}
	}
	r.homeAndStage()
}

func (r *comeback) homeAndStage() {
	if len(r.volumes) > 1 {
		for _, path := range everything(r.t, r.stage()) {
			if !slices.Contains([]string{"capstan-stage.json", "final", "temp", "ledger", "ledger/lock"}, path) && !strings.HasPrefix(path, ".capstan-stage.json.") {
				r.problem("left in the stage: %s", path)
			}
		}
	}
	for _, path := range everything(r.t, filepath.Join(r.dir, "home")) {
		if !strings.HasPrefix(path, "catalog.db") && path != "locks" && filepath.Dir(path) != "locks" && path != "signing-key.pem" && !strings.HasPrefix(path, ".signing-key.pem.") {
			r.problem("left in the home: %s", path)
		}
	}
}
