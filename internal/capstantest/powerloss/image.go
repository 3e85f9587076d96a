package powerloss

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Mood is how a fate chooses among what was not synced.
type Mood string

// The moods.
const (
	None  Mood = "none"  // all of it is lost
	All   Mood = "all"   // nothing is lost: what a kill leaves
	Each  Mood = "each"  // one by one
	One   Mood = "one"   // of data: one operation of each file is lost, what came after it is not
	Order Mood = "order" // of names: the last operations of each directory are lost
)

// Fate decides about what was not synced.
type Fate struct {
	Seed  uint64
	Data  Mood // None, All, Each or One
	Names Mood // None, All, Each or Order
	Grown bool // files have the sizes that they would have had, whatever was lost of their bytes
	Noise bool // where they have grown without bytes, these are not zeros
}

// RandomFate draws a fate.
func RandomFate(random *rand.Rand) Fate {
	data, names := []Mood{None, All, Each, Each, One}, []Mood{None, All, Each, Order, Order}
	return Fate{
		Seed: random.Uint64(), Data: data[random.IntN(len(data))], Names: names[random.IntN(len(names))],
		Grown: random.IntN(2) == 0, Noise: random.IntN(2) == 0,
	}
}

// Image is what the filesystem holds when the power is back.
type Image struct {
	Lost  []string // operations that did not come through, in their order by file
	names names
	files map[uint64]*medium
}

// Cut gives the image of a loss of power after the first n records. The same log, n
// and fate give the same image.
func (l *Log) Cut(n int, fate Fate) (*Image, error) {
	random := rand.New(rand.NewPCG(fate.Seed, uint64(n)))
	for i, r := range l.Records[:n] {
		if r.Kind == Unknown || r.Node == 0 {
			return nil, fmt.Errorf("record %d (%s): %s is not modelled", i, r.Kind, r.In.Name)
		}
	}
	image := &Image{names: names{}, files: l.files(n)}
	for i, kept := range l.keptNames(n, fate.Names, random) {
		switch r := l.Records[i]; {
		case kept:
			image.names.apply(r)
		case r.isName():
			image.Lost = append(image.Lost, l.String(i)+": lost")
		}
	}
	for _, node := range slices.Sorted(maps.Keys(image.files)) {
		image.Lost = append(image.Lost, l.lose(image.files[node], fate, random)...)
	}
	return image, nil
}

// Write puts the image into an empty directory.
func (im *Image) Write(dir string) error {
	placed := map[uint64]string{}
	return im.writeDir(dir, Root, placed)
}

func (im *Image) writeDir(path string, node uint64, placed map[uint64]string) error {
	var errs []error
	for e, child := range im.names {
		if e.Dir != node {
			continue
		}
		at, f := filepath.Join(path, e.Name), im.files[child]
		before, twice := placed[child]
		placed[child] = at
		switch {
		case f == nil:
			errs = append(errs, fmt.Errorf("%s: nothing is known of it", at))
		case f.dir && twice: // its rename was kept and what had made it was not, or the other way
			errs = append(errs, fmt.Errorf("%s is also %s, and a directory", at, before))
		case f.dir:
			errs = append(errs, os.Mkdir(at, os.FileMode(f.mode&0o777)), im.writeDir(at, child, placed))
		case twice:
			errs = append(errs, os.Link(before, at))
		default:
			errs = append(errs, os.WriteFile(at, f.data, os.FileMode(f.mode&0o777)))
		}
	}
	return errors.Join(errs...)
}

// Tell gives at most n of the operations that were lost, the last ones.
func (im *Image) Tell(n int) string {
	text := im.Lost
	if len(text) > n {
		text = append([]string{fmt.Sprintf("… and %d more", len(text)-n)}, text[len(text)-n:]...)
	}
	return strings.Join(text, "\n")
}
