package machine

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
)

// Place is where a process stands.
type Place struct {
	Host    string // the machine's name, for people; may be empty
	Machine string // tells machines apart that bear one name
	Boot    string // of the machine; another one after every boot
	Space   string // where process numbers and the clock of the boot mean the same
	PID     int
	Started string // when the process started, as the system counts; tells processes of one number apart
}

// Here gives the place of the calling process.
func Here() (Place, error) {
	host, _ := os.Hostname() // only for people, and one part of Machine
	boot, err := bootID()
	if err != nil {
		return Place{}, fmt.Errorf("id of this boot: %w", err)
	}
	p := Place{Host: host, Machine: machineName(host, hardwareID()), Boot: boot, Space: space(), PID: os.Getpid()}
	state, started, err := look(p.PID)
	if err != nil || state != stateAlive {
		return Place{}, fmt.Errorf("start time of process %d: %w", p.PID, cmp.Or(err, os.ErrProcessDone))
	}
	p.Started = started
	return p, nil
}

// machineName joins a machine's name and the id of its installation, of which
// only a hash is told, as machine-id(5) asks.
func machineName(host, id string) string {
	if id == "" {
		return host
	}
	sum := sha256.Sum256([]byte("capstan " + id))
	return host + "/" + hex.EncodeToString(sum[:8])
}

// Relation is how far a stored place can be judged from the present one.
type Relation int

// The relations, from the nearest.
const (
	Beside  Relation = iota // same boot and space: its clock and its process can be looked at
	Before                  // an earlier boot of this machine: its processes are gone
	Foreign                 // another machine, or a container of this one: nothing is known
)

// Relation compares another place with this one.
func (p Place) Relation(other Place) Relation {
	switch {
	case p.Boot == other.Boot && p.Space == other.Space && (bootIsUnique || p.Machine == other.Machine):
		return Beside
	case p.Machine == other.Machine && p.Boot != other.Boot:
		return Before
	}
	return Foreign
}

// Alive reports whether the process of a place that is Beside the present one is
// still there. In doubt it is: a process that may not be looked at counts as
// alive.
func (p Place) Alive() bool {
	state, started, err := look(p.PID)
	switch {
	case state == stateGone:
		return false
	case err != nil || started == "" || p.Started == "":
		return true
	}
	return started == p.Started
}

func (p Place) String() string {
	if p.Host == "" {
		return fmt.Sprintf("process %d", p.PID)
	}
	return fmt.Sprintf("process %d on %s", p.PID, p.Host)
}

// processState is what look finds.
type processState int

const (
	stateAlive processState = iota
	stateGone
)
