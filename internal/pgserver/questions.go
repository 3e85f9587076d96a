package pgserver

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// setting is a value of pg_settings in its base unit.
type setting struct{ value, unit string }

// duration is a setting that is a time; 0 if it is none or off.
func (s setting) duration() time.Duration {
	n, err := strconv.ParseInt(s.value, 10, 64)
	if err != nil {
		return 0
	}
	switch s.unit {
	case "ms":
		return time.Duration(n) * time.Millisecond
	case "s":
		return time.Duration(n) * time.Second
	case "min":
		return time.Duration(n) * time.Minute
	}
	return 0
}

// askSettings reads what decides how a stop goes. A setting that the version does
// not have is not in the answer.
func (c *check) askSettings(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `SELECT name, setting, coalesce(unit, '') FROM pg_settings WHERE name = ANY($1)`, []string{
		"wal_sender_timeout", "archive_mode", "max_slot_wal_keep_size", "idle_replication_slot_timeout", "wal_sender_shutdown_timeout", "shared_buffers",
	})
	if err != nil {
		return err
	}
	c.settings = map[string]setting{}
	var name, value, unit string
	_, err = pgx.ForEachRow(rows, []any{&name, &value, &unit}, func() error {
		c.settings[name] = setting{value, unit}
		return nil
	})
	if err != nil {
		return err
	}
	if pages, err := strconv.ParseInt(c.settings["shared_buffers"].value, 10, 64); err == nil {
		c.buffers = pages * 8192
	}
	if err := c.askKeepSize(ctx, conn); err != nil {
		return err
	}
	if idle := c.settings["idle_replication_slot_timeout"]; idle.duration() > 0 { // since 18
		c.find(Notes, "idle_replication_slot_timeout", fmt.Sprintf("%s: slots whose consumers stay away longer are invalidated", idle.duration()),
			"set it to 0 before a longer maintenance")
	}
	if shutdown, ok := c.settings["wal_sender_shutdown_timeout"]; ok { // announced for 19
		c.find(Notes, "wal_sender_shutdown_timeout", "this server can bound the wait for walsenders itself; it is "+shutdown.value+shutdown.unit,
			"ALTER SYSTEM SET wal_sender_shutdown_timeout = '10s' ends them by itself")
	}
	return nil
}

// askKeepSize is about max_slot_wal_keep_size, and names the slots that have no
// consumer, which it meets first.
func (c *check) askKeepSize(ctx context.Context, conn *pgx.Conn) error {
	size := c.settings["max_slot_wal_keep_size"].value
	if size == "" || size == "-1" {
		return nil
	}
	var idle int
	var names string
	err := conn.QueryRow(ctx, `
		SELECT count(*), coalesce(string_agg(slot_name || ': ' || coalesce(wal_status, 'keeps nothing')
			|| coalesce(', ' || safe_wal_size || ' bytes left', ''), '; ') FILTER (WHERE n <= $1), '')
		FROM (SELECT *, row_number() OVER (ORDER BY safe_wal_size NULLS LAST, slot_name) AS n FROM pg_replication_slots WHERE NOT active) s`, shown).Scan(&idle, &names)
	if err != nil {
		return err
	}
	detail := size + " MB: in a long maintenance a slot that keeps more WAL is invalidated at the next checkpoint after the start"
	if idle > 0 {
		detail += fmt.Sprintf("; %d without a consumer (%s)", idle, names)
	}
	c.find(Notes, "max_slot_wal_keep_size", detail, "raise it before, if consumers stay away long")
	return nil
}

// askSenders is about walsenders and their consumers.
func (c *check) askSenders(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `
		SELECT r.pid, coalesce(r.usename::text, ''), coalesce(r.application_name, ''), coalesce(host(r.client_addr), 'local'), coalesce(r.state, ''),
			coalesce(s.slot_name::text, ''), coalesce(s.slot_type = 'logical', false),
			coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
				coalesce(r.flush_lsn, s.confirmed_flush_lsn, s.restart_lsn)), 0)::bigint,
			coalesce(extract(epoch FROM now() - r.reply_time), -1)::float8
		FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid ORDER BY r.pid`)
	if err != nil {
		return err
	}
	var s Sender
	_, err = pgx.ForEachRow(rows, []any{&s.PID, &s.Role, &s.Application, &s.Client, &s.State, &s.Slot, &s.Logical, &s.LagBytes, &s.ReplySecs}, func() error {
		c.report.Senders = append(c.report.Senders, s)
		return nil
	})
	if err != nil {
		return err
	}
	for _, s := range c.report.Senders {
		kind := "physical"
		if s.Logical {
			kind = "logical"
		}
		detail := fmt.Sprintf("%s walsender %d of %s (%s, role %s) is %s, %d bytes behind", kind, s.PID, s.Application, s.Client, s.Role, s.State, s.LagBytes)
		switch {
		case s.State == "backup":
			c.find(Notes, "base backup", fmt.Sprintf("walsender %d sends a base backup to %s: the stop ends it", s.PID, s.Client), "wait for its end")
		case s.Logical:
			advice := "disable its consumer: --consumer URL, or --walsender=terminate"
			if s.Role != "" {
				advice += "; keep it away with --lock-role " + s.Role
			}
			c.find(Blocks, "walsender", detail, advice)
		case s.holds():
			if s.ReplySecs < 0 {
				detail += ", and has never answered"
			}
			c.find(Blocks, "walsender", detail, "let the standby catch up, or --walsender=terminate and accept that it lacks the last records")
		}
	}
	if len(c.report.Senders) > 0 && c.senderTimeout() == 0 {
		c.find(Blocks, "wal_sender_timeout", "it is 0: a consumer that hangs holds a stop up for good", "stop with --walsender=terminate or cut, or set it")
	}
	return nil
}

// askArchiver is about an archive command that fails: it does not block a stop, but
// what is not archived keeps its WAL.
func (c *check) askArchiver(ctx context.Context, conn *pgx.Conn) error {
	var failing bool
	var file string
	var failures int64
	err := conn.QueryRow(ctx, `
		SELECT last_failed_time IS NOT NULL AND (last_archived_time IS NULL OR last_failed_time > last_archived_time),
			coalesce(last_failed_wal, ''), failed_count FROM pg_stat_archiver`).Scan(&failing, &file, &failures)
	if err != nil {
		return err
	}
	if failing && c.settings["archive_mode"].value != "off" {
		c.report.Archive.Failing = true
		c.find(Notes, "archiving fails", fmt.Sprintf("%d times, last of %s: the stop gives up after three tries, the files stay ready", failures, file), "mend the archive command")
	}
	return nil
}

// askBackups is about base backups in exclusive mode (up to 14) and those that this
// server's progress view knows.
func (c *check) askBackups(ctx context.Context, conn *pgx.Conn) error {
	var running int
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_progress_basebackup").Scan(&running); err != nil {
		return err
	}
	if running > 0 {
		c.find(Notes, "base backup", fmt.Sprintf("%d base backups are under way: the stop ends them", running), "wait for their end")
	}
	if c.report.Major > 14 {
		return nil
	}
	var exclusive bool
	if err := conn.QueryRow(ctx, "SELECT pg_is_in_backup()").Scan(&exclusive); err != nil {
		return err
	}
	if exclusive {
		c.find(Blocks, "exclusive backup", "a smart stop waits for its end; a fast one cancels it", "end it with pg_stop_backup()")
	}
	return nil
}

// longTransaction is from when a transaction is told of.
const longTransaction = time.Minute

// askTransactions is about what a fast stop rolls back, and what survives it.
func (c *check) askTransactions(ctx context.Context, conn *pgx.Conn) error {
	var prepared, long int
	var oldest float64
	err := conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM pg_prepared_xacts), count(*), coalesce(max(extract(epoch FROM now() - xact_start)), 0)::float8
		FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start < now() - $1::interval`, longTransaction).Scan(&prepared, &long, &oldest)
	if err != nil {
		return err
	}
	if prepared > 0 {
		c.find(Notes, "prepared transactions", fmt.Sprintf("%d: they do not block the stop and survive it", prepared), "")
	}
	if long > 0 {
		c.find(Notes, "long transactions", fmt.Sprintf("%d, the oldest for %s: the stop rolls them back", long, (time.Duration(oldest)*time.Second)), "let them end")
	}
	return nil
}

// askWAL measures what a checkpoint has to write at most, and a recovery to replay.
func (c *check) askWAL(ctx context.Context, conn *pgx.Conn) error {
	return conn.QueryRow(ctx, `SELECT greatest(0, pg_wal_lsn_diff(
		CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, redo_lsn))::bigint
		FROM pg_control_checkpoint()`).Scan(&c.walBytes)
}
