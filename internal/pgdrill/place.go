package pgdrill

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/pgscratch"
	"capstan/internal/progress"
)

// databasePrefix begins the name of a drill's database, which is used once.
const databasePrefix = "capstan_drill_"

// place is where a dump is restored: a database that is not there yet, of a server.
type place struct {
	stage    *progress.Stage
	server   *pgscratch.Server // nil: the server is a given one
	admin    string            // URL of the server's database postgres, or of the given one
	url      string            // of the drill's database
	database string
	plain    bool // without owners and rights: roles are missing
}

// openPlace makes a scratch server, or looks at the given one.
func (d *drill) openPlace(ctx context.Context, major int) (*place, error) {
	p := &place{stage: d.env.Tracker.Stage("server"), database: databasePrefix + strings.ToLower(rand.Text())}
	p.stage.Begin()
	defer p.stage.End()
	if d.options.Server != "" {
		p.admin = d.options.Server
		var err error
		p.url, err = pg.InDatabase(p.admin, p.database)
		return p, err
	}
	d.env.Step(ctx, "server", "")
	server, err := pgscratch.Start(ctx, pgscratch.Env{Disk: d.env.Disk, Stage: p.stage, Say: d.env.Say, Warn: d.env.Warn}, pgscratch.Options{
		Major: major, Bin: d.options.Bin, Dir: d.options.Scratch, User: d.options.RunAs, Room: d.room(), Settings: d.options.Settings,
		Notes: d.options.Notes,
	})
	if err != nil {
		return nil, err
	}
	p.server, p.admin, p.url = server, server.URL("postgres"), server.URL(p.database)
	return p, nil
}

const (
	// emptyRoom is what a cluster takes without a table: its own tables, and the log.
	emptyRoom = 400 * capstan.MiB
	// grown is what rows take with their indexes, against their text: an estimate.
	grown = 2
	// unpacked is what rows take as text against their compressed file: an estimate.
	unpacked = 6
)

// room is how much the restored database will take, about.
func (d *drill) room() capstan.Bytes {
	var text int64
	for _, t := range d.tables {
		switch {
		case t.bytes > 0:
			text += t.bytes
		case t.Codec == capstan.CodecNone:
			text += t.Size
		default:
			text += unpacked * t.Size
		}
	}
	if d.receipt != nil {
		text += d.receipt.Large.Bytes
	}
	const most = 1 << 60
	return emptyRoom + capstan.Bytes(grown*min(text, most))
}

// watch cancels with the reason when a scratch server ends by itself, until stop.
func (p *place) watch(ctx context.Context, cancel context.CancelCauseFunc) (stop func()) {
	if p.server == nil {
		return func() {}
	}
	ctx, over := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-p.server.Done():
			cancel(p.server.Err(context.WithoutCancel(ctx)))
		case <-ctx.Done():
		}
	}()
	return func() {
		over()
		<-done
	}
}

// settlePatience is how long the end of a server may be behind what it led to.
const settlePatience = 30 * time.Second

// settle waits, when a scratch server takes no connections any more, until watch knows
// that it has ended: what failed because of it must not pass for the reason.
func (p *place) settle(ctx context.Context) {
	if p.server == nil || ctx.Err() != nil {
		return
	}
	conn, err := pg.Connect(ctx, p.admin)
	if err == nil {
		_ = conn.Close(ctx) // it lives, and that was all that was asked
		return
	}
	defer p.stage.Wait(progress.ForServer, "its end")()
	limit := time.NewTimer(settlePatience)
	defer limit.Stop()
	select {
	case <-ctx.Done(): // by watch, as a rule
	case <-limit.C:
	}
}

// dropPatience is how long removing the database from a given server may take.
const dropPatience = 2 * time.Minute

// close removes the server, or the database from the given one.
func (p *place) close(ctx context.Context) error {
	p.stage.Begin()
	defer p.stage.End()
	if p.server != nil {
		return p.server.Stop(ctx)
	}
	defer p.stage.Wait(progress.ForServer, "drop the drill's database")()
	ctx, cancel := context.WithTimeout(ctx, dropPatience)
	defer cancel()
	conn, err := pg.Connect(ctx, p.admin)
	if err == nil {
		_, err = conn.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{p.database}.Sanitize()+" WITH (FORCE)")
		err = errors.Join(err, conn.Close(ctx))
	}
	if err != nil {
		return &capstan.Error{Op: "drop", Object: "database " + p.database, Err: err, Next: "drop it by hand"}
	}
	return nil
}

// preflight sees to what the dump takes for granted: extensions and roles.
func (d *drill) preflight(ctx context.Context, p *place) error {
	defer p.stage.Wait(progress.ForServer, "extensions and roles")()
	conn, err := pg.Connect(ctx, p.admin)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // what was sent was answered
	missing, err := absent(ctx, conn, "SELECT name FROM pg_catalog.pg_available_extensions", d.extensions())
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		d.env.Warn("the server has no %s: what needs it is left out, and not proven", strings.Join(missing, ", "))
		d.leaveOut(missing)
	}
	return d.roles(ctx, conn, p)
}

// absent are those of the names that a query does not give.
func absent(ctx context.Context, conn *pg.Conn, query string, names []string) ([]string, error) {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(there, name) }), nil
}

// extensions are those that the dump makes.
func (d *drill) extensions() []string {
	var names []string
	for i := range d.dump.Entries {
		if e := &d.dump.Entries[i]; e.Desc.Value == descExtension {
			names = append(names, e.Tag.Value)
		}
	}
	return names
}
