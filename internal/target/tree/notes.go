package tree

import (
	"fmt"
	"sync"
)

// maxNotes bounds what a target that keeps nothing can make us remember.
const maxNotes = 64

// notes collects what is said once instead of for every entry.
type notes struct {
	mu    sync.Mutex
	index map[string]int
	list  []note
	more  int
}

type note struct {
	text  string
	first string
	count int
}

// add counts a note about an entry; equal texts are one note.
func (n *notes) add(path, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i, ok := n.index[text]; ok {
		n.list[i].count++
		return
	}
	if len(n.list) == maxNotes {
		n.more++
		return
	}
	if n.index == nil {
		n.index = make(map[string]int)
	}
	n.index[text] = len(n.list)
	n.list = append(n.list, note{text: text, first: path, count: 1})
}

// lines gives each note with the number of entries and the first of them.
func (n *notes) lines() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var lines []string
	for _, note := range n.list {
		unit := "entries"
		if note.count == 1 {
			unit = "entry"
		}
		lines = append(lines, fmt.Sprintf("%s (%d %s, first %s)", note.text, note.count, unit, quote(note.first)))
	}
	if n.more > 0 {
		lines = append(lines, fmt.Sprintf("%d further notes are not listed", n.more))
	}
	return lines
}
