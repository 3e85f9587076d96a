package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"capstan"
)

// benchCase is one data set, and what is done with it.
type benchCase struct {
	name    string
	what    string                                      // for the report
	restore bool                                        // measured too
	make    func(ctx context.Context, dir string) error // fills the directory, which is there
}

func caseNames() []string { return []string{"tree", "large", "random", "tiny"} }

// cases gives them in the order of caseNames.
func cases(o options) []benchCase {
	return []benchCase{
		{
			name: "tree", restore: true,
			what: "real files: copies from /usr/share, /usr/lib, the Go tree and the module cache",
			make: func(ctx context.Context, dir string) error { return collectTree(ctx, dir, treeRoots(ctx), o.tree) },
		},
		{
			name: "large", restore: true, what: "one large file of log lines",
			make: func(ctx context.Context, dir string) error {
				return writeLog(ctx, filepath.Join(dir, "large.log"), o.large)
			},
		},
		{
			name: "random", restore: true, what: "one file that does not compress",
			make: func(ctx context.Context, dir string) error {
				return writeRandom(ctx, filepath.Join(dir, "random.bin"), o.random)
			},
		},
		{
			name: "tiny", what: "tiny files, 1,000 a directory",
			make: func(ctx context.Context, dir string) error { return writeTiny(ctx, dir, o.tiny) },
		},
	}
}

// result is what a case came to. Runs are by contestant, in the order in which
// they were made.
type result struct {
	benchCase
	data       census
	rivals     []string
	backups    map[string][]usage
	recoveries map[string][]usage
}

// measure makes the data below dir, lets every contestant have its turn runs
// times, and removes everything again.
func (c benchCase) measure(ctx context.Context, dir string, rivals []contestant, runs int, progress io.Writer) (_ result, err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	source := filepath.Join(dir, "data")
	if err := os.MkdirAll(source, 0o755); err != nil {
		return result{}, err
	}
	if err := c.make(ctx, source); err != nil {
		return result{}, fmt.Errorf("make the data: %w", err)
	}
	// Reading everything once puts it into the page cache for the first one too.
	data, err := take(ctx, source, true)
	if err != nil {
		return result{}, err
	}
	r := result{benchCase: c, data: data, backups: map[string][]usage{}, recoveries: map[string][]usage{}}
	for _, rival := range rivals {
		r.rivals = append(r.rivals, rival.name)
	}
	for round := range runs {
		// Each begins once: what the one before leaves behind hits another each time.
		first := round % len(rivals)
		for _, rival := range slices.Concat(rivals[first:], rivals[:first]) {
			if err := r.turn(ctx, rival, source, filepath.Join(dir, "turn")); err != nil {
				return result{}, fmt.Errorf("%s: %w", rival.name, err)
			}
			last := r.backups[rival.name][round]
			fmt.Fprintf(progress, "%s: round %d: %s: backup %.2f s, %v\n", c.name, round+1, rival.name, last.wall.Seconds(), last.out)
		}
	}
	return r, nil
}

// turn is one run of one contestant in an empty directory, which it removes.
func (r *result) turn(ctx context.Context, rival contestant, source, dir string) (err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p := place{source: source, out: filepath.Join(dir, "out"), home: filepath.Join(dir, "home"), restored: filepath.Join(dir, "restored")}
	for _, name := range []string{p.out, p.home, p.restored} {
		if err := os.MkdirAll(name, 0o755); err != nil {
			return err
		}
	}
	if rival.prepare != nil {
		if before, ok := rival.prepare(p); ok {
			if _, err := before.run(ctx); err != nil {
				return fmt.Errorf("prepare: %w", err)
			}
		}
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
