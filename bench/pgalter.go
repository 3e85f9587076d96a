package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// alterAfter is how long a dump is under way when the ALTER comes.
const alterAfter = time.Second

// alteration is one ALTER beside a dump.
type alteration struct {
	wait   time.Duration
	amidst bool // the dump was still under way when it came
}

// alter has a column added to a small table in the middle of dumps. pg_dump works with
// one session here: with -j, an ALTER that comes before a worker is at the table ends
// the dump.
func alter(ctx context.Context, l lab) (section, error) {
	made := map[string][]alteration{}
	number := 0
	c := pgCase{
		major: newMajor, tables: 3, fill: fillTables(l.table, l.table),
		rivals: []pgRival{stockDump(pgDumpSerial), ourDump(l)},
		beside: func(ctx context.Context, s *pgServer, name string, ended <-chan struct{}) error {
			timer := time.NewTimer(alterAfter)
			defer timer.Stop()
			a := alteration{amidst: true}
			select {
			case <-timer.C:
			case <-ended:
				a.amidst = false
			}
			number++
			// As the server saw it: the start of psql is no wait.
			took, err := s.ask(ctx, pgDatabase, strings.NewReader(fmt.Sprintf(
				"begin; alter table small add column c%d integer; select extract(epoch from clock_timestamp() - now()); commit;", number)))
			if err != nil {
				return err
			}
			a.wait, err = time.ParseDuration(took + "s")
			made[name] = append(made[name], a)
			return err
		},
		goals: func(runs map[string][]usage) []goal {
			own := made[ours]
			return []goal{
				{what: "ALTERs that came in the middle of a dump of ours", limit: float64(len(runs[ours])), measured: amidst(own), atLeast: true},
				{what: "longest wait of an ALTER for a dump of ours", limit: 1, unit: " s", measured: longest(own)},
			}
		},
	}
	s, err := c.run(ctx, l, fmt.Sprintf("Two tables of %v as COPY writes them, and a small one, which is altered %v after the beginning", l.table, alterAfter))
	if err != nil {
		return s, err
	}
	var b strings.Builder
	b.WriteString("| | longest wait of the ALTER s | it came in the middle |\n|---|---:|---:|\n")
	for _, rival := range c.rivals {
		fmt.Fprintf(&b, "| %s | %.3f | %.0f of %d |\n", rival.name, longest(made[rival.name]), amidst(made[rival.name]), len(made[rival.name]))
	}
	s.tables = append(s.tables, b.String())
	return s, nil
}

// longest is in seconds.
func longest(all []alteration) float64 {
	if len(all) == 0 {
		return 0
	}
	return slices.MaxFunc(all, func(a, b alteration) int { return int(a.wait - b.wait) }).wait.Seconds()
}

func amidst(all []alteration) (n float64) {
	for _, a := range all {
		if a.amidst {
			n++
		}
	}
	return n
}
