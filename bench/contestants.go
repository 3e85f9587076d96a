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

// contestant is a way to back up a directory and to get it back.
type contestant struct {
	name    string
	peer    string                       // its name in -peers; empty: it always takes part
	needs   []string                     // programs
	prepare func(place) (pipeline, bool) // before the clock runs; false if there is nothing to do
	backup  func(place) pipeline
	restore func(place) pipeline
}

// contestants lists who takes part; the first, which always does, is the
// measure of the others. peers are those of peerNames that are asked for.
func contestants(binary string, peers []string) []contestant {
	all := []contestant{
		tarThrough("tar, zstd -1 -T0", "", ".zst", []string{"zstd", "-1", "-T0", "-q", "-c"}, []string{"zstd", "-d", "-q", "-c"}),
		{
			name:  "capstan",
			needs: []string{binary},
			backup: func(p place) pipeline {
				return single(command{args: []string{binary, "backup", p.source, "--to", p.out, "--home", p.home, "--no-progress"}})
			},
			restore: func(p place) pipeline {
				return single(command{args: []string{binary, "restore", "latest", "--to", p.restored, "--home", p.home}})
			},
		},
		{
			name:    "restic",
			peer:    "restic",
			needs:   []string{"restic"},
			prepare: func(p place) (pipeline, bool) { return single(restic(p, "init")), true },
			backup: func(p place) pipeline {
				c := restic(p, "backup", filepath.Base(p.source))
				c.dir = filepath.Dir(p.source)
				return single(c)
			},
			restore: func(p place) pipeline {
				return single(restic(p, "restore", "latest", "--target", p.restored))
			},
		},
		tarThrough("tar, pigz -1", "pigz", ".gz", []string{"pigz", "-1", "-c"}, []string{"pigz", "-d", "-c"}),
	}
	return slices.DeleteFunc(all, func(c contestant) bool {
		return c.peer != "" && !slices.Contains(peers, c.peer)
	})
}

func peerNames() []string { return []string{"restic", "pigz"} }

// tarThrough is GNU tar with a compressor behind it.
func tarThrough(name, peer, suffix string, pack, unpack []string) contestant {
	archive := func(p place) string { return filepath.Join(p.out, "archive.tar"+suffix) }
	return contestant{
		name:  name,
		peer:  peer,
		needs: []string{"tar", pack[0]},
		backup: func(p place) pipeline {
			return pipeline{
				commands: []command{
					{args: []string{"tar", "-C", filepath.Dir(p.source), "-cf", "-", filepath.Base(p.source)}},
					{args: pack},
				},
				stdout: archive(p),
			}
		},
		restore: func(p place) pipeline {
			return pipeline{commands: []command{
				{args: slices.Concat(unpack, []string{archive(p)})},
				{args: []string{"tar", "-C", p.restored, "-xf", "-"}},
			}}
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
