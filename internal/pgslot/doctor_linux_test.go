package pgslot_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/disk"
	"capstan/internal/pgslot"
)

// shell runs a line, for what a person does by hand.
func shell(t *testing.T, line string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "sh", "-ec", line).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// What goes wrong with slots, as it is made by hand: each is found by its name, a
// running server forbids the repair, and what is repaired makes the server come up
// with each slot once and where it was.
func TestDoctor(t *testing.T) {
	t.Parallel()
	server, place, busy := crashed(t, 17, 300)
	slots := filepath.Join(server.Data, "pg_replslot")
	want := stateOf(t, slots+"/out/state")
	root := pgslot.DefaultRoot(server.Data)
	// A quarantine keeps a good state; it is what a missing one is put back from.
	record, err := place.Quarantine(t.Context(), "out", pgslot.Where{})
	must(t, err)
	must(t, place.Started(t.Context(), &record))
	shell(t, "cp -a "+server.Data+" "+server.Data+".saved; cp -a "+root+" "+root+".saved")
	for name, test := range map[string]struct {
		make string // a shell line, in pg_replslot
		kind pgslot.Kind
		slot string
		left bool // there is no safe repair
	}{
		"the seed's trick":      {make: "cp -a out out.bak", kind: pgslot.KindGhost, slot: "out"},
		"a renamed directory":   {make: "mv out out_old", kind: pgslot.KindMisnamed, slot: "out"},
		"two that claim it":     {make: "cp -a out out.one; mv out out.two", kind: pgslot.KindDuplicate, slot: "out", left: true},
		"no state":              {make: "rm out/state", kind: pgslot.KindNoState, slot: "out"},
		"an empty directory":    {make: "mkdir -m 700 empty; chown --reference=out empty", kind: pgslot.KindNoState, slot: "empty", left: true},
		"a damaged state":       {make: "printf x | dd of=out/state bs=1 seek=40 conv=notrunc status=none", kind: pgslot.KindBadState, slot: "out"},
		"damaged, no copy":      {make: "printf x | dd of=standby/state bs=1 seek=40 conv=notrunc status=none", kind: pgslot.KindBadState, slot: "standby", left: true},
		"state not for owner":   {make: "chmod 400 out/state", kind: pgslot.KindOwner, slot: "out"},
		"slot not for owner":    {make: "chmod 500 out", kind: pgslot.KindOwner, slot: "out"},
		"everybody may read it": {make: "chmod 755 out", kind: pgslot.KindOwner, slot: "out"},
	} {
		t.Run(name, func(t *testing.T) {
			shell(t, "rm -rf "+server.Data+" "+root+"; cp -a "+server.Data+".saved "+server.Data+"; cp -a "+root+".saved "+root)
			shell(t, "cd "+slots+"; "+test.make)
			if test.kind == pgslot.KindOwner && os.Geteuid() == 0 && strings.Contains(test.make, "400") {
				shell(t, "chown root "+slots+"/out/state") // as root leaves it who copies it back
			}
			findings := find(t, place, test.kind, test.slot, test.left)
			before := tree(t, slots, root)
			*busy = errors.New("a postmaster lives")
			for i := range findings {
				if err := place.Repair(t.Context(), &findings[i], pgslot.Where{}); !errors.Is(err, capstan.ErrRefused) {
					t.Errorf("with a server: %v", err)
				}
			}
			*busy = nil
			if tree(t, slots, root) != before {
				t.Error("something was touched")
			}
			if test.left {
				return
			}
			for i := range findings {
				must(t, place.Repair(t.Context(), &findings[i], pgslot.Where{}))
				if !findings[i].Repaired {
					t.Errorf("%+v", findings[i])
				}
			}
			if again, err := place.Examine(t.Context(), pgslot.Where{}); err != nil || len(again) != 0 {
				t.Fatalf("after the repair: %+v, %v", again, err)
			}
			server.Start()
			got := server.Text("select string_agg(slot_name || ' ' || restart_lsn, ',' order by slot_name) from pg_replication_slots")
			if !strings.HasPrefix(got, "out "+want.RestartLSN.String()+",standby ") || strings.Count(got, ",") != 1 {
				t.Errorf("the server has %s, out was at %s", got, want.RestartLSN)
			}
			server.Crash()
		})
	}
}

// find examines, and expects findings of one kind about one slot.
func find(t *testing.T, place *pgslot.Place, kind pgslot.Kind, slot string, left bool) []pgslot.Finding {
	t.Helper()
	findings, err := place.Examine(t.Context(), pgslot.Where{})
	must(t, err)
	if len(findings) == 0 {
		t.Fatal("nothing was found")
	}
	for _, f := range findings {
		if f.Kind != kind || f.Slot != slot || (f.Repair == "") != left || (left && f.Next == "") || f.Detail == "" || f.Harmless {
			t.Errorf("%+v, want %s of %s", f, kind, slot)
		}
	}
	return findings
}

// What the server deals with itself is said and is no fault; a quarantine that was
// killed is ended by a repair, also while a server runs.
func TestDoctorHarmless(t *testing.T) {
	t.Parallel()
	server, place, busy := crashed(t, 14, 300)
	slots := filepath.Join(server.Data, "pg_replslot")
	shell(t, "cd "+slots+"; cp -a out gone.tmp; touch note")
	findings, err := place.Examine(t.Context(), pgslot.Where{})
	if err != nil || len(findings) != 2 || !findings[0].Harmless || !findings[1].Harmless || findings[0].Kind != pgslot.KindUnfinished || findings[1].Kind != pgslot.KindForeign {
		t.Errorf("%+v, %v", findings, err)
	}
	n := 0
	dying := *place
	dying.FS.Faults = disk.FaultFunc(func(op disk.Op, _ string, _ int) error {
		if op == disk.OpExchange || n > 0 {
			n++
			return errors.New("killed")
		}
		return nil
	})
	if _, err := dying.Quarantine(t.Context(), "out", pgslot.Where{}); err == nil {
		t.Fatal("it was not killed")
	}
	*busy = errors.New("a postmaster lives")
	findings, err = place.Examine(t.Context(), pgslot.Where{})
	if err != nil || len(findings) != 3 || findings[2].Kind != pgslot.KindQuarantine {
		t.Fatalf("%+v, %v", findings, err)
	}
	must(t, place.Repair(t.Context(), &findings[2], pgslot.Where{}))
	if left, err := os.ReadDir(pgslot.DefaultRoot(server.Data)); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// A file that breaks off, of another kind, or of a WAL that is gone is mapped as far
// as it can be.
func TestMapDamage(t *testing.T) {
	t.Parallel()
	server, place, _ := crashed(t, 13, 300)
	files := server.SpillFiles("out")
	path := filepath.Join(server.Data, "pg_replslot/out", files[0])
	data, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, data[:len(data)-1], 0o600))
	origin, err := place.Map(t.Context(), path)
	if err != nil || origin.Damage == "" || origin.Bytes != int64(len(data)-1) {
		t.Errorf("%+v, %v", origin, err)
	}
	gone := filepath.Join(server.Data, "pg_replslot/out/xid-7-lsn-AB-1000000.spill")
	must(t, os.WriteFile(gone, data, 0o600))
	origin, err = place.Map(t.Context(), gone)
	if err != nil || origin.Kept || origin.Segment != "00000001000000AB00000001" || !strings.Contains(origin.Damage, "a record of") {
		t.Errorf("%+v, %v", origin, err)
	}
	for _, name := range []string{"state", "xid-1-snap"} {
		if _, err := place.Map(t.Context(), filepath.Join(server.Data, "pg_replslot/out", name)); !errors.Is(err, capstan.ErrUsage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := place.Map(t.Context(), filepath.Join(filepath.Dir(path), "xid-9-lsn-0-0.spill")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	fifo := filepath.Join(server.Data, "pg_replslot/out/xid-8-lsn-0-0.spill")
	shell(t, "mkfifo "+fifo)
	if _, err := place.Map(t.Context(), fifo); err == nil {
		t.Error("a fifo was read")
	}
}

// What is advised depends on the version and on what was found.
func TestAdvice(t *testing.T) {
	t.Parallel()
	spilled := pgslot.SlotSpill{Files: 3, Bytes: 3 << 30, Top: []pgslot.Transaction{{XID: 7, Files: 1, Bytes: 2 << 30}}}
	for major, words := range map[int]string{
		13: "this version cannot stream", 14: "streaming = on", 15: "streaming = on", 16: "streaming = parallel", 18: "streaming = parallel",
	} {
		text := strings.Join(pgslot.Advice(major, &spilled, pgslot.Settings{}), "\n")
		if !strings.Contains(text, words) || !strings.Contains(text, "transaction 7 alone") || strings.Contains(text, "later versions") != (major < 18) {
			t.Errorf("%d: %s", major, text)
		}
	}
	if text := strings.Join(pgslot.Advice(16, &spilled, pgslot.Settings{Streams: true}), "\n"); strings.Contains(text, "ALTER SUBSCRIPTION") {
		t.Errorf("a slot that streams: %s", text)
	}
	if got := pgslot.Advice(15, &pgslot.SlotSpill{}, pgslot.Settings{}); len(got) != 0 {
		t.Errorf("a slot without spill files: %q", got)
	}
	if got := pgslot.Advice(15, &pgslot.SlotSpill{Damage: "x", Invalidated: true}, pgslot.Settings{}); len(got) != 2 {
		t.Errorf("%q", got)
	}
}
