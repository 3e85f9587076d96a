package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"capstan"
)

// Pin keeps a set, whatever retention says.
type Pin struct {
	Set capstan.SetID
	Who string // asked for it
	Why string // may be empty
	At  time.Time
}

// Pin pins a set, or says anew who pins it and why. A set that was forgotten is
// capstan.ErrNotFound.
func (c *Catalog) Pin(ctx context.Context, id capstan.SetID, who, why string) error {
	return c.write(ctx, "pin set "+string(id), func(t *tx) error {
		set, _, err := anyPhase(t.ctx, t, id)
		if err != nil {
			return err
		}
		no, err := t.setNo(id)
		switch {
		case err != nil:
			return err
		case set.forgotten != 0:
			return forgottenSet(id, set.forgotten)
		}
		now := unix(c.now())
		if err := t.updateOrInsert(sqlUpdatePin, sqlInsertPin, who, why, now, no); err != nil {
			return err
		}
		return t.audit(now, "pin", id, byWhom(who, why))
	})
}

// Unpin takes the pin off a set; it reports false for one that has none.
func (c *Catalog) Unpin(ctx context.Context, id capstan.SetID, who string) (pinned bool, err error) {
	err = c.write(ctx, "unpin set "+string(id), func(t *tx) error {
		no, err := t.setNo(id)
		if err != nil {
			return err
		}
		touched, err := t.exec(sqlDeletePin, no)
		if err != nil || touched == 0 {
			return err
		}
		pinned = true
		return t.audit(unix(c.now()), "unpin", id, byWhom(who, ""))
	})
	return pinned && err == nil, err
}

func byWhom(who, why string) string {
	if why == "" {
		return "by " + who
	}
	return fmt.Sprintf("by %s: %s", who, why)
}

// Pins lists all pins, of the oldest set first.
func (c *Catalog) Pins(ctx context.Context) (pins []Pin, err error) {
	err = each(ctx, c.reads, sqlPins, nil, func(rows *sql.Rows) error {
		var p Pin
		var at int64
		err := rows.Scan(&p.Set, &p.Who, &p.Why, &at)
		p.At = fromUnix(at)
		pins = append(pins, p)
		return err
	})
	return pins, c.failed(ctx, "list pins", err)
}
