package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"capstan"
)

// wantedFile is the one that single1 restores; it lies in the middle of the archive.
const wantedFile = "d0/wanted.txt"

// single1 restores one small file out of an archive, whose other files do not
// compress, so that the archive is as large as they are.
func single1(ctx context.Context, l lab) (section, error) {
	source := filepath.Join(l.dir, "data")
	if err := makeHaystack(ctx, source, l.archive); err != nil {
		return section{}, fmt.Errorf("make the data: %w", err)
	}
	data, err := take(ctx, source, true)
	if err != nil {
		return section{}, err
	}
	want, err := os.ReadFile(filepath.Join(source, wantedFile))
	if err != nil {
		return section{}, err
	}
	var names []string
	runs := map[string][]usage{}
	for _, rival := range l.contestants([]string{tarZstd, ours, "capstan without cgo", "restic"}) {
		names = append(names, rival.name)
		dir := filepath.Join(l.dir, "turn")
		runs[rival.name], err = oneFile(ctx, l, rival, source, dir, want)
		if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
			return section{}, fmt.Errorf("%s: %w", rival.name, err)
		}
	}
	var b strings.Builder
	b.WriteString("| restore of one file | wall ms | CPU ms | peak RSS MiB | read MiB |\n|---|---:|---:|---:|---:|\n")
	for _, name := range names {
		m := middle(runs[name])
		fmt.Fprintf(&b, "| %s | %.0f | %.0f | %.0f | %.1f |\n", name, milliseconds(m.wall), milliseconds(m.cpu), mib(m.rss), mib(m.read))
	}
	own := middle(runs[ours])
	s := section{data: data.String() + "; read is what all processes read, pipes and catalogs included (rchar in /proc)", tables: []string{b.String()}}
	s.goals = []goal{{what: "wall", limit: 100, unit: " ms", measured: milliseconds(own.wall)}}
	if own.read > 0 {
		s.goals = append(s.goals, goal{what: "read", limit: 16, unit: " MiB", measured: mib(own.read)})
	}
	return s, nil
}

// oneFile backs the source up, and restores the file for each round.
func oneFile(ctx context.Context, l lab, rival contestant, source, dir string, want []byte) (runs []usage, err error) {
	p, err := newPlace(source, dir)
	if err == nil {
		err = rival.ready(ctx, p)
	}
	if err == nil {
		_, err = rival.backup(p).run(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	for i := range l.runs {
		p.restored = filepath.Join(dir, fmt.Sprint("restored-", i))
		if err := os.Mkdir(p.restored, 0o755); err != nil {
			return nil, err
		}
		settle()
		used, err := rival.one(p, wantedFile).run(ctx)
		if err != nil {
			return nil, fmt.Errorf("restore: %w", err)
		}
		got, err := os.ReadFile(filepath.Join(p.restored, filepath.Base(source), wantedFile))
		if err != nil || string(got) != string(want) {
			return nil, fmt.Errorf("the file came back as %d bytes (%w)", len(got), err)
		}
		runs = append(runs, used)
	}
	return runs, nil
}

// makeHaystack makes files of 1 MiB around a small one, which stands first in its
// directory's second half by name.
func makeHaystack(ctx context.Context, dir string, size capstan.Bytes) error {
	const each = capstan.MiB
	for i := range max(2, int(size/each)) {
		name := filepath.Join(dir, "d0", fmt.Sprintf("a%06d.bin", i))
		if i >= int(size/each)/2 {
			name = filepath.Join(dir, "d0", fmt.Sprintf("x%06d.bin", i))
		}
		if i == 0 {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return err
			}
		}
		if err := writeSeeded(ctx, name, each, byte(i), byte(i>>8)); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, wantedFile), []byte(strings.Repeat("the needle\n", 1000)), 0o644)
}

func mib(b capstan.Bytes) float64 { return float64(b) / float64(capstan.MiB) }
