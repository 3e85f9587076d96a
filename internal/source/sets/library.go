package sets

import (
	"context"
	"errors"
	"sync"

	"capstan"
	"capstan/internal/archive"
)

// Opened is an archive that can be read.
type Opened struct {
	Reader *archive.Reader
	// Close is called once, from any goroutine, when nothing reads it any more.
	Close func() error
}

// Open opens an archive of a set. It is called by one goroutine at a time.
type Open func(ctx context.Context, set capstan.SetID, number capstan.ArchiveNumber) (Opened, error)

// Library are the archives of a chain of sets, opened as they are needed and closed
// when they are passed, and their decoded frames. It may be used from several
// goroutines, and by several sources one after the other.
type Library struct {
	open   Open
	turn   chan struct{} // taken while an archive is opened
	frames *frames

	mu    sync.Mutex // guards the rest, and the fields of books
	books map[place]*book
	errs  []error // of closing
}

// place is an archive of a set.
type place struct {
	set    capstan.SetID
	number capstan.ArchiveNumber
}

// book is an archive on loan.
type book struct {
	Opened
	at      place
	readers int  // at work on it
	passed  bool // nothing more of it is wanted
}

// NewLibrary makes a library that has memory bytes of decoded frames at most, or two
// frames, if they are more; who needs another one waits until one is not in use. Of
// workers that read, so many decode at a time as there is room for.
func NewLibrary(open Open, memory capstan.Bytes, workers int) *Library {
	return &Library{open: open, turn: make(chan struct{}, 1), frames: newFrames(int64(memory), workers), books: map[place]*book{}}
}

// borrow gives an archive, which stays open until it was given back.
func (l *Library) borrow(ctx context.Context, at place) (*book, error) {
	if b := l.onLoan(at); b != nil {
		return b, nil
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if b := l.onLoan(at); b != nil { // opened meanwhile
		return b, nil
	}
	opened, err := l.open(ctx, at.set, at.number)
	if err != nil {
		return nil, err
	}
	b := &book{Opened: opened, at: at, readers: 1}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.books[at] = b
	return b, nil
}

// onLoan gives an archive that is open; nil if it is not.
func (l *Library) onLoan(at place) *book {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.books[at]
	if b != nil {
		b.readers++
	}
	return b
}

// giveBack ends a loan.
func (l *Library) giveBack(b *book) {
	l.mu.Lock()
	b.readers--
	over := l.over(b)
	l.mu.Unlock()
	l.close(over)
}

// pass says that reading has come to an archive: those before it in its set are closed
// as soon as nobody reads them. One that is wanted again is opened again.
func (l *Library) pass(at place) {
	var over []*book
	l.mu.Lock()
	for other, b := range l.books {
		if other.set == at.set && other.number < at.number {
			b.passed = true
			over = append(over, l.over(b)...)
		}
	}
	l.mu.Unlock()
	l.close(over)
}

// over takes a book out that nobody needs any more, and gives it.
func (l *Library) over(b *book) []*book {
	if !b.passed || b.readers > 0 {
		return nil
	}
	delete(l.books, b.at)
	return []*book{b}
}

func (l *Library) close(books []*book) {
	for _, b := range books {
		l.frames.drop(b)
		if err := b.Close(); err != nil {
			l.mu.Lock()
			l.errs = append(l.errs, err)
			l.mu.Unlock()
		}
	}
}

// Close closes what is open. Nothing may be reading; the error is what closing any
// archive has met.
func (l *Library) Close() error {
	var over []*book
	l.mu.Lock()
	for _, b := range l.books {
		b.passed, b.readers = true, 0
		over = append(over, l.over(b)...)
	}
	l.mu.Unlock()
	l.close(over)
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.errs...)
}
