package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/output"
	"capstan/internal/pg"
	"capstan/internal/pglock"
	"capstan/internal/source/postgres"
)

// receiptLimit is more than the receipt of a million tables.
const receiptLimit = 1 << 30

// since is what happened to tables between dumps, and since the last one.
type since struct {
	Dumps   int             `json:"dumps"`
	Last    time.Time       `json:"last"` // snapshot of the newest
	Changes []pglock.Change `json:"changes"`
}

// pgSince compares the receipts at the paths, and the database as it is now.
func (a *app) pgSince(ctx context.Context, conn *pg.Conn, paths []string) (*since, error) {
	var looks []pglock.Past
	s := &since{}
	for _, path := range paths {
		receipts, err := receiptsAt(disk.FS{}, path)
		if err != nil {
			return nil, err
		}
		for _, receipt := range receipts {
			past, err := pastOf(ctx, conn, receipt)
			if err != nil {
				return nil, err
			}
			if looks = append(looks, past); past.Time.After(s.Last) {
				s.Last = past.Time
			}
		}
	}
	s.Dumps = len(looks)
	now, err := pglock.Now(ctx, conn)
	if err != nil {
		return nil, failedLook(ctx, err)
	}
	s.Changes = pglock.Compare(append(looks, now))
	return s, nil
}

// receiptsAt gives the paths of the receipts that a path names: one itself, that of a
// dump's directory, or those of all dumps that lie in a directory.
func receiptsAt(d disk.FS, path string) ([]string, error) {
	info, err := d.Lstat(path)
	if err == nil && !info.IsDir() {
		return []string{path}, nil
	}
	if err != nil {
		return nil, &capstan.Error{Class: capstan.ErrNotFound, Op: "read the receipt", Object: path, Err: err}
	}
	own := filepath.Join(path, postgres.ReceiptName)
	if _, err := d.Lstat(own); err == nil {
		return []string{own}, nil
	}
	entries, err := d.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, entry := range entries {
		inner := filepath.Join(path, entry.Name(), postgres.ReceiptName)
		switch _, err := d.Lstat(inner); {
		case err == nil && entry.IsDir():
			found = append(found, inner)
		case err != nil && !errors.Is(err, fs.ErrNotExist) && entry.IsDir():
			return nil, err
		}
	}
	if len(found) == 0 {
		return nil, &capstan.Error{Class: capstan.ErrNotFound, Op: "read the receipt", Object: path, Err: errors.New("neither it nor a directory in it holds " + postgres.ReceiptName)}
	}
	return found, nil
}

// pastOf reads a receipt, which must be of the connection's own database.
func pastOf(ctx context.Context, conn *pg.Conn, path string) (pglock.Past, error) {
	wrong := func(class error, format string, args ...any) (pglock.Past, error) {
		return pglock.Past{}, &capstan.Error{Class: class, Op: "read the receipt", Object: path, Err: fmt.Errorf(format, args...)}
	}
	content, err := disk.FS{}.ReadFile(path, receiptLimit)
	if err != nil {
		return wrong(nil, "%w", err)
	}
	var r postgres.Receipt
	if err := json.Unmarshal(content, &r); err != nil || r.Snapshot.IsZero() {
		return wrong(capstan.ErrDamaged, "it is no receipt of a dump: %w", err)
	}
	database, system, err := pglock.Identity(ctx, conn)
	if err != nil {
		return pglock.Past{}, failedLook(ctx, err)
	}
	if r.Database != database || r.System != "" && system != "" && r.System != system {
		return wrong(capstan.ErrUsage, "it is of the database %s of the server %s, not of %s of %s", r.Database, r.System, database, system)
	}
	past := pglock.Past{Time: r.Snapshot, Tables: map[string]pglock.Mark{}}
	for _, t := range r.Tables {
		past.Tables[t.Table] = pglock.Mark{OID: t.OID, Filenode: t.Filenode}
	}
	return past, nil
}

// sinceText tells people which tables were replaced, and what the next dump can do.
func (a *app) sinceText(s *since) error {
	if s == nil {
		return nil
	}
	after := fmt.Sprintf("%s, the last of %s", plural(int64(s.Dumps), "dump"), s.Last.Local().Format(timeLayout))
	if len(s.Changes) == 0 {
		return a.line("since then no table was truncated, rewritten or made anew (" + after + ")")
	}
	if err := a.line("truncated, rewritten or made anew (" + after + "):"); err != nil {
		return err
	}
	rows := make([][]string, 0, len(s.Changes))
	for _, c := range s.Changes {
		var what []string
		if c.Rewritten > 0 {
			what = append(what, "truncated or rewritten")
		}
		if c.Remade > 0 {
			what = append(what, "made anew")
		}
		lately := ""
		if c.Lately {
			lately = "since the last dump"
		}
		rows = append(rows, []string{output.Clean(c.Table), strings.Join(what, ", "), fmt.Sprintf("%d of %d", c.Times(), c.Spans), lately, c.First, c.Exclude})
	}
	return a.table([]string{"TABLE", "WAS", "TIMES", "", "READ IT FIRST", "OR LEAVE IT OUT"}, rows)
}
