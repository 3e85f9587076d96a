package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/daemon"
)

// homeSilent is how long opening or closing the home may take before people are
// told, again and again: any call in it may hang in a filesystem that does not answer.
const homeSilent = 10 * time.Second

// leastHome is what opening and closing have however small the run's patience is:
// they move nothing that could be watched.
const leastHome = 20 * time.Second

var errHomeSilent = errors.New("the filesystem of the home does not answer")

// openHome opens the home, for no longer than a run may stand still. A call that
// hangs is left behind, and closes what it opens.
func (a *app) openHome(ctx context.Context, options daemon.Options) (*daemon.Daemon, error) {
	var opened *daemon.Daemon
	err := a.answered(ctx, "the home "+options.Home+" has not answered", func(leftBehind <-chan struct{}) error {
		d, err := daemon.Open(ctx, options)
		if err != nil {
			return err
		}
		select {
		case <-leftBehind:
			return d.Close()
		default:
			opened = d
			return nil
		}
	})
	switch {
	case errors.Is(err, errHomeSilent):
		return nil, &capstan.Error{
			Op: "open home", Object: options.Home, Err: fmt.Errorf("stalled: %w", err),
			Safe: "nothing was begun", Next: "look at the disk that it is on",
		}
	case err != nil:
		return nil, err
	}
	return opened, nil
}

// closeHome closes the home after the work. One that does not answer any more is
// left as it is, the sooner where the command was interrupted: all that was recorded is
// durable, and the next command reads it.
func (a *app) closeHome(ctx context.Context, d *daemon.Daemon) error {
	longer, stop := catalog.Outlive(ctx, leastHome)
	defer stop()
	err := a.answered(longer, "the home "+d.Home.Dir+" has not been closed", func(<-chan struct{}) error { return d.Close() })
	if errors.Is(err, errHomeSilent) || err != nil && longer.Err() != nil && errors.Is(err, context.Cause(longer)) {
		a.printer.Warn("stalled: the home %s could not be closed: %v; safe: what was recorded stands; next: look at the disk that it is on", d.Home.Dir, err)
		return nil
	}
	return err
}

// answered waits for work until ctx ends, or it has taken longer than a run may stand still;
// then leftBehind is closed, and work may go on by itself. Between, people are told.
func (a *app) answered(ctx context.Context, silent string, work func(leftBehind <-chan struct{}) error) error {
	left := make(chan struct{})
	result := make(chan error, 1)
	go func() { result <- work(left) }()
	var limit <-chan time.Time
	patience := max(a.stallFail, leastHome)
	if a.stallFail > 0 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		limit = timer.C
	}
	ticker := time.NewTicker(homeSilent)
	defer ticker.Stop()
	began := time.Now()
	for {
		select {
		case err := <-result:
			return err
		case <-ctx.Done():
			close(left)
			return context.Cause(ctx)
		case <-limit:
			close(left)
			return fmt.Errorf("%w for %s", errHomeSilent, patience)
		case <-ticker.C:
			a.printer.Warn("%s for %s", silent, time.Since(began).Round(time.Second))
		}
	}
}
