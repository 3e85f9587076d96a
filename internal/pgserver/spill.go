package pgserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"capstan/internal/pg"
	"capstan/internal/pgslot"
	"capstan/internal/progress"
)

// SpillOptions say what is reported of spill files.
type SpillOptions struct {
	Slot     string        // empty: all
	Top      int           // how many transactions are named
	Interval time.Duration // between two looks at the counters; 0: none
	URL      string        // of the server; empty: its socket
}

// SpillReport is what one slot has spilled, how fast, and what helps.
type SpillReport struct {
	pgslot.SlotSpill
	Statistics *pgslot.Statistics `json:"statistics,omitempty"`
	Rate       *pgslot.Rate       `json:"rate,omitempty"`
	Advice     []string           `json:"advice,omitempty"`
}

// Spill reports on the slots of a cluster. The files are read whether or not a server
// runs; the counters only where it lets us in, and that it does not is no error.
func Spill(ctx context.Context, env Env, cluster *pg.Cluster, options SpillOptions) ([]SpillReport, error) {
	env = env.filled()
	place, err := Slots(ctx, env, cluster)
	if err != nil {
		return nil, err
	}
	stage := env.Tracker.Stage("report")
	stage.Begin()
	defer stage.End()
	reports, err := place.Report(ctx, options.Slot, options.Top)
	if err != nil {
		return nil, err
	}
	all := make([]SpillReport, len(reports))
	for i := range reports {
		all[i].SlotSpill = reports[i]
	}
	settings := pgslot.Settings{}
	if err := counters(ctx, cluster, place, options, stage, all, &settings); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		env.Say("without the server's counters: %v", err)
	}
	for i := range all {
		settings.Streams = all[i].Statistics != nil && all[i].Statistics.Streamed > 0
		all[i].Advice = pgslot.Advice(cluster.Major, &all[i].SlotSpill, settings)
	}
	return all, nil
}

// counters asks the server twice.
func counters(ctx context.Context, cluster *pg.Cluster, place *pgslot.Place, options SpillOptions, stage *progress.Stage, all []SpillReport, settings *pgslot.Settings) error {
	server, err := cluster.Server()
	if err != nil {
		return err
	}
	if server.Presence != pg.Alive && options.URL == "" {
		return errors.New("the server does not run")
	}
	conn, err := cluster.Connect(ctx, server, options.URL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // it was only read
	if settings.WorkMem, err = pgslot.Setting(ctx, conn, "logical_decoding_work_mem"); err != nil {
		return err
	}
	if options.Interval <= 0 {
		return nil
	}
	first, err := place.Spills(ctx, conn)
	if err != nil {
		return err
	}
	began := time.Now()
	done := stage.Wait(progress.Resource("counters"), fmt.Sprintf("a second look after %s", options.Interval))
	timer := time.NewTimer(options.Interval)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		done()
		return context.Cause(ctx)
	case <-timer.C:
		done()
	}
	second, err := place.Spills(ctx, conn)
	if err != nil {
		return err
	}
	for i := range all {
		now, known := second[all[i].Slot]
		if !known {
			continue
		}
		all[i].Statistics = &now
		if before, known := first[all[i].Slot]; known {
			all[i].Rate = before.Rate(now, time.Since(began))
		}
	}
	return nil
}

// Names gives tables their names, where a server that runs can be asked.
type Names struct {
	conn     *pgx.Conn // nil: nobody to ask
	database uint32
}

// namerPatience bounds the connection that names tables.
const namerPatience = 10 * time.Second

// Namer connects for names of tables of one database, that of the URL, else postgres.
// It never fails: without a server there are no names. It is closed after use.
func Namer(ctx context.Context, cluster *pg.Cluster, url string) *Names {
	server, err := cluster.Server()
	if err != nil || (server.Presence != pg.Alive && url == "") {
		return &Names{}
	}
	ctx, cancel := context.WithTimeout(ctx, namerPatience)
	defer cancel()
	conn, err := cluster.Connect(ctx, server, url)
	if err != nil {
		return &Names{}
	}
	n := &Names{conn: conn}
	if err := conn.QueryRow(ctx, "SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()").Scan(&n.database); err != nil {
		n.Close(ctx)
	}
	return n
}

// Close ends the connection.
func (n *Names) Close(ctx context.Context) {
	if n.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = n.conn.Close(ctx) // it was only read
	n.conn = nil
}

// Fill completes the names of an origin's tables, as far as they are in the database.
func (n *Names) Fill(ctx context.Context, o pgslot.Origin) pgslot.Origin {
	for i := range o.Relations {
		r := &o.Relations[i]
		if n.conn == nil || r.Database != n.database || i >= 100 {
			continue
		}
		// The default tablespace of the database is given as 0.
		var name *string
		err := n.conn.QueryRow(ctx, `SELECT pg_catalog.pg_filenode_relation(
			CASE WHEN dattablespace = $1::oid THEN 0 ELSE $1::oid END, $2::oid)::text FROM pg_catalog.pg_database WHERE oid = $3::oid`,
			r.Tablespace, r.Number, r.Database).Scan(&name)
		if err == nil && name != nil {
			r.Name = *name
		}
	}
	return o
}
