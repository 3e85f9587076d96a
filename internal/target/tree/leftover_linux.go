package tree

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"capstan/internal/machine"
)

// tempPrefix begins every temporary name.
const tempPrefix = ".capstan-"

// tempMark is what all temporary names of a Tree begin with: where its process is,
// so that a later restore can tell whether it still lives, and a word of its own.
// Where the process cannot be told, nobody will judge it.
func tempMark() (mark string, here machine.Place) {
	random := make([]byte, 4)
	_, _ = rand.Read(random) // never fails, says crypto/rand
	word := hex.EncodeToString(random)
	at, err := machine.Here()
	if err != nil {
		return tempPrefix + word + "-", machine.Place{}
	}
	here = machine.Place{Machine: short(at.Machine), Boot: short(at.Boot), Space: short(at.Space), PID: at.PID, Started: at.Started}
	return tempPrefix + strings.Join([]string{here.Machine, here.Boot, here.Space, strconv.Itoa(here.PID), here.Started, word, ""}, "-"), here
}

// short stands for a text of any length in a file's name.
func short(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}

// abandoned reports whether a name is a temporary one of a restore whose process is
// gone. What another machine wrote is never judged.
func (t *Tree) abandoned(name string) bool {
	rest, ok := strings.CutPrefix(name, tempPrefix)
	parts := strings.Split(rest, "-")
	if !ok || len(parts) != 7 || t.here.PID == 0 {
		return false
	}
	pid, err := strconv.Atoi(parts[3])
	if err != nil || pid < 1 {
		return false
	}
	was := machine.Place{Machine: parts[0], Boot: parts[1], Space: parts[2], PID: pid, Started: parts[4]}
	switch t.here.Relation(was) {
	case machine.Before:
		return true
	case machine.Beside:
		return !was.Alive()
	case machine.Foreign:
	}
	return false
}

// occupied reports whether a directory holds anything.
func occupied(dir int) (found bool) {
	names(dir, func(string) bool {
		found = true
		return false
	})
	return found
}

// sweep removes what killed restores left in a directory that was there before this
// one. What cannot be looked at or removed stays: nothing depends on it.
func (t *Tree) sweep(dir int) {
	names(dir, func(name string) bool {
		if strings.HasPrefix(name, tempPrefix) && t.abandoned(name) {
			if err := unix.Unlinkat(dir, name, 0); err != nil {
				_ = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
			}
		}
		return true
	})
}

// names calls with the names in a directory, as far as they can be read, until it is
// told to stop.
func names(dir int, with func(name string) bool) {
	fd, err := openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	list := os.NewFile(uintptr(fd), "directory")
	defer func() { _ = list.Close() }() // it was read only
	for {
		names, err := list.Readdirnames(1024)
		for _, name := range names {
			if !with(name) {
				return
			}
		}
		if err != nil || len(names) == 0 {
			return
		}
	}
}
