package cli_test

import (
	"fmt"

	"capstan/internal/capstantest/slowfs"
)

// killPoints are the names of the points at which TestKilled kills, in the order of
// a run. Each stands for operations on home, stage, volumes or the target of a restore.
var killPoints = []string{"pack", "seal", "rename", "commit", "write", "delete", "restore", "forget", "consolidate", "pool"}

// command is what is killed.
type command string

const (
	theFirst   command = "first backup" // into a home, a stage and volumes that are made by it
	theBackup  command = "backup"
	theResume  command = "resume" // a backup after one that was killed with unfinished files
	theRetry   command = "retry"
	theAbandon command = "abandon"
	theRestore command = "restore"
	theRepeat  command = "restore --overwrite" // over a whole tree
	theForget  command = "forget"

	theConsolidate command = "consolidate"
	thePool        command = "forget --pool"
)

// spot is one kind of operation at which a command is killed.
type spot struct {
	by    command
	place string // where the operation is: "home", "stage", "one", "two", "target"; "": anywhere
	op    slowfs.Op
	names string // pattern of the file's name
	most  int    // so many of them may come, or more; where in a run it is killed is drawn from these
	late  bool   // after the operation, not before
}

func (s spot) String() string {
	when := "before"
	if s.late {
		when = "after"
	}
	return fmt.Sprintf("%s: %s %s of %s in %s", s.by, when, s.op, s.names, s.place)
}

// spotsOf gives the operations behind each point, in a lane with a stage and two
// volumes, or with one volume that is written directly.
func spotsOf(staged bool) map[string][]spot {
	spots := map[string][]spot{}
	add := func(point string, by command, place, names string, most int, ops ...slowfs.Op) {
		for _, op := range ops {
			for _, late := range []bool{false, true} {
				spots[point] = append(spots[point], spot{by, place, op, names, most, late})
			}
		}
	}
	const archives = "backup_*"
	packed := "one"
	if staged {
		packed = "stage"
	}
	add("pack", theBackup, packed, archives, 4, slowfs.Create)
	add("pack", theBackup, packed, archives, 10, slowfs.Write)
	add("seal", theBackup, packed, archives, 4, slowfs.Sync, slowfs.Close)
	add("seal", theBackup, packed, "20*", 4, slowfs.SyncDir)
	add("seal", theResume, packed, archives, 2, slowfs.Sync)

	add("rename", theBackup, packed, archives, 4, slowfs.Rename)
	add("rename", theResume, packed, archives, 2, slowfs.Rename)
	for _, name := range []string{"20??-*", "manifest*", "RESTORE.txt*", "catalog.sqlite*", "SHA256SUMS", "SHA256SUMS.sig"} {
		add("rename", theBackup, "one", name, 1, slowfs.Rename)
	}
	add("rename", theFirst, "one", "capstan-volume.json", 1, slowfs.Rename)
	add("rename", theFirst, "home", "signing-key.pem", 1, slowfs.Rename)

	add("commit", theBackup, "home", "catalog.db-wal", 60, slowfs.Write)
	add("commit", theBackup, "home", "catalog.db-wal", 20, slowfs.Sync)
	add("commit", theBackup, "home", "catalog.db", 2, slowfs.Write, slowfs.Sync)
	add("commit", theResume, "home", "catalog.db-wal", 12, slowfs.Sync)
	add("commit", theFirst, "home", "catalog.db*", 20, slowfs.Write, slowfs.Create)

	volume := "one"
	if staged {
		volume = "two"
		add("write", theBackup, "one", archives, 4, slowfs.Create, slowfs.Sync, slowfs.Rename)
		add("write", theBackup, "two", archives, 8, slowfs.Write)
		add("write", theRetry, "two", archives, 4, slowfs.Write, slowfs.Sync, slowfs.Rename)
		add("write", theRetry, "two", "SHA256SUMS*", 2, slowfs.Rename)
		add("write", theRetry, "home", "catalog.db-wal", 12, slowfs.Sync)
		add("rename", theFirst, "stage", "capstan-stage.json", 1, slowfs.Rename)
		add("delete", theBackup, "stage", archives, 4, slowfs.Unlink)
		add("delete", theBackup, "stage", "20*", 1, slowfs.Rmdir)
		add("delete", theRetry, "stage", archives, 4, slowfs.Unlink)
		add("delete", theAbandon, "stage", archives, 4, slowfs.Unlink)
		add("delete", theAbandon, "home", "catalog.db-wal", 4, slowfs.Sync)
	}
	add("write", theBackup, volume, "manifest*", 2, slowfs.Create, slowfs.Write, slowfs.Sync)
	add("write", theBackup, volume, "catalog.sqlite*", 3, slowfs.Write)
	add("write", theBackup, volume, "SHA256SUMS*", 2, slowfs.Write, slowfs.Sync)
	add("delete", theResume, packed, archives, 1, slowfs.Unlink)
	add("delete", theBackup, "home", "*", 2, slowfs.Unlink)

	add("restore", theRestore, "target", "*", 40, slowfs.Create, slowfs.Write, slowfs.Close, slowfs.Rename)
	add("restore", theRestore, "target", "*", 8, slowfs.Mkdir)
	add("restore", theRestore, "home", "catalog.db-wal", 3, slowfs.Sync)
	add("restore", theRepeat, "target", "*", 40, slowfs.Create, slowfs.Write, slowfs.Rename)

	for point, by := range map[string]command{"forget": theForget, "pool": thePool} {
		add(point, by, "home", "catalog.db-wal", 7, slowfs.Sync)
		for _, name := range []string{"SHA256SUMS.sig", "SHA256SUMS", "manifest*", ".capstan-owner.json"} {
			add(point, by, volume, name, 1, slowfs.Unlink)
		}
		add(point, by, volume, archives, 4, slowfs.Unlink)
		add(point, by, volume, ".capstan-claim-*", 1, slowfs.Rename)
		add(point, by, volume, "*", 1, slowfs.Rmdir)
	}

	add("consolidate", theConsolidate, "home", "catalog.db-wal", 20, slowfs.Sync)
	add("consolidate", theConsolidate, packed, archives, 4, slowfs.Create, slowfs.Sync, slowfs.Rename)
	add("consolidate", theConsolidate, packed, archives, 10, slowfs.Write)
	add("consolidate", theConsolidate, "one", "20??-*", 1, slowfs.Rename)
	for _, name := range []string{"manifest*", "catalog.sqlite*", "SHA256SUMS", "SHA256SUMS.sig"} {
		add("consolidate", theConsolidate, volume, name, 1, slowfs.Rename)
	}
	if staged {
		add("consolidate", theConsolidate, volume, archives, 4, slowfs.Write, slowfs.Rename)
		add("consolidate", theConsolidate, "stage", archives, 4, slowfs.Unlink)
	}
	return spots
}
