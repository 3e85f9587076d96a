package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"capstan"
)

// pgCase is a case in which a database is dumped, by turns.
type pgCase struct {
	major  int
	tables int // with data, in each dump
	fill   func(w *bufio.Writer)
	rivals []pgRival
	goals  func(runs map[string][]usage) []goal
	// beside, if there is one, is called when a dump begins; ended is closed when it ends.
	beside func(ctx context.Context, s *pgServer, name string, ended <-chan struct{}) error
}

// pgRival is a way to dump a database into a directory that does not exist.
type pgRival struct {
	name string
	args func(s *pgServer, dir string) []string
}

// Names of those that goals are about.
const (
	pgDump2      = "pg_dump -Fd -j2 -Z zstd:1"
	pgDumpSerial = "pg_dump -Fd -Z zstd:1"
	pgDumpOld    = "pg_dump -Fd"
	pgDumpOld2   = "pg_dump -Fd -j2"
)

func stockDump(name string) pgRival {
	return pgRival{name: name, args: func(s *pgServer, dir string) []string {
		words := strings.Fields(name)
		return slices.Concat([]string{s.client(words[0])}, words[1:], []string{"-f", dir, s.url(pgDatabase)})
	}}
}

func ourDump(l lab) pgRival {
	return pgRival{name: ours, args: func(s *pgServer, dir string) []string {
		return []string{l.capstan, "pg", "dump", s.url(pgDatabase), "-o", dir, "--jobs", "2", "--pg-dump", s.client("pg_dump"), "--no-progress"}
	}}
}

// postgresCases measure dumps of databases.
func postgresCases(o options) []benchCase {
	zstd := func(what string, fill func(*bufio.Writer), tables int, goals func(map[string][]usage) []goal) func(context.Context, lab) (section, error) {
		return func(ctx context.Context, l lab) (section, error) {
			return pgCase{major: newMajor, tables: tables, fill: fill, rivals: []pgRival{stockDump(pgDump2), ourDump(l)}, goals: goals}.run(ctx, l, what)
		}
	}
	most, rest := o.table*18/10, o.table*2/10
	return []benchCase{
		{
			name: "pgbalanced", what: "a PostgreSQL 17 database of two large tables", room: 6 * o.table,
			run: zstd(fmt.Sprintf("Two tables of %v as COPY writes them", o.table), fillTables(o.table, o.table), 3, dumpGoals(pgDump2, 1.05)),
		},
		{
			name: "pglarge", what: "a PostgreSQL 17 database of which one table is nine tenths", room: 6 * o.table,
			run: zstd(fmt.Sprintf("A table of %v as COPY writes it, one of %v", most, rest), fillTables(most, rest), 3, dumpGoals(pgDump2, 0.9)),
		},
		{
			name: "pg15", what: "a PostgreSQL 15 database, whose clients read gzip only", room: 6 * o.table,
			run: func(ctx context.Context, l lab) (section, error) {
				return pgCase{
					major: debianMajor, tables: 3, fill: fillTables(o.table, o.table),
					rivals: []pgRival{stockDump(pgDumpOld), stockDump(pgDumpOld2), ourDump(l)}, goals: dumpGoals(pgDumpOld, 0.35),
				}.run(ctx, l, fmt.Sprintf("Two tables of %v as COPY writes them", o.table))
			},
		},
		{
			name: "pgtables", what: "a PostgreSQL 17 database of many small tables", room: 200 * capstan.KiB * capstan.Bytes(o.tables),
			run: zstd(fmt.Sprintf("%d tables of 20 rows, each with its index", o.tables), fillMany(o.tables), o.tables, dumpGoals(pgDump2, 0.8)),
		},
		{name: "pgalter", what: "an ALTER of a small table, in the middle of a dump", room: 6 * o.table, run: alter},
	}
}

// dumpGoals are of the time beside a peer's, and of memory.
func dumpGoals(base string, most float64) func(map[string][]usage) []goal {
	return func(runs map[string][]usage) []goal {
		goals := times("wall beside "+base, runs, ours, base, most, wall)
		goals = append(goals, times("CPU of the client beside "+base, runs, ours, base, 1.3, func(u usage) float64 { return u.cpu.Seconds() })...)
		rss := peak(runs[ours], "peak RSS, with the pg_dump that it runs")
		rss.limit = 128
		return append(goals, rss)
	}
}

// run makes the database, lets every rival have its turn l.runs times, and reports.
func (c pgCase) run(ctx context.Context, l lab, what string) (_ section, err error) {
	s, err := startServer(ctx, c.major, c.tables, l.dir)
	if err != nil {
		return section{}, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.fill(ctx, c.fill); err != nil {
		return section{}, fmt.Errorf("fill the database: %w", err)
	}
	runs := map[string][]usage{}
	var names []string
	for _, rival := range c.rivals {
		names = append(names, rival.name)
	}
	for round := range l.runs {
		first := round % len(c.rivals)
		for _, rival := range slices.Concat(c.rivals[first:], c.rivals[:first]) {
			used, err := c.turn(ctx, s, rival, filepath.Join(l.dir, "dump"))
			if err != nil {
				return section{}, fmt.Errorf("%s: %w", rival.name, err)
			}
			runs[rival.name] = append(runs[rival.name], used)
			fmt.Fprintf(l.progress, "  round %d: %s: %.2f s, CPU %.2f s, %v, %v\n", round+1, rival.name, used.wall.Seconds(), used.cpu.Seconds(), used.rss, used.out)
		}
	}
	var b strings.Builder
	table(&b, "dump", names, runs)
	data := what + "; the server works on the same cores, its CPU is not counted. Both make the dump durable. Memory is the largest sum of the peaks of the client's processes at one time"
	return section{data: data, tables: []string{b.String()}, goals: c.goals(runs)}, nil
}

// turn is one dump, which it counts and removes.
func (c pgCase) turn(ctx context.Context, s *pgServer, rival pgRival, dir string) (used usage, err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	settle()
	p := single(command{args: rival.args(s, dir)})
	p.tree = true
	besides, ended := make(chan error, 1), make(chan struct{})
	go func() {
		if c.beside == nil {
			besides <- nil
			return
		}
		besides <- c.beside(ctx, s, rival.name, ended)
	}()
	used, err = p.run(ctx)
	close(ended)
	if err = errors.Join(err, <-besides); err != nil {
		return used, err
	}
	made, err := take(ctx, dir, false)
	if err != nil {
		return used, err
	}
	used.out = made.bytes
	list := single(command{args: []string{s.client("pg_restore"), "--list", dir}})
	list.stdout = dir + ".list"
	if _, err := list.run(ctx); err != nil {
		return used, err
	}
	text, err := os.ReadFile(list.stdout)
	if got := strings.Count(string(text), " TABLE DATA "); err == nil && got != c.tables {
		err = fmt.Errorf("the dump holds %d tables, want %d", got, c.tables)
	}
	return used, errors.Join(err, os.Remove(list.stdout))
}
