package pgdrill

import (
	"context"
	"errors"
	"strings"
	"time"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/pgdump"
	"capstan/internal/progress"
	source "capstan/internal/source/postgres"
	target "capstan/internal/target/postgres"
)

// drill is one on its way.
type drill struct {
	findings
	env     Env
	options Options
	dump    *pgdump.Dump
	receipt *source.Receipt // nil: the dump has none with hashes
	tables  []*expected
	foreign map[string]bool
	left    map[int32]bool // dump ids of what needs an extension that is missing
	large   largeExpected
}

// Run drills a dump. The summary is worth reading beside an error too. What differs, or
// could not be restored, is an error of class capstan.ErrIncomplete; every other one
// means that nothing was proven, and a Status of Failed.
func Run(ctx context.Context, env Env, options Options) (Summary, error) {
	begun := time.Now()
	options, err := options.complete()
	if err != nil {
		return NewSummary(options.Dir), err
	}
	if env.Step == nil {
		env.Step = func(context.Context, string, string) {}
	}
	d := &drill{env: env, options: options}
	summary := NewSummary(options.Name)
	summary.Scratch = options.Server == ""
	d.summary = &summary
	err = d.unstalled(ctx)
	d.summary.Seconds = time.Since(begun).Seconds()
	return *d.summary, err
}

// unstalled runs the drill and ends it when it stands still for too long.
func (d *drill) unstalled(ctx context.Context) error {
	limit := progress.Limit{Warn: d.options.StallWarn, Fail: d.options.StallFail}
	return d.env.Tracker.Guard(ctx, progress.Limits{
		Still: limit, Waits: map[progress.Resource]progress.Limit{progress.ForServer: limit},
	}, func(s *progress.Stall) { d.env.Warn("stalled: %v", s) }, func(s *progress.Stall) error {
		return &capstan.Error{Op: "drill", Object: d.options.Dir, Err: s, Safe: "the dump was not changed", Next: "look at the machine, or give more time with --stall-fail"}
	}, func(ctx context.Context) error {
		err := d.run(ctx)
		if ctx.Err() != nil {
			d.summary.Status = Failed
			return context.Cause(ctx)
		}
		return err
	})
}

func (d *drill) run(ctx context.Context) (err error) {
	d.env.Step(ctx, "files", "")
	if err := d.load(); err != nil {
		return err
	}
	if d.clear() {
		if err := d.files(ctx); err != nil {
			return err
		}
	}
	if !d.clear() {
		return d.verdict()
	}
	if d.receipt == nil {
		d.env.Warn("%s has no receipt with hashes: rows are counted and compared with those in its files, their content is not compared", d.options.Dir)
	}
	version, err := pg.ParseVersion(d.dump.ServerVersion.Value)
	if err != nil {
		return err
	}
	p, err := d.openPlace(ctx, version.Major)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close(context.WithoutCancel(ctx))) }()
	// A server that ends by itself is the reason for whatever fails then.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := p.watch(ctx, cancel)
	defer stop()
	if err = d.restore(ctx, p); err == nil {
		err = d.compare(ctx, p)
	}
	if err != nil {
		p.settle(ctx)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	return d.verdict()
}

// restore restores the dump into the place; what pg_restore complains of is kept, and
// compared nevertheless.
func (d *drill) restore(ctx context.Context, p *place) error {
	d.env.Step(ctx, "restore", p.url)
	if err := d.preflight(ctx, p); err != nil {
		return err
	}
	summary, err := target.Restore(ctx, target.Env{Disk: d.env.Disk, Tracker: d.env.Tracker, Say: d.env.Say, Warn: d.env.Warn}, target.Options{
		Dir: d.options.Dir, URL: p.url, Create: true, Without: d.leftOut, NoTablespaces: true,
		NoOwner: p.plain, NoPrivileges: p.plain, Jobs: d.options.Jobs, PgRestore: d.options.PgRestore,
	})
	d.summary.Server = summary.Server
	if !p.plain {
		d.same(func(s *Summary) { s.Grants = d.grants() })
	}
	if !errors.Is(err, capstan.ErrIncomplete) {
		return err
	}
	for _, problem := range summary.Problems {
		// The disk's fault, not the dump's.
		if strings.Contains(problem.Err, "No space left on device") {
			return &capstan.Error{Class: capstan.ErrNoSpace, Op: "restore", Object: problem.Object, Err: errors.New(problem.Err), Next: "give the server more room: --scratch names another directory"}
		}
	}
	d.summary.Problems = append(d.summary.Problems, summary.Problems...)
	d.more += summary.Unnamed
	return nil
}
