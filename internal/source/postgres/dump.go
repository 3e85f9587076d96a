package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/pgcopy"
	"capstan/internal/progress"
	"capstan/internal/rowsum"
)

// dump is one dump on its way.
type dump struct {
	env            Env
	options        Options
	directory      *Directory
	monitor        *monitor
	client         pg.Client
	server         pg.Version
	user, database string
	endpoint       *pg.Endpoint
	incarnation    string // of the server: when it was started
	system         string // identifier of the cluster, if the role may know it
	standby        bool
	replay         *replay // nil: it goes on

	conflictsBefore string // of a standby
	jobsWhy         string // what made the number of jobs smaller

	// What earlier attempts have learnt.
	attempts int
	printing map[string]string // of Receipt.Session
	settings []string          // statements with which pg_dump sets its session up
	dataless map[string]bool   // tables whose definition alone is dumped
	extra    []string          // tables that pg_dump reads and does not lock

	unsynced  unsynced        // files that are complete
	finishing *errgroup.Group // and those on their way to the medium
	receipt   *ledger
	spool     Spool // that gets the files as they are complete; nil: they stay in directory
}

// Summary is what a dump came to.
type Summary struct {
	Type     string        `json:"type"` // "summary"
	Dir      string        `json:"dir"`
	Status   string        `json:"status"`
	Tables   int           `json:"tables"` // with data in the dump
	Rows     int64         `json:"rows"`
	BytesIn  capstan.Bytes `json:"bytes_in"`
	BytesOut capstan.Bytes `json:"bytes_out"`
	Seconds  float64       `json:"seconds"`
	Receipt  Receipt       `json:"receipt"`
}

// Dump writes a dump of a database, in pg_dump's directory format, to dir: which
// appears when it is whole and durable, and not before. It blocks until then, or
// until ctx ends; all of its sessions have then ended too.
func Dump(ctx context.Context, env Env, options Options, dir string) (summary Summary, err error) {
	options, err = options.complete()
	if err != nil {
		return Summary{}, err
	}
	place, err := OpenDirectory(env.Disk, dir)
	if err != nil {
		return Summary{}, err
	}
	defer func() { err = errors.Join(err, place.Close()) }()
	return (&dump{env: env, options: options, directory: place, receipt: newLedger()}).whole(ctx)
}

// whole makes the dump; its sessions end with it, in every case.
func (d *dump) whole(ctx context.Context) (_ Summary, err error) {
	d.endpoint = &pg.Endpoint{URL: d.options.URL, Database: d.options.Database}
	own := d.sessions()
	defer func() { own.end(context.WithoutCancel(ctx), err != nil) }()
	if err := d.stage("connect", func() error { return d.begin(ctx, own) }); err != nil {
		return Summary{}, err
	}
	looking, stop := context.WithCancel(ctx)
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		d.monitor.watch(looking, d.env.Warn)
	}()
	defer func() {
		stop()
		<-looked
	}()
	if d.spool != nil { // whoever takes the files watches the whole of it
		return d.run(ctx)
	}
	return d.watched(ctx)
}

// watched runs the dump and ends it when it stands still for too long: a server, or a
// disk, that hangs.
func (d *dump) watched(ctx context.Context) (summary Summary, err error) {
	limit := progress.Limit{Warn: d.options.StallWarn, Fail: d.options.StallFail}
	err = d.env.Tracker.Guard(ctx, progress.Limits{
		Still: limit, Waits: map[progress.Resource]progress.Limit{progress.ForServer: limit},
	}, func(s *progress.Stall) { d.env.Warn("stalled: %v", s) }, func(s *progress.Stall) error {
		return &capstan.Error{Op: "dump", Object: d.database, Err: s, Safe: "its sessions are ended", Next: "look at the server and the disk, or give more time with --stall-fail"}
	}, func(ctx context.Context) error {
		summary, err = d.run(ctx)
		return err
	})
	return summary, err
}

func (d *dump) clear() {
	if _, err := d.directory.Fresh(); err != nil {
		d.env.Warn("what an attempt has left is still there: %v", err)
	}
}

// begin makes the session that looks at locks, and finds a pg_dump for the server.
func (d *dump) begin(ctx context.Context, own *sessions) error {
	conn, err := own.connect(ctx)
	if err != nil {
		return err
	}
	d.monitor = &monitor{conn: conn}
	if d.server, err = pg.ParseVersion(conn.ParameterStatus("server_version")); err != nil {
		return err
	}
	const oldest = 13
	if d.server.Major < oldest {
		return &capstan.Error{Class: capstan.ErrUsage, Op: "dump", Err: fmt.Errorf("the server is version %s; %d and later are dumped", d.server, oldest)}
	}
	if err := d.unpooled(ctx, own, conn); err != nil {
		return err
	}
	if err := exec(ctx, conn, quiet); err != nil {
		return err
	}
	rows, err := texts(ctx, conn, "select session_user, current_database(), pg_postmaster_start_time(), pg_is_in_recovery()")
	if err != nil {
		return err
	}
	d.user, d.database, d.incarnation = rows[0][0], rows[0][1], rows[0][2]
	d.standby = rows[0][3] == "t"
	if d.system, err = text(ctx, conn, "select system_identifier from pg_control_system()"); err != nil && code(err) == "" {
		return err
	}
	d.conflictsBefore = d.conflicts(ctx)
	d.chooseJobs(ctx)
	if err := d.preparePause(ctx); err != nil {
		return err
	}
	if rows, err = texts(ctx, conn, printing); err != nil {
		return err
	}
	d.printing = map[string]string{}
	for _, row := range rows {
		d.printing[row[0]] = row[1]
	}
	if err := d.fits(ctx); err != nil {
		return err
	}
	return d.compression()
}

// quiet takes the limits off a session and lets no name be found but in pg_catalog.
const quiet = `SELECT pg_catalog.set_config('search_path', '', false);
SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')`

// printing asks for what values are printed by and pg_dump does not set: all sessions
// of the dump have the same.
const printing = "SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ('TimeZone', 'bytea_output', 'lc_monetary', 'xmlbinary')"

// unpooled refuses a pooler that spreads transactions over servers. Nothing is set
// before: it would be set for others.
func (d *dump) unpooled(ctx context.Context, own *sessions, conn *pgconn.PgConn) error {
	second, err := own.connect(ctx)
	if err != nil {
		return err
	}
	defer own.drop(ctx, second)
	return pg.Unpooled(ctx, conn, second)
}

// connect makes a session of the dump, and gives its process at the server: what the
// protocol said when it began may be a pooler's own number.
func (d *dump) connect(ctx context.Context, crew *sessions) (conn *pgconn.PgConn, pid uint32, err error) {
	if conn, err = crew.connect(ctx); err != nil {
		return nil, 0, err
	}
	answering, over := pg.Answering(ctx)
	defer over()
	rows, err := texts(answering, conn, quiet+"; SELECT pg_backend_pid(), pg_postmaster_start_time()")
	if err != nil {
		return nil, 0, err
	}
	number, err := strconv.ParseUint(rows[0][0], 10, 32)
	if err != nil {
		return nil, 0, err
	}
	if rows[0][1] != d.incarnation {
		return nil, 0, &capstan.Error{
			Op: "dump", Object: d.database, Err: fmt.Errorf("two sessions are at different servers: one was started at %s, the other at %s", d.incarnation, rows[0][1]),
			Next: "name one server in the URL; if it was restarted, dump again",
		}
	}
	pid = uint32(number)
	d.monitor.ours(pid)
	if err := exec(ctx, conn, attentive); err != nil && code(err) == "" {
		return nil, 0, err // else the server's system cannot do it
	}
	return conn, pid, nil
}

// attentive lets a server (14 and later) look in the middle of a statement, and of a
// wait for a lock, whether its client is still there: should this process be killed,
// nothing waits on in its name.
const attentive = "SELECT pg_catalog.set_config(name, '1s', false) FROM pg_catalog.pg_settings WHERE name = 'client_connection_check_interval'"

// enter makes a session that is in the dump's snapshot and set up as pg_dump's.
func (d *dump) enter(ctx context.Context, h *held) (*pgconn.PgConn, error) {
	conn, _, err := d.connect(ctx, h.crew)
	if err != nil {
		return nil, err
	}
	for _, setting := range d.settings {
		if err := exec(ctx, conn, setting); err != nil {
			return nil, err
		}
	}
	return conn, exec(ctx, conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT "+literal(h.snapshot))
}

func (d *dump) run(ctx context.Context) (_ Summary, err error) {
	began, before := time.Now(), d.env.Tracker.Snapshot()
	h, err := d.hold(ctx)
	if err != nil {
		return Summary{}, err
	}
	defer func() {
		h.crew.end(context.WithoutCancel(ctx), err != nil)
		d.replay.resume(ctx)
	}()
	locked := time.Now()
	if d.spool == nil {
		d.env.Tracker.Total(before.Entries+int64(len(h.data)+len(h.objects)), 0)
	}
	if err := d.read(h); err != nil {
		return Summary{}, d.conflicted(ctx, err)
	}
	h.crew.end(context.WithoutCancel(ctx), false)
	d.replay.resume(ctx)
	r := Receipt{
		Database: d.database, System: d.system, Server: d.server.String(), PgDump: d.client.Version.String(),
		Snapshot: h.taken.UTC(), SnapshotSeconds: time.Since(h.taken).Seconds(), Attempts: d.attempts, LockSeconds: locked.Sub(began).Seconds(),
		Jobs: d.options.Jobs, JobsWhy: d.jobsWhy, Standby: d.standby, PausedSeconds: d.replay.seconds(),
		Inflicted: d.monitor.longest(), Tables: d.receipt.tables(h), Large: d.receipt.objects, Session: d.printing,
	}
	if err := d.stage("seal", func() error { return d.seal(h, &r) }); err != nil {
		return Summary{}, err
	}
	s := Summary{Type: "summary", Dir: d.directory.final, Status: "complete", Tables: len(h.data), Seconds: time.Since(began).Seconds(), Receipt: r}
	for _, t := range r.Tables {
		s.Rows += t.Rows
		s.BytesIn += capstan.Bytes(t.Bytes)
	}
	s.BytesIn += capstan.Bytes(r.Large.Bytes) // what attempts have read that failed does not count
	if d.spool == nil {
		s.BytesOut = d.env.Tracker.Snapshot().BytesOut - before.BytesOut
	}
	return s, nil
}

// read reads all data that the workers have not read by now: workers their tables, the
// guard what is left, one more session what needs no lock. The first that fails ends all.
func (d *dump) read(h *held) (err error) {
	if len(h.objects) > 0 || len(h.loose) > 0 {
		// In the snapshot before the guard, whose it is, is gone.
		var conn *pgconn.PgConn
		if conn, err = d.enter(h.ctx, h); err == nil {
			h.reading.Go(func() error { return d.readLoose(h.ctx, h, conn) })
		}
	}
	if err == nil {
		h.reading.Go(func() error { return d.finishGuard(h.ctx, h) })
	} else {
		h.stop(err)
	}
	err = cmp.Or(h.reading.Wait(), err)
	h.stop(nil)
	d.unsynced.rest(d.finishing)
	return errors.Join(err, d.finishing.Wait())
}

// divide gives shared tables their files, and the guard what no worker has or what was
// read wrongly; from then on all is known.
func (d *dump) divide(h *held) error {
	had := map[*table]bool{}
	for _, w := range h.workers {
		for _, layer := range w.stack {
			for _, t := range layer.tables {
				had[t] = true
				if layer.shared && len(t.copies) == 1 {
					h.shares[t] = nil
				}
			}
		}
	}
	d.finishing = &errgroup.Group{}
	d.finishing.SetLimit(syncing)
	for _, t := range h.tables {
		if _, shared := h.shares[t]; shared {
			s := newShare(t, t.copies[0])
			var err error
			if s.spool, err = d.create(s.datum.file, s.datum.tag); err != nil {
				return err
			}
			h.shares[t] = s
		} else if t.guess != "" && (len(t.copies) != 1 || t.copies[0].SQL != t.guess || t.copies[0].Setting != "") {
			t.missed = true
		}
		if len(t.copies) > 0 && (!had[t] || t.missed) {
			h.left = append(h.left, t)
		}
	}
	slices.SortStableFunc(h.left, func(a, b *table) int { return int(min(max(a.bytes-b.bytes, -1), 1)) })
	close(h.known)
	return nil
}

// finishGuard reads the tables that no worker could lock, then lets all of the guard's
// locks go.
func (d *dump) finishGuard(ctx context.Context, h *held) error {
	stream, err := h.crew.take(ctx, h.guard)
	if err != nil {
		return err
	}
	if len(h.left) > 0 {
		stage := d.env.Tracker.Stage("reader 0")
		stage.Begin()
		defer stage.End()
		f, err := newFrames(d.options.Codec, d.options.Level)
		if err != nil {
			return err
		}
		for _, t := range h.left {
			if !t.missed {
				d.receipt.contested(t)
			}
			for _, c := range t.copies {
				if err := d.readOne(ctx, stage, stream, f, c, patient+c.SQL); err != nil {
					return err
				}
			}
		}
	}
	if err := stream.Exec(ctx, "COMMIT"); err != nil {
		return failure("release the locks of", d.database, err)
	}
	d.receipt.guardEnded()
	return nil
}

// readLoose reads large objects, then foreign tables.
func (d *dump) readLoose(ctx context.Context, h *held, conn *pgconn.PgConn) error {
	if len(h.objects) > 0 {
		if err := d.readLarge(ctx, conn, h.objects); err != nil {
			return err
		}
	}
	if len(h.loose) == 0 {
		return nil
	}
	stream, err := h.crew.take(ctx, conn)
	if err != nil {
		return err
	}
	f, err := newFrames(d.options.Codec, d.options.Level)
	if err != nil {
		return err
	}
	stage := d.env.Tracker.Stage("foreign tables")
	stage.Begin()
	defer stage.End()
	for _, c := range h.loose {
		before := ""
		if c.Setting != "" {
			before = strings.TrimSuffix(c.Setting, ";") + "; "
		}
		if err := d.readOne(ctx, stage, stream, f, c, before+c.SQL); err != nil {
			return err
		}
	}
	return nil
}

// wrote counts a data file that is complete.
func (d *dump) wrote(c *datum, r pgcopy.Result) {
	d.receipt.data(c, r)
	d.count(1, 0, 0)
}

// seal writes the table of contents with the compression that the files have, makes
// the rest durable, and gives the dump its name.
func (d *dump) seal(h *held, r *Receipt) error {
	var err error
	if r.Contents, err = d.sealContents(); err != nil {
		return err
	}
	r.HashMethod = rowsum.Method
	for _, name := range h.large {
		list, err := d.env.Disk.ReadFile(d.directory.path(name), listLimit)
		if err != nil {
			return err
		}
		if err := d.env.Disk.Replace(d.directory.path(name), list); err != nil {
			return err
		}
	}
	receipt, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := d.env.Disk.WriteNew(d.directory.path(ReceiptName), append(receipt, '\n')); err != nil {
		return err
	}
	if d.spool != nil {
		return d.handOver(h.large)
	}
	for name, content := range d.options.Beside {
		if err := d.env.Disk.WriteNew(d.directory.path(name), content); err != nil {
			return err
		}
	}
	return d.directory.Publish()
}
