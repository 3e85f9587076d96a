package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"capstan"
)

// Drill is what the last drill of a dump in a set came to.
type Drill struct {
	Set  capstan.SetID
	Dump string // its directory within the set
	At   time.Time
	// Proven says that the dump was restored and is as the source was; else something
	// differed.
	Proven bool
	// LastProven is when it last was, which may be before At; zero: never.
	LastProven time.Time
	Tables     int64 // that were compared and the same
	Rows       int64 // in them
}

// The values of the column outcome.
const (
	drillProven  = "proven"
	drillDiffers = "differs"
)

// Drilled records a drill that has come to its end now, with a line in the audit log.
// The times are set here, those of d are not looked at.
func (c *Catalog) Drilled(ctx context.Context, d Drill, detail string) error {
	return c.write(ctx, "record the drill of set "+string(d.Set), func(t *tx) error {
		no, err := t.setNo(d.Set)
		if err != nil {
			return err
		}
		now, outcome := unix(c.now()), drillDiffers
		if d.Proven {
			outcome = drillProven
		}
		if err := t.updateOrInsert(sqlUpdateDrill, sqlInsertDrill, outcome, now, d.Tables, d.Rows, no, []byte(d.Dump)); err != nil {
			return err
		}
		if d.Proven {
			if _, err := t.exec(sqlDrillProven, now, no, []byte(d.Dump)); err != nil {
				return err
			}
		}
		return t.audit(now, "drill", d.Set, fmt.Sprintf("%s: %s: %s", d.Dump, outcome, detail))
	})
}

// Drills lists what is known of drills, of the oldest set first.
func (c *Catalog) Drills(ctx context.Context) (drills []Drill, err error) {
	err = each(ctx, c.reads, sqlDrills, nil, func(rows *sql.Rows) error {
		var d Drill
		var dump []byte
		var outcome string
		var at, proven int64
		err := rows.Scan(&d.Set, &dump, &outcome, &at, &proven, &d.Tables, &d.Rows)
		d.Dump, d.Proven, d.At, d.LastProven = string(dump), outcome == drillProven, fromUnix(at), fromUnix(proven)
		drills = append(drills, d)
		return err
	})
	return drills, c.failed(ctx, "list drills", err)
}
