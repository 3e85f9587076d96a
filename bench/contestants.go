package main

import (
	"os/exec"
	"path/filepath"
	"slices"
)

// place is where one contestant works in one run. All but source is its own,
// and empty when it starts.
type place struct {
	source   string // the data: a directory
	out      string // directory for what a backup makes; its bytes are counted
	home     string // directory for state that is not part of the backup
	restored string // directory for what a restore makes
}

// Names of contestants that goals are about.
const (
	tarZstd   = "tar, zstd -1 -T0"
	zstdAlone = "zstd -1 -T0"
	ours      = "capstan"
)

// contestant is a way to back up a directory and to get it back. Where one of its
// functions is nil, it does not take part in what needs that.
type contestant struct {
	name    string
	peer    string               // its name in -peers; empty: it always takes part
	rare    bool                 // it takes part only where it is named
	needs   []string             // programs
	prepare func(place) pipeline // before the clock runs
	backup  func(place) pipeline
	again   func(place) pipeline // a backup of what was backed up before
	restore func(place) pipeline
	one     func(p place, name string) pipeline // restores the file of that path in the source
}

// contestants lists who takes part; the first, which always does, is the
// measure of the others.
func contestants(o options) []contestant {
	all := []contestant{
		tarThrough(tarZstd, "", ".zst", []string{"zstd", "-1", "-T0", "-q", "-c"}, []string{"zstd", "-d", "-q", "-c"}),
		{
			name: zstdAlone, rare: true, needs: []string{"zstd"},
			backup: func(p place) pipeline {
				return single(command{args: []string{"zstd", "-1", "-T0", "-q", "-r", p.source, "--output-dir-flat", p.out}})
			},
		},
		capstanOf(ours, "", o.capstan),
		capstanOf("capstan without cgo", "pure", o.pure),
		resticOf(),
		tarThrough("tar, pigz -1", "pigz", ".gz", []string{"pigz", "-1", "-c"}, []string{"pigz", "-d", "-c"}),
	}
	return slices.DeleteFunc(all, func(c contestant) bool {
		return c.peer != "" && !slices.Contains(o.peers, c.peer)
	})
}

func peerNames() []string { return []string{"pure", "restic", "pigz"} }

func capstanOf(name, peer, binary string) contestant {
	backup := func(p place, more ...string) pipeline {
		return single(command{args: append([]string{binary, "backup", p.source, "--to", p.out, "--home", p.home, "--no-progress"}, more...)})
	}
	restore := func(p place, more ...string) pipeline {
		return single(command{args: append([]string{binary, "restore", "latest", "--to", p.restored, "--home", p.home, "--no-progress"}, more...)})
	}
	return contestant{
		name: name, peer: peer, needs: []string{binary},
		backup:  func(p place) pipeline { return backup(p) },
		again:   func(p place) pipeline { return backup(p, "--incremental") },
		restore: func(p place) pipeline { return restore(p) },
		one: func(p place, name string) pipeline {
			return restore(p, filepath.ToSlash(filepath.Join(filepath.Base(p.source), name)))
		},
	}
}

func resticOf() contestant {
	backup := func(p place) pipeline {
		c := restic(p, "backup", filepath.Base(p.source))
		c.dir = filepath.Dir(p.source)
		return single(c)
	}
	return contestant{
		name: "restic", peer: "restic", needs: []string{"restic"},
		prepare: func(p place) pipeline { return single(restic(p, "init")) },
		backup:  backup,
		again:   backup,
		restore: func(p place) pipeline { return single(restic(p, "restore", "latest", "--target", p.restored)) },
		one: func(p place, name string) pipeline {
			return single(restic(p, "restore", "latest", "--target", p.restored, "--include", filepath.Join("/", filepath.Base(p.source), name)))
		},
	}
}

// tarThrough is GNU tar with a compressor behind it.
func tarThrough(name, peer, suffix string, pack, unpack []string) contestant {
	archive := func(p place) string { return filepath.Join(p.out, "archive.tar"+suffix) }
	restore := func(p place, more ...string) pipeline {
		return pipeline{commands: []command{
			{args: slices.Concat(unpack, []string{archive(p)})},
			{args: append([]string{"tar", "-C", p.restored, "-xf", "-"}, more...)},
		}}
	}
	return contestant{
		name: name, peer: peer, needs: []string{"tar", pack[0]},
		backup: func(p place) pipeline {
			return pipeline{
				commands: []command{
					{args: []string{"tar", "-C", filepath.Dir(p.source), "-cf", "-", filepath.Base(p.source)}},
					{args: pack},
				},
				stdout: archive(p),
			}
		},
		restore: func(p place) pipeline { return restore(p) },
		one: func(p place, name string) pipeline {
			return restore(p, filepath.Join(filepath.Base(p.source), name))
		},
	}
}

func restic(p place, args ...string) command {
	return command{
		args: slices.Concat([]string{"restic", "-r", p.out, "--no-cache", "-q"}, args),
		env:  []string{"RESTIC_PASSWORD=bench"},
	}
}

// present parts those whose programs are here from those whose are not.
func present(all []contestant) (here []contestant, missing []string) {
	for _, c := range all {
		lacks := slices.ContainsFunc(c.needs, func(program string) bool {
			_, err := exec.LookPath(program)
			return err != nil
		})
		if lacks {
			missing = append(missing, c.name)
		} else {
			here = append(here, c)
		}
	}
	return here, missing
}
