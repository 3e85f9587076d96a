package stage

import (
	"fmt"

	"capstan"
)

// Lines says for people what was found, a line for each kind of thing and one
// for each orphan; none if the stage was empty and in order.
func (r Report) Lines() []string {
	var lines []string
	add := func(files []Found, text string) {
		if len(files) == 0 {
			return
		}
		var size capstan.Bytes
		for _, file := range files {
			size += capstan.Bytes(file.Size)
		}
		lines = append(lines, fmt.Sprintf("stage: %d %s, %s", len(files), text, size))
	}
	add(r.Kept, "sealed archives wait for their volumes")
	add(r.Leftovers, "unfinished files of runs that were killed removed")
	for _, file := range r.Left {
		lines = append(lines, fmt.Sprintf("stage: %s of set %s is not in the catalog, %s: left where it is", file.Name, file.Set, capstan.Bytes(file.Size)))
	}
	for _, file := range r.Aside {
		lines = append(lines, fmt.Sprintf("stage: %s of set %s is not in the catalog, %s: moved to %s", file.Name, file.Set, capstan.Bytes(file.Size), file.To))
	}
	for _, file := range r.Discarded {
		lines = append(lines, fmt.Sprintf("stage: %s of set %s was not in the catalog, %s: removed", file.Name, file.Set, capstan.Bytes(file.Size)))
	}
	for _, set := range r.Busy {
		lines = append(lines, fmt.Sprintf("stage: set %s is being worked on by another process", set))
	}
	for _, path := range r.Foreign {
		lines = append(lines, fmt.Sprintf("stage: %s is not of the stage: left alone, and its size counts", path))
	}
	if u := r.Usage; u.Used > u.Quota {
		lines = append(lines, fmt.Sprintf("stage: %s are in it, more than its size of %s: nothing new is packed until volumes have taken %s", u.Used, u.Quota, u.Used-u.Quota))
	}
	return lines
}
