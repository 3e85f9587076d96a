package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"capstan"
)

// report is what a run of the bench came to.
type report struct {
	when     time.Time
	machine  []fact
	runs     int
	floor    capstan.Bytes
	missing  []string // contestants that are not installed
	chapters []chapter
}

// chapter is a case and what it came to.
type chapter struct {
	benchCase
	section

	dir     string // filesystem that it worked on
	seconds float64
}

const preface = `# Benchmarks

Written by ` + "`make bench`" + ` on %s; do not edit. Run it again to compare: on another machine the ratios count, not the seconds.

All contestants work on the same data, which lies in the page cache as far as that holds it, and take turns; each of the
%d rounds begins with another of them. Figures are medians. Before each turn the disk is let come to rest (sync), outside the measured time.
Wall is the time from the first process to the end of the last, CPU their user and system time together, RSS the sum
of their peaks (nothing below %v can be seen). Out is what lies on disk afterwards. capstan and restic also hash
everything and make it durable (fsync); tar, zstd and pigz do neither. Making the restic repository is not counted.
After every restore the files, links and bytes are counted and must be those of the data.

`

// markdown writes the whole document.
func (r report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, preface, r.when.Format(time.DateOnly), r.runs, r.floor)
	if len(r.missing) > 0 {
		fmt.Fprintf(&b, "Not installed, hence not measured: %s.\n\n", strings.Join(r.missing, "; "))
	}
	b.WriteString("| machine | |\n|---|---|\n")
	for _, f := range r.machine {
		fmt.Fprintf(&b, "| %s | %s |\n", f.name, f.value)
	}
	for _, c := range r.chapters {
		fmt.Fprintf(&b, "\n## %s: %s\n\n%s. On %s; %.0f s in all.\n", c.name, c.what, c.data, c.dir, c.seconds)
		for _, t := range c.tables {
			b.WriteString("\n" + t)
		}
		if len(c.goals) > 0 {
			b.WriteString("\n" + goalTable(c.goals))
		}
	}
	return b.String()
}

// table writes one row a contestant; ratios are to the first.
func table(b *strings.Builder, work string, rivals []string, runs map[string][]usage) {
	fmt.Fprintf(b, "| %s | wall s | (least to most) | CPU s | peak RSS MiB | out MB | wall ratio | CPU ratio | out ratio |\n", work)
	b.WriteString("|---|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	base := middle(runs[rivals[0]])
	for _, name := range rivals {
		all := runs[name]
		m := middle(all)
		low := slices.MinFunc(all, func(a, b usage) int { return cmp.Compare(a.wall, b.wall) })
		high := slices.MaxFunc(all, func(a, b usage) int { return cmp.Compare(a.wall, b.wall) })
		fmt.Fprintf(b, "| %s | %.2f | %.2f to %.2f | %.2f | %.0f | %.1f | %s | %s | %s |\n", name,
			m.wall.Seconds(), low.wall.Seconds(), high.wall.Seconds(), m.cpu.Seconds(),
			mib(m.rss), float64(m.out)/1e6,
			ratio(m.wall, base.wall), ratio(m.cpu, base.cpu), ratio(m.out, base.out))
	}
}

// middle gives the median of each measure by itself.
func middle(all []usage) usage {
	return usage{
		wall: median(all, func(u usage) time.Duration { return u.wall }),
		cpu:  median(all, func(u usage) time.Duration { return u.cpu }),
		read: median(all, func(u usage) capstan.Bytes { return u.read }),
		rss:  median(all, func(u usage) capstan.Bytes { return u.rss }),
		out:  median(all, func(u usage) capstan.Bytes { return u.out }),
	}
}

// median is the middle value, or the mean of the middle two; 0 of nothing.
func median[T ~int64](all []usage, of func(usage) T) T {
	if len(all) == 0 {
		return 0
	}
	values := make([]T, 0, len(all))
	for _, u := range all {
		values = append(values, of(u))
	}
	slices.Sort(values)
	half := len(values) / 2
	if len(values)%2 == 1 {
		return values[half]
	}
	return (values[half-1] + values[half]) / 2
}

func ratio[T ~int64](a, b T) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}
