package output

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"capstan"
)

// Options configure a Printer.
type Options struct {
	Stdout     io.Writer           // nil: discarded; an *os.File may be a terminal
	Stderr     io.Writer           // the same
	JSON       bool                // results as objects, run events on stdout
	Quiet      bool                // no Info, no progress
	Verbose    bool                // Detail too
	NoProgress bool                // no progress
	LogFile    string              // messages are appended to it as well; empty means none
	Patience   time.Duration       // how long the end may wait for unread terminals; 0 means one second
	Getenv     func(string) string // for TERM and NO_COLOR; nil means os.Getenv
}

// Printer says what one command has to say. It is safe for concurrent use and must
// be closed, last of all.
type Printer struct {
	options  Options
	out, err *Lossy
	log      *Lossy // nil without log file
	logFile  *os.File
	outTTY   *terminal // nil if stdout is none
	errTTY   *terminal

	mu       sync.Mutex
	stop     func()        // ends the progress that is shown; nil if there is none
	patience time.Duration // what is left of it
}

// NewPrinter makes a printer; it fails only if the log file cannot be opened.
func NewPrinter(o Options) (*Printer, error) {
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	if o.Stderr == nil {
		o.Stderr = io.Discard
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	p := &Printer{options: o, patience: o.Patience, outTTY: terminalOf(o.Stdout, o.Getenv), errTTY: terminalOf(o.Stderr, o.Getenv)}
	if o.LogFile != "" {
		file, err := os.OpenFile(o.LogFile, os.O_WRONLY|os.O_APPEND|os.O_CREATE|openFlags, 0o640)
		if err != nil {
			return nil, &capstan.Error{Class: capstan.ErrUsage, Op: "open log file", Err: err}
		}
		p.logFile, p.log = file, NewLossy(file, LossyOptions{})
	}
	p.out = NewLossy(o.Stdout, LossyOptions{})
	var size func() (int, int)
	if p.errTTY != nil && p.errTTY.escapes {
		size = p.errTTY.size
	}
	p.err = NewLossy(o.Stderr, LossyOptions{Size: size})
	return p, nil
}

// Error says on stderr and in the log that something failed.
func (p *Printer) Error(format string, args ...any) { p.message("error", true, format, args...) }

// Warn says that something is not as it should be.
func (p *Printer) Warn(format string, args ...any) { p.message("warning", true, format, args...) }

// Info says what happens; not with Quiet.
func (p *Printer) Info(format string, args ...any) {
	p.message("", !p.options.Quiet, format, args...)
}

// Detail says more, with Verbose only.
func (p *Printer) Detail(format string, args ...any) {
	if p.options.Verbose {
		p.message("detail", !p.options.Quiet, format, args...)
	}
}

// message writes one line to stderr, if shown, and to the log. It never blocks.
func (p *Printer) message(level string, shown bool, format string, args ...any) {
	text := Clean(fmt.Sprintf(format, args...))
	if shown {
		line := text + "\n"
		if level == "error" || level == "warning" {
			line = level + ": " + line
		}
		_, _ = io.WriteString(p.err, line) // a Lossy never fails
	}
	if level == "" {
		level = "info"
	}
	p.logLine(level, text)
}

func (p *Printer) logLine(level, text string) {
	if p.log != nil {
		_, _ = fmt.Fprintf(p.log, "%s %-7s %s\n", time.Now().Format("2006-01-02T15:04:05.000Z07:00"), level, text) // a Lossy never fails
	}
}

// JSON reports whether results are to be printed as objects.
func (p *Printer) JSON() bool { return p.options.JSON }

// Event writes a run event as one line to stdout, lossy; only with JSON. A value
// that has no JSON form is told as a warning.
func (p *Printer) Event(v any) {
	if !p.options.JSON {
		return
	}
	line, err := json.Marshal(v)
	if err != nil {
		p.Warn("an event of type %T has no JSON form: %v", v, err)
		return
	}
	_, _ = p.out.Write(append(line, '\n')) // a Lossy never fails
}

// Dropped is the number of messages, events and log lines that nobody saw.
func (p *Printer) Dropped() int64 {
	n := p.out.Dropped() + p.err.Dropped()
	if p.log != nil {
		n += p.log.Dropped()
	}
	return n
}

// Summary ends the progress view and prints the outcome of a command on stdout,
// after all events and messages: object with JSON, else text, which may have several lines. On
// pipes and files it blocks until it is written or ctx ends, and fails if it cannot
// be written. On a terminal it waits only within the printer's patience and takes
// an unread terminal for no error.
func (p *Printer) Summary(ctx context.Context, text string, object any) error {
	p.endProgress()
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = Clean(line)
		p.logLine("summary", lines[i])
	}
	all := []byte(strings.Join(lines, "\n") + "\n")
	if p.options.JSON {
		line, err := json.Marshal(object)
		if err != nil {
			return fmt.Errorf("summary as JSON: %w", err)
		}
		all = append(line, '\n')
	}
	// Now the view is gone and all messages are out, or stderr is stuck or broken.
	_ = p.patiently(ctx, func(ctx context.Context) error { return p.err.Deliver(ctx, nil) })
	var err error
	if p.outTTY != nil {
		err = p.patiently(ctx, func(ctx context.Context) error { return p.out.Deliver(ctx, all) })
	} else {
		err = p.out.Deliver(ctx, all)
	}
	if err != nil && !errors.Is(err, ErrStuck) {
		return fmt.Errorf("write the summary to stdout: %w", err)
	}
	return nil
}

// patiently calls wait with a context that ends, with ErrStuck as its cause, when
// the patience is used up.
func (p *Printer) patiently(ctx context.Context, wait func(context.Context) error) error {
	p.mu.Lock()
	left := p.patience
	p.mu.Unlock()
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, left, ErrStuck)
	defer cancel()
	err := wait(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.patience = max(p.patience-time.Since(start), 0)
	return err
}

// Close ends the progress view, drains what was said and ends the printer's
// goroutines; it takes no longer than what is left of the patience, and a moment.
// The streams stay open. What it returns is for nobody's exit code: the log file's
// errors, or that a stream was stuck.
func (p *Printer) Close() error {
	p.endProgress()
	p.mu.Lock()
	const moment = 50 * time.Millisecond // for streams that are healthy
	left := max(p.patience, moment)
	p.mu.Unlock()
	streams := []*Lossy{p.out, p.err}
	if p.log != nil {
		streams = append(streams, p.log)
	}
	failures := make([]error, len(streams)+1)
	var group sync.WaitGroup
	for i, stream := range streams {
		group.Go(func() { failures[i] = stream.closeWithin(left) })
	}
	group.Wait()
	if p.logFile != nil && !errors.Is(failures[2], ErrStuck) {
		failures[3] = p.logFile.Close()
	}
	return errors.Join(failures...)
}
