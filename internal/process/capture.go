package process

// tail keeps the last bytes of a stream in bounded memory.
type tail struct {
	limit int
	buf   []byte
	cut   bool
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if n > t.limit {
		p, t.cut = p[n-t.limit:], true
	}
	t.buf = append(t.buf, p...)
	if len(t.buf) > 2*t.limit { // moved rarely, so a flood costs one copy
		t.buf = t.buf[:copy(t.buf, t.buf[len(t.buf)-t.limit:])]
		t.cut = true
	}
	return n, nil
}

// last is what is kept.
func (t *tail) last() (text []byte, cut bool) {
	if over := len(t.buf) - t.limit; over > 0 {
		return t.buf[over:], true
	}
	return t.buf, t.cut
}
