package main

import (
	"fmt"
	"strings"
	"time"

	"capstan"
)

// goal is what is demanded, and what was measured.
type goal struct {
	what     string
	limit    float64
	measured float64
	unit     string
	atLeast  bool // else at most
}

func (g goal) met() bool {
	if g.atLeast {
		return g.measured >= g.limit
	}
	return g.measured <= g.limit
}

func goalTable(goals []goal) string {
	var b strings.Builder
	b.WriteString("| demand | goal | measured | met |\n|---|---:|---:|---|\n")
	for _, g := range goals {
		sign, met := "≤", "yes"
		if g.atLeast {
			sign = "≥"
		}
		if !g.met() {
			met = "**no**"
		}
		fmt.Fprintf(&b, "| %s | %s %s%s | %s%s | %s |\n", g.what, sign, figure(g.limit), g.unit, figure(g.measured), g.unit, met)
	}
	return b.String()
}

// figure writes large numbers without and small ones with decimals.
func figure(f float64) string {
	switch {
	case f >= 1000:
		return fmt.Sprintf("%.0f", f)
	case f >= 20:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}

// times compares the medians of two contestants; nothing if one was not measured.
func times(what string, runs map[string][]usage, name, base string, limit float64, of func(usage) float64) []goal {
	if len(runs[name]) == 0 || len(runs[base]) == 0 {
		return nil
	}
	return []goal{{
		what: what, limit: limit, unit: " ×",
		measured: of(middle(runs[name])) / of(middle(runs[base])),
	}}
}

func wall(u usage) float64   { return u.wall.Seconds() }
func volume(u usage) float64 { return float64(u.out) }

func peak(runs []usage, what string) goal {
	return goal{what: what, limit: 200, unit: " MiB", measured: float64(middle(runs).rss) / float64(capstan.MiB)}
}

func treeGoals(r result) []goal {
	goals := []goal{
		{what: "files", limit: 50_000, measured: float64(r.data.files), atLeast: true},
		{what: "bytes", limit: 1.5, unit: " GB", measured: float64(r.data.bytes) / 1e9, atLeast: true},
	}
	goals = append(goals, times("backup: wall beside "+tarZstd, r.backups, ours, tarZstd, 0.8, wall)...)
	goals = append(goals, times("backup: everything on the volume beside "+tarZstd, r.backups, ours, tarZstd, 1.03, volume)...)
	goals = append(goals, times("backup: wall beside restic", r.backups, ours, "restic", 0.4, wall)...)
	goals = append(goals, peak(r.backups[ours], "backup: peak RSS"))
	return append(goals, diskGoals(r)...)
}

func diskGoals(r result) []goal {
	goals := times("restore: wall beside zstd -d, tar -x", r.recoveries, ours, tarZstd, 0.9, wall)
	return append(goals, peak(r.recoveries[ours], "restore: peak RSS"))
}

// largeGoals are of the speed, which is the inverse of the time.
func largeGoals(r result) []goal {
	base, own := middle(r.backups[zstdAlone]), middle(r.backups[ours])
	return []goal{
		{what: "speed beside " + zstdAlone, limit: 0.9, unit: " ×", measured: wall(base) / max(wall(own), 1e-9), atLeast: true},
		peak(r.backups[ours], "peak RSS"),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
