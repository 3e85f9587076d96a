package catalog

import (
	"context"
	"sync"

	"capstan"
)

// baseline is a set as capstan.Baseline.
type baseline struct {
	c   *Catalog
	set capstan.SetID
	mu  sync.Mutex
	ids *pathIDs // of directories that were listed with their parent
}

// Baseline gives the held entries of a set to a scan. Without a set of that id,
// or when it is deleted meanwhile, Children fails with capstan.ErrNotFound.
func (c *Catalog) Baseline(set capstan.SetID) capstan.Baseline {
	return &baseline{c: c, set: set, ids: newPathIDs()}
}

// Children lists what capstan.Baseline says.
func (b *baseline) Children(ctx context.Context, dir, after string, n int) ([]capstan.Entry, error) {
	entries, err := b.children(ctx, dir, after, n)
	return entries, b.c.failed(ctx, "read the baseline "+string(b.set), err)
}

func (b *baseline) children(ctx context.Context, dir, after string, n int) ([]capstan.Entry, error) {
	v, err := b.c.view(ctx, b.set)
	if err != nil {
		return nil, err
	}
	entries := []capstan.Entry{}
	id, found, err := b.id(ctx, v, dir)
	if err != nil || !found {
		return entries, err
	}
	for more := true; more && len(entries) < n; {
		list, end, err := v.rows(ctx, sqlPage, v.no, id, []byte(after), walkPage)
		if err != nil {
			return nil, err
		}
		more, after = end.read == walkPage, end.name
		b.remember(dir, list)
		for i := range list {
			if e := &list[i].entry; e.Outcome.Held() && len(entries) < n {
				e.Path = capstan.JoinPath(dir, list[i].name)
				entries = append(entries, *e)
			}
		}
	}
	return entries, v.still(ctx)
}

// id finds a directory, at best without asking: a scan goes from parents to
// children. Ids of directories never change while their set is there.
func (b *baseline) id(ctx context.Context, v *view, dir string) (int64, bool, error) {
	b.mu.Lock()
	id, known := b.ids.get([]byte(dir))
	b.mu.Unlock()
	if known {
		return id, true, nil
	}
	return v.dir(ctx, dir)
}

func (b *baseline) remember(dir string, list []stored) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range list {
		if list[i].child != 0 {
			b.ids.put(capstan.JoinPath(dir, list[i].name), list[i].child)
		}
	}
}
