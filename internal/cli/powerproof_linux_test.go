package cli_test

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"capstan/internal/capstantest/powerloss"
)

// omission is a sync that a program forgets, and the moment when that costs
// something: after the end, or beside an operation.
type omission struct {
	kind powerloss.Kind // Sync or SyncDir
	of   string         // pattern of path.Match for the path
	late bool           // only from the first of the next operation on
	next powerloss.Kind // beside which the power fails; empty: after the end
	at   string         // its path
	all  bool           // names are not lost
}

// omissions are what TestPowerLossIsNoticed plays, by outage.
var omissions = map[string]map[string]omission{
	"one volume": {
		"an archive":                   {kind: powerloss.Sync, of: "media/one/*/backup_*.part"},
		"the name of an archive":       {kind: powerloss.SyncDir, of: "media/one/20*"},
		"the name of a set":            {kind: powerloss.SyncDir, of: "media/one"},
		"the name of the volume":       {kind: powerloss.SyncDir, of: "media"},
		"the manifest":                 {kind: powerloss.Sync, of: "media/one/*/manifest*"},
		"the sums":                     {kind: powerloss.Sync, of: "media/one/*/SHA256SUMS*"},
		"the volume's marker":          {kind: powerloss.Sync, of: "media/one/.capstan-volume*"},
		"the catalog":                  {kind: powerloss.Sync, of: "home/catalog.db*"},
		"the names of catalog and log": {kind: powerloss.SyncDir, of: "home"},
		"the name of the home":         {kind: powerloss.SyncDir, of: "", late: true, next: powerloss.Mkdir, at: "home"},
		"the key":                      {kind: powerloss.Sync, of: "home/.signing-key.pem*"},
	},
	"stage and two volumes": {
		"copies, before the stage is emptied": {
			kind: powerloss.Sync, of: "*/*/*/backup_*_0001.tar.zst.part",
			next: powerloss.Unlink, at: "disk/stage/final/*/backup_*_0001.tar.zst", all: true,
		},
		"names of copies, before the stage is emptied": {
			kind: powerloss.SyncDir, of: "*media/*/20*",
			next: powerloss.Unlink, at: "disk/stage/final/*/backup_*_0001.tar.zst",
		},
		"the catalog's log": {
			kind: powerloss.Sync, of: "home/catalog.db-wal",
			next: powerloss.Unlink, at: "disk/stage/final/*/backup_*_0001.tar.zst",
		},
		"the name of the stage": { // beside the first copy: later, all that is staged may be on the volumes, and nothing is lost
			kind: powerloss.SyncDir, of: "disk",
			next: powerloss.Create, at: "*/*/*/backup_*_0001.tar.zst.part",
		},
	},
}

// TestPowerLossIsNoticed forgets a sync that the program has done, one kind at a
// time: then the same loss of power, which is survived with it, must be noticed. So
// TestPowerLoss is able to fail.
func TestPowerLossIsNoticed(t *testing.T) {
	t.Parallel()
	for name, all := range omissions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := outages[name](t)
			s.play()
			survived := map[string]bool{}
			for what, o := range all {
				s.notices(what, o, survived)
			}
		})
	}
}

// notices plays an omission, and before it the same loss of power without it, unless
// that has been survived.
func (s *outage) notices(what string, o omission, survived map[string]bool) {
	s.t.Helper()
	whole := s.log
	at := whole.Len() // of the loss of power
	if o.next != "" {
		found := whole.Find(o.next, func(path string) bool { return matches(o.at, path) })
		if len(found) == 0 {
			s.t.Fatalf("no %s of %s was recorded", o.next, o.at)
		}
		at = found[0] + 1
	}
	from := 0
	if o.late {
		from, at = at, whole.Len()
	}
	left := 0 // syncs before the loss of power
	forgetful := whole.Without(func(i int) bool {
		drop := whole.Records[i].Kind == o.kind && matches(o.of, whole.Path(i)) && i >= from
		if drop && i < at {
			left++
		}
		return drop
	})
	if left == 0 {
		s.t.Fatalf("%s: no %s of %s was recorded", what, o.kind, o.of)
	}
	fate := powerloss.Fate{Data: powerloss.None, Names: powerloss.None}
	if o.all {
		fate.Names = powerloss.All
	}
	if key := fmt.Sprint(at, fate); !survived[key] {
		survived[key] = true
		s.fails(at, fate, "with "+what+" synced")
	}
	s.log = forgetful
	_, problems := s.comeBack(at-left, fate)
	s.log = whole
	if len(problems) == 0 {
		s.t.Errorf("%s: %d syncs were left out, and nobody noticed", what, left)
		return
	}
	s.t.Logf("%s, noticed: %s", what, problems[0])
}

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil && strings.Count(pattern, "/") == strings.Count(name, "/")
}
