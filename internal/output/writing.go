package output

// piece is what one write puts out: some lines or one delivery, with the repainting
// of the progress view around it.
type piece struct {
	bytes []byte
	items []item
	ends  []int // of the items, in bytes
	paint bool  // the screen is repainted
}

// run is the only place that writes to l.w.
func (l *Lossy) run() {
	defer close(l.done)
	for {
		columns, rows := 0, 0
		if l.size != nil {
			columns, rows = l.size()
		}
		l.mu.Lock()
		ok := !l.left && l.next(columns, rows)
		bytes, end := l.flying.bytes, l.left || (l.closing && !ok)
		l.mu.Unlock()
		switch {
		case end:
			return
		case !ok:
			<-l.wake // Close signals too
			continue
		}
		var n int
		var err error
		if len(bytes) > 0 {
			n, err = l.w.Write(bytes)
		}
		l.settle(n, err)
	}
}

// next composes in l.flying what is to be written; l.mu is held.
func (l *Lossy) next(columns, rows int) bool {
	if len(l.queue) == 0 && !l.failing {
		l.say() // the reader is back
	}
	if len(l.queue) == 0 && !l.screen.stale {
		return false
	}
	p := piece{paint: l.screen.shows() || l.screen.stale}
	if len(l.queue) > 0 && l.queue[0].must != nil && !p.paint && !l.torn {
		// A long list is not copied once more.
		p.bytes, p.items, p.ends = l.queue[0].text, []item{l.queue[0]}, []int{len(l.queue[0].text)}
		l.flying, l.queue = p, l.queue[1:]
		return true
	}
	if l.torn {
		p.bytes = append(p.bytes, '\n')
	}
	p.bytes = l.screen.erase(p.bytes, columns)
	for i, x := range l.queue {
		if i > 0 && (x.must != nil || p.items[0].must != nil || len(p.bytes)+len(x.text) > pieceSize) {
			break
		}
		p.bytes = append(p.bytes, x.text...)
		p.items = append(p.items, x)
		p.ends = append(p.ends, len(p.bytes))
		if x.must == nil {
			l.held -= len(x.text) + lineCost
		}
	}
	l.queue = l.queue[len(p.items):]
	if len(l.queue) == 0 {
		l.queue = nil // gives the memory of what is written back
	}
	if p.paint {
		p.bytes = l.screen.draw(p.bytes, columns, rows)
	}
	l.flying = p
	return true
}

// settle books what became of a write.
func (l *Lossy) settle(n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left {
		return // abandon has booked it
	}
	p := l.flying
	l.flying = piece{}
	l.failing, l.torn = err != nil, false
	if err != nil {
		l.err = err
		l.torn = n > 0 && n < len(p.bytes) && p.bytes[n-1] != '\n'
		if p.paint {
			l.screen.lost()
		}
	}
	l.finish(p.items, func(i int) bool { return err == nil || n >= p.ends[i] }, err)
}
