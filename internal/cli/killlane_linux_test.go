package cli_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"capstan/internal/capstantest"
	"capstan/internal/capstantest/slowfs"
)

// killLane is a place in which runs are killed one after the other. All of it lies on
// a filesystem in memory, since a kill loses nothing that was written: here nothing
// waits for a disk. A slow filesystem shows it beside; the killed process alone sees
// the one directory in which the point is through that.
type killLane struct {
	*field
	name       string
	staged     bool
	encrypted  bool
	key        string // file of the secret key, where encrypted
	random     *rand.Rand
	count      *killCount
	root, held string // the lane, and what the slow filesystem shows of it
	mount      *slowfs.Mount
	homes      int // so many were begun
	changes    int // of the tree
	rounds     int // in this home
	backup     []string
	bag        []string          // points that are still to come, before all begin again
	spots      map[string][]spot // of each point, those that are still to come
	most       map[spot]int      // operations that a run does of a spot, as far as was seen
	known      map[string]string // what was acknowledged, by set: all its entries
	killed     []string          // in this home, for who wants to know how it came about
}

const (
	// roundsInHome is after how many rounds a lane begins anew with an empty home.
	roundsInHome = 40
	// patienceForSpots is how often in a row a run may end before it comes to the point.
	patienceForSpots = 100
)

// open mounts the lane's filesystems.
func (l *killLane) open() {
	l.t.Helper()
	base := l.t.TempDir()
	l.root, l.held = filepath.Join(base, "lane"), filepath.Join(base, "held")
	mountTmpfs(l.t, l.root, "size=3g")
	if l.encrypted {
		l.key, _ = newKey(l.t)
	}
	l.mount = slowfs.Start(l.t, l.root, l.held)
	l.slow = append(l.slow, l.mount)
	l.most = map[spot]int{}
	for point, spots := range spotsOf(l.staged) {
		for _, s := range spots {
			l.count.know(point, s)
		}
	}
}

// begin begins with an empty home, beside which the tree stays as it is.
func (l *killLane) begin() {
	l.t.Helper()
	if l.dir != "" {
		capstantest.RemoveAll(l.t, l.dir)
	}
	l.homes++
	l.dir = filepath.Join(l.root, fmt.Sprintf("place-%d", l.homes))
	l.data = filepath.Join(l.root, "data")
	if err := os.Mkdir(l.dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	for _, place := range l.places() {
		if err := os.Mkdir(filepath.Join(l.dir, place), 0o755); err != nil {
			l.t.Fatal(err)
		}
	}
	l.vol, l.known, l.rounds = filepath.Join(l.dir, "one"), map[string]string{}, 0
	l.killed = nil
	l.backup = []string{"backup", l.data, "--to", l.vol, "--archive-size", "1MiB", "--json"}
	if l.staged {
		l.backup = append(l.backup, "--to", filepath.Join(l.dir, "two"), "--stage", filepath.Join(l.dir, "stage"))
	}
	if l.encrypted {
		l.backup = append(l.backup, "--encrypt-to", publicKey(l.t, l.key))
	}
}

// places are the directories in which operations are held.
func (l *killLane) places() []string {
	if l.staged {
		return []string{"home", "one", "two", "stage", "target"}
	}
	return []string{"home", "one", "target"}
}

// play kills so many times, at each point nearly equally often.
func (l *killLane) play(kills int) {
	l.t.Helper()
	for n := 0; n < kills && !l.t.Failed(); n++ {
		if len(l.bag) == 0 {
			l.bag = slices.Clone(killPoints)
			l.random.Shuffle(len(l.bag), func(i, j int) { l.bag[i], l.bag[j] = l.bag[j], l.bag[i] })
		}
		point := l.bag[0]
		l.bag = l.bag[1:]
		l.killAt(point)
	}
	if l.t.Failed() {
		l.t.Logf("killed in this home:\n%s", strings.Join(l.killed, "\n"))
		return
	}
	for _, point := range killPoints {
		if l.count.at(l.name, point) == 0 && kills >= len(killPoints) {
			l.t.Errorf("no kill at the point: %s", point)
		}
	}
}

// killAt plays one round: a command is killed at an operation of the point, and
// everything is well again.
func (l *killLane) killAt(point string) {
	l.t.Helper()
	for range patienceForSpots {
		if len(l.spots[point]) == 0 {
			if l.spots == nil {
				l.spots = map[string][]spot{}
			}
			spots := spotsOf(l.staged)[point]
			l.random.Shuffle(len(spots), func(i, j int) { spots[i], spots[j] = spots[j], spots[i] })
			l.spots[point] = spots
		}
		s := l.spots[point][0]
		if l.dir == "" || s.by == theFirst || l.rounds >= roundsInHome {
			l.begin()
		}
		l.rounds++
		killed := l.round(point, s)
		if l.most[s] == 0 || killed || l.t.Failed() {
			l.spots[point] = l.spots[point][1:] // met, or never met at all
		}
		if killed || l.t.Failed() {
			return
		}
	}
	l.t.Errorf("%d times in a row the program did not come to the point: %s", patienceForSpots, point)
}

// kill starts the program and kills it at an operation of the spot. It is false if
// the program ended before that; then that is its end.
func (l *killLane) kill(s spot, args []string) (killed bool, e ended) {
	l.t.Helper()
	if _, ok := l.most[s]; !ok {
		l.most[s] = s.most
	}
	rule := slowfs.Rule{Op: s.op, Name: s.names, After: l.random.IntN(max(l.most[s], 1)), Late: s.late}
	killed, e = l.killedAt(l.mount, rule, l.through(s.place), args...)
	if killed {
		l.killed = append(l.killed, fmt.Sprintf("%s, no. %d", s, rule.After+1))
	} else {
		l.most[s] = rule.After
	}
	return killed, e
}

// through starts a process which sees a place as the slow filesystem shows it.
func (l *killLane) through(place string) func(*exec.Cmd) error {
	return seeing(filepath.Join(l.held, filepath.Base(l.dir), place), filepath.Join(l.dir, place))
}

// draw gives another spot of a command, of any point.
func (l *killLane) draw(by command) (point string, s spot) {
	all := spotsOf(l.staged)
	for {
		point = killPoints[l.random.IntN(len(killPoints))]
		spots := slices.DeleteFunc(all[point], func(s spot) bool { return s.by != by })
		if len(spots) > 0 {
			return point, spots[l.random.IntN(len(spots))]
		}
	}
}
