package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"capstan"
)

// rivalry is a case in which contestants take turns with the same data.
type rivalry struct {
	restore bool     // measured too
	among   []string // contestants; empty: all that are not rare
	make    func(ctx context.Context, l lab, dir string) error
	goals   func(result) []goal
}

// result is what a rivalry came to. Runs are by contestant, in the order in which
// they were made.
type result struct {
	rivalry
	lab
	data       census
	rivals     []string
	backups    map[string][]usage
	recoveries map[string][]usage
}

// run makes the data, lets every contestant have its turn l.runs times, and reports.
func (c rivalry) run(ctx context.Context, l lab) (section, error) {
	source := filepath.Join(l.dir, "data")
	if err := os.MkdirAll(source, 0o755); err != nil {
		return section{}, err
	}
	if err := c.make(ctx, l, source); err != nil {
		return section{}, fmt.Errorf("make the data: %w", err)
	}
	// Reading everything once puts it into the page cache for the first one too.
	data, err := take(ctx, source, true)
	if err != nil {
		return section{}, err
	}
	r := result{rivalry: c, lab: l, data: data, backups: map[string][]usage{}, recoveries: map[string][]usage{}}
	rivals := l.contestants(c.among)
	for _, rival := range rivals {
		r.rivals = append(r.rivals, rival.name)
	}
	for round := range l.runs {
		// Each begins once: what the one before leaves behind hits another each time.
		first := round % len(rivals)
		for _, rival := range slices.Concat(rivals[first:], rivals[:first]) {
			if err := r.turn(ctx, rival, source, filepath.Join(l.dir, "turn")); err != nil {
				return section{}, fmt.Errorf("%s: %w", rival.name, err)
			}
			last := r.backups[rival.name][round]
			fmt.Fprintf(l.progress, "  round %d: %s: backup %.2f s, %v\n", round+1, rival.name, last.wall.Seconds(), last.out)
		}
	}
	return r.section(), nil
}

func (r result) section() section {
	s := section{data: r.data.String()}
	var b strings.Builder
	table(&b, "backup", r.rivals, r.backups)
	s.tables = append(s.tables, b.String())
	if r.restore {
		b.Reset()
		table(&b, "restore", r.rivals, r.recoveries)
		s.tables = append(s.tables, b.String())
	}
	if r.goals != nil {
		s.goals = r.goals(r)
	}
	return s
}

// newPlace makes the directories of one contestant.
func newPlace(source, dir string) (place, error) {
	p := place{source: source, out: filepath.Join(dir, "out"), home: filepath.Join(dir, "home"), restored: filepath.Join(dir, "restored")}
	for _, name := range []string{p.out, p.home, p.restored} {
		if err := os.MkdirAll(name, 0o755); err != nil {
			return p, err
		}
	}
	return p, nil
}

// ready does what a contestant does before the clock runs.
func (c contestant) ready(ctx context.Context, p place) error {
	if c.prepare == nil {
		return nil
	}
	if _, err := c.prepare(p).run(ctx); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	return nil
}

// turn is one run of one contestant in an empty directory, which it removes.
func (r *result) turn(ctx context.Context, rival contestant, source, dir string) (err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := newPlace(source, dir)
	if err != nil {
		return err
	}
	if err := rival.ready(ctx, p); err != nil {
		return err
	}
	settle()
	backup, err := rival.backup(p).run(ctx)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	made, err := take(ctx, p.out, false)
	if err != nil {
		return err
	}
	backup.out = made.bytes
	r.backups[rival.name] = append(r.backups[rival.name], backup)
	if !r.restore {
		return nil
	}
	settle()
	recovery, err := rival.restore(p).run(ctx)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	back, err := take(ctx, p.restored, false)
	if err != nil {
		return err
	}
	if back.files != r.data.files || back.bytes != r.data.bytes || back.links != r.data.links {
		return fmt.Errorf("restored %v, want %v", back, r.data)
	}
	recovery.out = back.bytes
	r.recoveries[rival.name] = append(r.recoveries[rival.name], recovery)
	return nil
}

// census counts what a directory holds.
type census struct {
	files, dirs, links int64
	bytes              capstan.Bytes // of regular files
}

func (c census) String() string {
	return fmt.Sprintf("%d files in %d directories, %d symbolic links, %v", c.files, c.dirs, c.links, c.bytes)
}
