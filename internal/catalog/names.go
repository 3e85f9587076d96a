package catalog

import (
	"context"
	"fmt"

	"capstan"
)

// names tells the paths of directories by their ids. One goroutine uses it.
type names struct {
	v     *view
	paths map[int64]string
	bytes int // of what is remembered
}

const namesBytes = 2 << 20

func (v *view) names() *names { return &names{v: v, paths: map[int64]string{}} }

// path gives the path of a directory. Parents have lower ids than their
// children, which also ends the way up in a damaged catalog.
func (n *names) path(ctx context.Context, id int64) (string, error) {
	if id == rootDir {
		return "", nil
	}
	if path, ok := n.paths[id]; ok {
		return path, nil
	}
	var parent int64
	var name []byte
	found, err := one(ctx, n.v.c.reads, sqlDir, with(n.v.no, id), &parent, &name)
	if err != nil {
		return "", err
	}
	if !found || parent >= id {
		return "", fmt.Errorf("directory %d of set %s is not in the catalog: %w", id, n.v.set, capstan.ErrDamaged)
	}
	above, err := n.path(ctx, parent)
	if err != nil {
		return "", err
	}
	path := capstan.JoinPath(above, string(name))
	if n.bytes += len(path) + pathIDsEach; n.bytes > namesBytes {
		clear(n.paths)
		n.bytes = len(path) + pathIDsEach
	}
	n.paths[id] = path
	return path, nil
}

// entry reads one entry by its key; found is false for one that may not be seen,
// that is gone meanwhile, or that stands for no entry of its own.
func (n *names) entry(ctx context.Context, k key) (entry capstan.Entry, found bool, err error) {
	rows, _, err := n.v.rows(ctx, sqlEntry, n.v.no, k.dir, []byte(k.name))
	if err != nil || len(rows) == 0 || rows[0].implicit() {
		return entry, false, err
	}
	above, err := n.path(ctx, k.dir)
	if err != nil {
		return entry, false, err
	}
	entry = rows[0].entry
	entry.Path = capstan.JoinPath(above, k.name)
	return entry, true, nil
}
