package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/daemon"
	"capstan/internal/disk"
	"capstan/internal/output"
	"capstan/internal/pg"
	"capstan/internal/pglock"
	"capstan/internal/source/dumps"
	"capstan/internal/source/postgres"
)

// receiptLimit is more than the receipt of a million tables.
const receiptLimit = 1 << 30

// since is what happened to tables between dumps, and since the last one.
type since struct {
	Dumps   int             `json:"dumps"`
	Sets    []string        `json:"sets,omitempty"` // that they are in
	Last    time.Time       `json:"last"`           // snapshot of the newest
	Changes []pglock.Change `json:"changes"`
}

// pasts are the looks that receipts kept, of the connection's own database.
type pasts struct {
	database, system string
	looks            []pglock.Past
	sets             []string
}

func newPasts(ctx context.Context, conn *pg.Conn) (*pasts, error) {
	p := &pasts{}
	var err error
	if p.database, p.system, err = pglock.Identity(ctx, conn); err != nil {
		return nil, failedLook(ctx, err)
	}
	return p, nil
}

// pgSince compares the receipts at the paths, and in the sets, and the database as it is
// now. Where none are named, it is the newest set that has one of the database; nil if
// there is none. d is nil where there is no catalog.
func (a *app) pgSince(ctx context.Context, d *daemon.Daemon, conn *pg.Conn, named []string) (*since, error) {
	p, err := newPasts(ctx, conn)
	if err != nil {
		return nil, err
	}
	if len(named) == 0 {
		err = p.newest(ctx, d)
	}
	for _, name := range named {
		if d != nil && isReceiptSet(name) {
			err = a.pastOfSet(ctx, d, p, name)
		} else {
			err = p.at(name)
		}
		if err != nil {
			return nil, err
		}
	}
	if err != nil || len(p.looks) == 0 {
		return nil, err
	}
	s := &since{Dumps: len(p.looks), Sets: p.sets}
	for _, look := range p.looks {
		if look.Time.After(s.Last) {
			s.Last = look.Time
		}
	}
	now, err := pglock.Now(ctx, conn)
	if err != nil {
		return nil, failedLook(ctx, err)
	}
	s.Changes = pglock.Compare(append(p.looks, now))
	return s, nil
}

// isReceiptSet tells a set from the path of a receipt.
func isReceiptSet(name string) bool {
	if _, err := os.Stat(name); err == nil {
		return false
	}
	return isSet(name)
}

// newestSets is how many sets are looked at for a dump of the database.
const newestSets = 1000

// newest takes the receipt of the newest set that has one of the database.
func (p *pasts) newest(ctx context.Context, d *daemon.Daemon) error {
	sets, err := d.Catalog.Sets(ctx, catalog.SetFilter{Limit: newestSets})
	if err != nil {
		return err
	}
	for _, set := range sets {
		if set.Forgotten || set.Status != capstan.RunComplete && set.Status != capstan.RunPartial {
			continue
		}
		if found, err := p.set(ctx, d, set.ID); found || err != nil {
			return err
		}
	}
	return nil
}

// pastOfSet takes the receipt of a set that was named.
func (a *app) pastOfSet(ctx context.Context, d *daemon.Daemon, p *pasts, name string) error {
	set, err := a.set(ctx, d, name)
	if err != nil {
		return err
	}
	found, err := p.set(ctx, d, set.ID)
	if err == nil && !found {
		err = &capstan.Error{
			Class: capstan.ErrNotFound, Op: "read the receipt in set", Object: string(set.ID), Err: fmt.Errorf("it holds none of the database %s of the server %s", p.database, p.system),
			Next: "see: capstan ls " + string(set.ID),
		}
	}
	return err
}

// set takes the receipt that a set has of the database, if it has one.
func (p *pasts) set(ctx context.Context, d *daemon.Daemon, set capstan.SetID) (found bool, err error) {
	contents, err := d.Engine.Beside(ctx, set, dumps.Directories([]string{p.database})[0], postgres.ReceiptName, receiptLimit)
	if err != nil {
		return false, &capstan.Error{Op: "read the receipt in set", Object: string(set), Err: err}
	}
	for _, content := range contents {
		if p.add(content) == nil {
			p.sets, found = append(p.sets, string(set)), true
		}
	}
	return found, nil
}

// at takes the receipts that a path names.
func (p *pasts) at(path string) error {
	receipts, err := receiptsAt(disk.FS{}, path)
	if err != nil {
		return err
	}
	for _, receipt := range receipts {
		content, err := disk.FS{}.ReadFile(receipt, receiptLimit)
		if err == nil {
			err = p.add(content)
		}
		if err != nil {
			class := error(nil)
			for _, known := range []error{capstan.ErrUsage, capstan.ErrDamaged} {
				if errors.Is(err, known) {
					class = known
				}
			}
			return &capstan.Error{Class: class, Op: "read the receipt", Object: receipt, Err: err}
		}
	}
	return nil
}

// add takes a receipt, which must be of the connection's own database.
func (p *pasts) add(content []byte) error {
	var r postgres.Receipt
	if err := json.Unmarshal(content, &r); err != nil || r.Snapshot.IsZero() {
		return fmt.Errorf("it is no receipt of a dump: %w", errors.Join(err, capstan.ErrDamaged))
	}
	if r.Database != p.database || r.System != "" && p.system != "" && r.System != p.system {
		return fmt.Errorf("it is of the database %s of the server %s, not of %s of %s: %w", r.Database, r.System, p.database, p.system, capstan.ErrUsage)
	}
	past := pglock.Past{Time: r.Snapshot, Tables: map[string]pglock.Mark{}}
	for _, t := range r.Tables {
		past.Tables[t.Table] = pglock.Mark{OID: t.OID, Filenode: t.Filenode}
	}
	p.looks = append(p.looks, past)
	return nil
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

// sinceText tells people which tables were replaced, and what the next dump can do.
func (a *app) sinceText(s *since) error {
	if s == nil {
		return nil
	}
	after := fmt.Sprintf("%s, the last of %s", plural(int64(s.Dumps), "dump"), s.Last.Local().Format(timeLayout))
	if len(s.Sets) > 0 {
		after += "; in set " + strings.Join(s.Sets, ", ")
	}
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
