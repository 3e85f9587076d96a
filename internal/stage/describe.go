package stage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"capstan"
)

// maxNamed bounds how many sets or processes a message names.
const maxNamed = 4

// share is how much of the stage somebody has.
type share struct {
	who   string
	size  capstan.Bytes
	files int
}

// describe says for people why a demand is not granted yet: what is free, and
// who has the rest.
func (v *survey) describe(d *demand, s *Stage, ahead int) string {
	parts := []string{fmt.Sprintf("%s more for %s; %s of %s are free in stage %s",
		d.least, d.what, max(s.quota-v.used(), 0), s.quota, s.path)}
	if room := v.room(); room < s.quota-v.used() {
		parts = append(parts, s.filesystemSays(v.space.Free, v.unwritten))
	}
	parts = append(parts, v.holders()...)
	if ahead > 0 {
		parts = append(parts, fmt.Sprintf("%d requests are before it", ahead))
	}
	return strings.Join(parts, "; ")
}

// filesystemSays tells how much the filesystem has left for new requests.
func (s *Stage) filesystemSays(free, unwritten capstan.Bytes) string {
	text := fmt.Sprintf("its filesystem has %s free", free)
	var less []string
	if s.reserve > 0 {
		less = append(less, fmt.Sprintf("%s are kept in reserve", s.reserve))
	}
	if unwritten > 0 {
		less = append(less, fmt.Sprintf("%s are promised already", unwritten))
	}
	if len(less) > 0 {
		text += ", of which " + strings.Join(less, " and ")
	}
	return text
}

// holders tells who has the stage's room, the largest first.
func (v *survey) holders() (parts []string) {
	if v.sealed > 0 {
		parts = append(parts, fmt.Sprintf("%s are sealed and wait for their volumes: %s", v.sealed, list(v.sealedBySet())))
	}
	if v.held > 0 {
		var processes []share
		for _, r := range v.records {
			of := share{who: fmt.Sprintf("process %d", r.PID)}
			for _, h := range r.Holds {
				of.size += h.Bytes
			}
			if len(r.Holds) > 0 {
				processes = append(processes, of)
			}
		}
		parts = append(parts, fmt.Sprintf("%s are being written: %s", v.held, list(processes)))
	}
	if v.stray > 0 {
		parts = append(parts, fmt.Sprintf("%s are in files that belong to nobody", v.stray))
	}
	return parts
}

func (v *survey) sealedBySet() []share {
	sets := map[string]share{}
	for _, file := range v.final {
		of := sets[string(file.Set)]
		sets[string(file.Set)] = share{"set " + string(file.Set), of.size + capstan.Bytes(file.Size), of.files + 1}
	}
	return slices.Collect(maps.Values(sets))
}

// list names the largest shares and counts the rest.
func list(shares []share) string {
	slices.SortFunc(shares, func(a, b share) int {
		return cmp.Or(cmp.Compare(b.size, a.size), cmp.Compare(a.who, b.who))
	})
	var names []string
	for _, of := range shares[:min(len(shares), maxNamed)] {
		text := fmt.Sprintf("%s %s", of.who, of.size)
		if of.files > 0 {
			text += fmt.Sprintf(" in %d files", of.files)
		}
		names = append(names, text)
	}
	if more := len(shares) - maxNamed; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}
