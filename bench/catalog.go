package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// What the benchmark in internal/catalog puts into the catalog that it makes.
const (
	largeDir    = "data/project-00007/source-11"
	largeNeedle = "needle-in-the-haystack.go"
)

// largeCatalog has the catalog's own benchmark fill a catalog, by the way that a
// backup takes, and then asks capstan about it.
func largeCatalog(ctx context.Context, l lab) (section, error) {
	home := l.dir
	p := single(command{args: []string{
		l.filler, "-test.run=-", "-test.bench=^BenchmarkLarge$", "-test.benchtime=1x",
		"-large-entries=" + strconv.Itoa(l.entries), "-large-home=" + home,
	}})
	p.stdout = filepath.Join(l.dir, "filler.txt")
	filled, err := p.run(ctx)
	if err != nil {
		return section{}, err
	}
	rate, size, err := readMetrics(p.stdout)
	if err != nil {
		return section{}, err
	}
	listed := map[string][]usage{}
	for range l.runs {
		for what, args := range map[string][]string{
			"ls":   {"ls", "latest", largeDir, "--home", home},
			"find": {"find", largeNeedle, "--set", "latest", "--home", home},
		} {
			q := single(command{args: append([]string{l.capstan}, args...)})
			q.stdout = filepath.Join(l.dir, what+".txt")
			used, err := q.run(ctx)
			if err != nil {
				return section{}, err
			}
			answer, err := take(ctx, q.stdout, false)
			if err != nil || answer.bytes == 0 {
				return section{}, fmt.Errorf("capstan %s found nothing (%w)", what, err)
			}
			listed[what] = append(listed[what], used)
		}
	}
	var b strings.Builder
	b.WriteString("| | wall s | CPU s | peak RSS MiB |\n|---|---:|---:|---:|\n")
	for _, row := range []struct {
		what string
		used usage
	}{{"fill, to the last sync", filled}, {"capstan ls SET DIR", middle(listed["ls"])}, {"capstan find NAME --set SET", middle(listed["find"])}} {
		fmt.Fprintf(&b, "| %s | %.3f | %.3f | %.0f |\n", row.what, row.used.wall.Seconds(), row.used.cpu.Seconds(), mib(row.used.rss))
	}
	return section{
		data: fmt.Sprintf("%d entries, sixteen files in a directory; the set is filled once, the commands include their start", l.entries), tables: []string{b.String()},
		goals: []goal{
			{what: "entries added", limit: 400_000, unit: "/s", measured: rate, atLeast: true},
			{what: "size of an entry", limit: 120, unit: " bytes", measured: size},
			{what: "a directory is listed in", limit: 100, unit: " ms", measured: milliseconds(middle(listed["ls"]).wall)},
			{what: "a name is found in", limit: 2000, unit: " ms", measured: milliseconds(middle(listed["find"]).wall)},
		},
	}, nil
}

// readMetrics takes what a Go benchmark reported out of what it printed.
func readMetrics(file string) (rate, size float64, err error) {
	all, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, err
	}
	text := string(all)
	for unit, to := range map[string]*float64{"entries/s": &rate, "bytes/entry": &size} {
		found := regexp.MustCompile(`([0-9.]+) ` + unit).FindStringSubmatch(text)
		if found == nil {
			return 0, 0, fmt.Errorf("the benchmark gave no %s: %s", unit, text)
		}
		if *to, err = strconv.ParseFloat(found[1], 64); err != nil {
			return 0, 0, err
		}
	}
	return rate, size, nil
}
