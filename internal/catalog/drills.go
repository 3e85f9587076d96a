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
	Set     capstan.SetID
	Dump    string    // its directory within the set
	At      time.Time // zero: never
	Outcome DrillOutcome
	// LastProven is when it last was, which may be before At; zero: never.
	LastProven time.Time
	Tables     int64 // that were compared and the same
	Rows       int64 // in them
}

// DrillOutcome is what a drill came to.
type DrillOutcome string

// The outcomes of drills that found something out.
const (
	DrillProven  DrillOutcome = "proven"  // the dump was restored, and is as the source was
	DrillPartial DrillOutcome = "partial" // nothing differed, but not all could be restored there
	DrillDiffers DrillOutcome = "differs"
	DrillNone    DrillOutcome = "none" // it was never drilled; others of its set were
)

// ExpectDrills records which dumps a set holds, so that it does not pass for proven when
// only some of them are. What is known of drills stays.
func (c *Catalog) ExpectDrills(ctx context.Context, set capstan.SetID, dumps []string) error {
	return c.write(ctx, "record the dumps of set "+string(set), func(t *tx) error {
		no, err := t.setNo(set)
		for _, dump := range dumps {
			if err == nil {
				_, err = t.exec(sqlExpectDrill, no, []byte(dump), no, []byte(dump))
			}
		}
		return err
	})
}

// Drilled records a drill that has come to its end now, with a line in the audit log.
// The times are set here, those of d are not looked at.
func (c *Catalog) Drilled(ctx context.Context, d Drill, detail string) error {
	return c.write(ctx, "record the drill of set "+string(d.Set), func(t *tx) error {
		no, err := t.setNo(d.Set)
		if err != nil {
			return err
		}
		now := unix(c.now())
		if err := t.updateOrInsert(sqlUpdateDrill, sqlInsertDrill, string(d.Outcome), now, d.Tables, d.Rows, no, []byte(d.Dump)); err != nil {
			return err
		}
		if d.Outcome == DrillProven {
			if _, err := t.exec(sqlDrillProven, now, no, []byte(d.Dump)); err != nil {
				return err
			}
		}
		return t.audit(now, "drill", d.Set, fmt.Sprintf("%s: %s: %s", d.Dump, d.Outcome, detail))
	})
}

// Drills lists what is known of drills, of the oldest set first.
func (c *Catalog) Drills(ctx context.Context) (drills []Drill, err error) {
	err = each(ctx, c.reads, sqlDrills, nil, func(rows *sql.Rows) error {
		var d Drill
		var dump []byte
		var at, proven int64
		err := rows.Scan(&d.Set, &dump, &d.Outcome, &at, &proven, &d.Tables, &d.Rows)
		d.Dump, d.At, d.LastProven = string(dump), fromUnix(at), fromUnix(proven)
		drills = append(drills, d)
		return err
	})
	return drills, c.failed(ctx, "list drills", err)
}
