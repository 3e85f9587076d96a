package pgslot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"capstan"
	"capstan/internal/pgdata"
)

// Origin says where the changes in one spill file come from.
type Origin struct {
	File    string           `json:"file"`
	Slot    string           `json:"slot,omitempty"`
	XID     uint32           `json:"xid"`
	Start   pgdata.LSN       `json:"start"`
	Segment string           `json:"segment"` // name of the WAL file
	Kept    bool             `json:"kept"`    // the WAL file is still in pg_wal
	Bytes   int64            `json:"bytes"`
	Records int64            `json:"records"`
	First   pgdata.LSN       `json:"first"`             // place of the first record
	Last    pgdata.LSN       `json:"last"`              // place of the last one
	Changes map[string]int64 `json:"changes,omitempty"` // records by action
	// Relations are those that rows were changed of, the most changes first.
	Relations []RelationChanges `json:"relations,omitempty"`
	Others    int64             `json:"other_relations,omitempty"` // changes of relations beyond the kept ones
	Damage    string            `json:"damage,omitempty"`          // why the file could not be read to its end
	// Proof is the command that shows the same from the WAL.
	Proof string `json:"proof"`
}

// RelationChanges is how many changes of one relation a spill file holds.
type RelationChanges struct {
	Tablespace uint32 `json:"tablespace"`
	Database   uint32 `json:"database"`
	Number     uint32 `json:"filenode"`
	Changes    int64  `json:"changes"`
	Name       string `json:"name,omitempty"` // where it could be asked for
}

// keepRelations bounds the relations that are counted for one file.
const keepRelations = 10_000

// Map says where a spill file comes from. path is a file of this cluster, in
// pg_replslot or in a quarantine; its name and its records are read, in bounded
// memory.
func (p *Place) Map(ctx context.Context, path string) (Origin, error) {
	name, ok := pgdata.ParseSpillName(filepath.Base(path))
	if !ok {
		return Origin{}, &capstan.Error{
			Class: capstan.ErrUsage, Op: "map", Object: path, Err: errors.New("this is not the name of a spill file"),
			Next: "give a file xid-...-lsn-....spill, or a transaction's number",
		}
	}
	o := Origin{
		File: path, XID: name.XID, Start: name.Start, Segment: pgdata.SegmentName(p.Timeline, name.Start, p.Segment),
		Changes: map[string]int64{},
	}
	if filepath.Dir(filepath.Dir(path)) == p.replslot() {
		o.Slot = filepath.Base(filepath.Dir(path))
	}
	o.Segment, o.Kept = p.walFile(o.Segment)
	o.Proof = fmt.Sprintf("pg_waldump -p %s -x %d %s", shellWord(filepath.Join(p.Dir, "pg_wal")), o.XID, o.Segment)
	file, err := p.FS.Open(path)
	if err != nil {
		return o, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	o.Bytes = file.Size()
	return o, p.readRecords(ctx, io.NewSectionReader(file, 0, file.Size()), &o)
}

// walFile looks for the WAL file on the timelines that there are: a spill file does
// not say which one its changes are on. kept is false if no timeline has it.
func (p *Place) walFile(segment string) (name string, kept bool) {
	for timeline := p.Timeline; timeline > 0 && p.Timeline-timeline < 100; timeline-- {
		name := fmt.Sprintf("%08X", timeline) + segment[8:]
		if _, err := os.Stat(filepath.Join(p.Dir, "pg_wal", name)); err == nil {
			return name, true
		}
	}
	return segment, false
}

func (p *Place) readRecords(ctx context.Context, in io.Reader, o *Origin) error {
	relations := map[pgdata.Relation]int64{}
	records := pgdata.NewSpillReader(in, p.Major, o.Start, p.Segment)
	for {
		if o.Records%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		record, err := records.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, pgdata.ErrDamaged) {
			o.Damage = err.Error()
			break
		}
		if err != nil {
			return err
		}
		if o.Records == 0 {
			o.First = record.At
		}
		o.Last = record.At
		o.Records++
		o.Changes[string(record.Action)]++
		if record.Relation == (pgdata.Relation{}) {
			continue
		}
		if _, known := relations[record.Relation]; !known && len(relations) >= keepRelations {
			o.Others++
			continue
		}
		relations[record.Relation]++
	}
	for r, n := range relations {
		o.Relations = append(o.Relations, RelationChanges{Tablespace: r.Tablespace, Database: r.Database, Number: r.Number, Changes: n})
	}
	slices.SortFunc(o.Relations, func(a, b RelationChanges) int {
		return cmp.Or(cmp.Compare(b.Changes, a.Changes), cmp.Compare(a.Number, b.Number))
	})
	return nil
}

// FilesOf hands over the paths of all spill files of a transaction, slot by slot.
func (p *Place) FilesOf(ctx context.Context, xid uint32, take func(path string) error) error {
	slots, err := p.Slots()
	if err != nil {
		return err
	}
	prefix := fmt.Sprintf("xid-%d-", xid)
	for _, slot := range slots {
		dir := p.slotDir(slot)
		err := names(ctx, dir, func(found []string) error {
			for _, name := range found {
				if !strings.HasPrefix(name, prefix) {
					continue
				}
				if _, ok := pgdata.ParseSpillName(name); ok {
					if err := take(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
						return err
					}
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// shellWord quotes a path for a shell.
func shellWord(path string) string {
	if strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+") == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// noSlot is the error of a slot that is not there.
func (p *Place) noSlot(slot string) error {
	return &capstan.Error{Class: capstan.ErrNotFound, Op: "slot", Object: slot, Err: errors.New("pg_replslot has no such directory"), Next: "see: capstan pg spill report -D " + p.Dir}
}
