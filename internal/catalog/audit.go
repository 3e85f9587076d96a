package catalog

import (
	"context"
	"database/sql"
	"iter"
	"time"
)

// AuditLine is one line of the audit log.
type AuditLine struct {
	Number int64 // from 1
	Time   time.Time
	Action string // what was done: "forget", "erase"
	Object string // to what
	Detail string
}

// Audit appends a line to the audit log. The log cannot be changed or cut.
func (c *Catalog) Audit(ctx context.Context, action, object, detail string) error {
	return c.write(ctx, "write the audit log", func(t *tx) error {
		_, err := t.exec(sqlInsertAudit, unix(c.now()), action, object, detail)
		return err
	})
}

const auditPage = 1000

// AuditLog yields the lines of the audit log, oldest first.
func (c *Catalog) AuditLog(ctx context.Context) iter.Seq2[AuditLine, error] {
	return func(yield func(AuditLine, error) bool) {
		for last := int64(0); ; {
			page := make([]AuditLine, 0, auditPage)
			err := each(ctx, c.reads, sqlAudit, with(last, auditPage), func(rows *sql.Rows) error {
				var line AuditLine
				var at int64
				err := rows.Scan(&line.Number, &at, &line.Action, &line.Object, &line.Detail)
				line.Time = fromUnix(at)
				page = append(page, line)
				return err
			})
			if err != nil {
				yield(AuditLine{}, c.failed(ctx, "read the audit log", err))
				return
			}
			for _, line := range page {
				if !yield(line, nil) {
					return
				}
				last = line.Number
			}
			if len(page) < auditPage {
				return
			}
		}
	}
}
