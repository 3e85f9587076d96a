package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// again backs the tree up, which does not count, and then once more for each round.
func again(ctx context.Context, l lab) (section, error) {
	source := filepath.Join(l.dir, "data")
	if err := makeTree(ctx, l, source); err != nil {
		return section{}, fmt.Errorf("make the data: %w", err)
	}
	data, err := take(ctx, source, true)
	if err != nil {
		return section{}, err
	}
	var rivals []contestant
	var names []string
	runs := map[string][]usage{}
	places := map[string]place{}
	for _, rival := range l.contestants(nil) {
		if rival.again == nil {
			continue
		}
		p, err := newPlace(source, filepath.Join(l.dir, fmt.Sprint("place-", len(rivals))))
		if err == nil {
			err = rival.ready(ctx, p)
		}
		if err == nil {
			_, err = rival.backup(p).run(ctx)
		}
		if err != nil {
			return section{}, fmt.Errorf("%s: first backup: %w", rival.name, err)
		}
		rivals, places[rival.name] = append(rivals, rival), p
		names = append(names, rival.name)
	}
	for range l.runs {
		for _, rival := range rivals {
			settle()
			used, err := rival.again(places[rival.name]).run(ctx)
			if err != nil {
				return section{}, fmt.Errorf("%s: %w", rival.name, err)
			}
			runs[rival.name] = append(runs[rival.name], used)
		}
	}
	var b strings.Builder
	table(&b, "backup", names, runs)
	goals := times("wall beside restic's next backup", runs, ours, "restic", 1, wall)
	return section{data: data.String(), tables: []string{b.String()}, goals: append(goals, peak(runs[ours], "peak RSS"))}, nil
}

// tenfold backs up ten sources, all of which are the same tree under other names: as
// many files and bytes are read as if there were ten. It looks at memory alone.
func tenfold(ctx context.Context, l lab) (section, error) {
	source := filepath.Join(l.dir, "data")
	if err := makeTree(ctx, l, source); err != nil {
		return section{}, fmt.Errorf("make the data: %w", err)
	}
	data, err := take(ctx, source, true)
	if err != nil {
		return section{}, err
	}
	p, err := newPlace(source, filepath.Join(l.dir, "turn"))
	if err != nil {
		return section{}, err
	}
	args := []string{l.capstan, "backup", "--to", p.out, "--home", p.home, "--no-progress"}
	for i := range 10 {
		name := filepath.Join(l.dir, fmt.Sprint("source-", i))
		if err := os.Symlink(source, name); err != nil {
			return section{}, err
		}
		args = append(args, name)
	}
	used, err := single(command{args: args}).run(ctx)
	made, takeErr := take(ctx, p.out, false)
	if err = errors.Join(err, takeErr); err != nil {
		return section{}, err
	}
	used.out = made.bytes
	runs := map[string][]usage{ours: {used}}
	var b strings.Builder
	table(&b, "backup", []string{ours}, runs)
	return section{
		data: "Ten times " + data.String() + "; once", tables: []string{b.String()},
		goals: []goal{peak(runs[ours], "backup of ten times the input: peak RSS")},
	}, nil
}
