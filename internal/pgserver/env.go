package pgserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/pg"
	"capstan/internal/progress"
)

// Env is what the acts on servers need from the rest of the program.
type Env struct {
	FS      disk.FS
	Home    string            // directory of this installation's state; the journal lies in its pg/
	Tracker *progress.Tracker // where waits are declared; nil: nowhere
	Say     func(format string, args ...any)
	Warn    func(format string, args ...any)
	// Audit writes a line of the audit log. That it fails is warned of and stops
	// nothing: a server that is half stopped must not wait for a catalog.
	Audit func(ctx context.Context, action, object, detail string) error
	// Step is called before every step that changes something, with its name. Tests
	// kill the process there; nil otherwise.
	Step func(name string)
}

// filled gives the Env with silence where nothing was set.
func (e Env) filled() Env {
	silent := func(string, ...any) {}
	if e.Say == nil {
		e.Say = silent
	}
	if e.Warn == nil {
		e.Warn = silent
	}
	if e.Audit == nil {
		e.Audit = func(context.Context, string, string, string) error { return nil }
	}
	if e.Step == nil {
		e.Step = func(string) {}
	}
	if e.Tracker == nil {
		e.Tracker = progress.New(nil)
	}
	return e
}

// auditPatience is how long an audit line may take: the catalog may be held by a
// backup.
const auditPatience = 5 * time.Second

// did tells people and the audit log what was done. It is called after the act, and
// also when the act's context has ended since.
func (e Env) did(ctx context.Context, cluster *pg.Cluster, format string, args ...any) {
	detail := fmt.Sprintf(format, args...)
	e.Say("%s", detail)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditPatience)
	defer cancel()
	if err := e.Audit(ctx, "pg stop", cluster.Dir, detail); err != nil {
		e.Warn("the audit log has no line of this: %v", err)
	}
}

// refused is an act that was not done for safety.
func refused(op, object string, err error, next string) error {
	return &capstan.Error{Class: capstan.ErrRefused, Op: op, Object: object, Err: err, Safe: "nothing was touched", Next: next}
}

// gone reports that what was acted upon is not there any more, which is as good as
// the act.
func gone(err error) bool { return errors.Is(err, pg.ErrGone) }
