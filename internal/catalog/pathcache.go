package catalog

// pathIDs remembers the ids of directories by path, within a bound of bytes. It
// forgets all when it is full, which costs a few look-ups.
type pathIDs struct {
	ids   map[string]int64
	bytes int
}

const (
	pathIDsBytes = 4 << 20
	pathIDsEach  = 64 // what the map needs for an entry, about
)

func newPathIDs() *pathIDs { return &pathIDs{ids: map[string]int64{}} }

func (p *pathIDs) get(path []byte) (int64, bool) {
	id, ok := p.ids[string(path)]
	return id, ok
}

func (p *pathIDs) put(path string, id int64) {
	cost := len(path) + pathIDsEach
	if p.bytes+cost > pathIDsBytes {
		p.reset()
	}
	if _, known := p.ids[path]; !known {
		p.bytes += cost
	}
	p.ids[path] = id
}

func (p *pathIDs) reset() {
	clear(p.ids)
	p.bytes = 0
}
