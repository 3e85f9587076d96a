package catalog

import (
	"context"
	"fmt"
	"sync"

	"capstan"
)

// origin is what many entries share: who owns them and the device they lie on.
type origin struct {
	uid, gid    uint32
	user, group string
	dev         uint64
}

func originOf(e *capstan.Entry) origin {
	return origin{e.UID, e.GID, e.User, e.Group, e.Dev}
}

// originCache keeps origins by their number. Rows of origins never change.
type originCache struct {
	mu sync.RWMutex
	by map[int64]origin
}

// maxOrigins bounds the cache; beyond it, it starts anew.
const maxOrigins = 1 << 16

func (c *Catalog) origin(ctx context.Context, from queries, no int64) (origin, error) {
	c.origins.mu.RLock()
	o, ok := c.origins.by[no]
	c.origins.mu.RUnlock()
	if ok {
		return o, nil
	}
	var user, group []byte
	var dev int64
	found, err := one(ctx, from, sqlOrigin, with(no), &o.uid, &o.gid, &user, &group, &dev)
	if err != nil {
		return o, err
	}
	if !found {
		return o, fmt.Errorf("owner %d of an entry is not in the catalog: %w", no, capstan.ErrDamaged)
	}
	o.user, o.group, o.dev = string(user), string(group), uint64(dev)
	c.origins.mu.Lock()
	if c.origins.by == nil || len(c.origins.by) >= maxOrigins {
		c.origins.by = map[int64]origin{}
	}
	c.origins.by[no] = o
	c.origins.mu.Unlock()
	return o, nil
}

// originNo gives the number of an origin, which it records if it is new.
func (t *tx) originNo(o origin) (no int64, err error) {
	args := with(int64(o.uid), int64(o.gid), []byte(o.user), []byte(o.group), int64(o.dev))
	found, err := t.one(sqlFindOrigin, args, &no)
	if err != nil || found {
		return no, err
	}
	if _, err := t.one(sqlNextOrigin, nil, &no); err != nil {
		return 0, err
	}
	_, err = t.exec(sqlInsertOrigin, append(with(no), args...)...)
	return no, err
}
