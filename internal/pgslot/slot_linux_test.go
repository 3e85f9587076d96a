package pgslot_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"capstan/internal/capstantest/pgtest"
	"capstan/internal/disk"
	"capstan/internal/pgdata"
	"capstan/internal/pgslot"
)

// placeOf is the data directory of a test's server. Its Idle says what *busy holds.
func placeOf(t testing.TB, s *pgtest.Server, busy *error) *pgslot.Place {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.Data, "global", "pg_control"))
	if err != nil {
		t.Fatal(err)
	}
	control, err := pgdata.ParseControl(data)
	if err != nil {
		t.Fatal(err)
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if cred := pgtest.Credential(t); cred != nil {
		uid, gid = int(cred.Uid), int(cred.Gid)
	}
	return &pgslot.Place{
		Dir: s.Data, Major: s.Major, SystemID: control.SystemID, Timeline: control.Timeline, Segment: control.SegmentSize, UID: uid, GID: gid,
		Idle: func() error { return *busy },
	}
}

// crashed is a cluster whose server was killed while the slot "out" had spill files.
func crashed(t testing.TB, major, subtransactions int) (*pgtest.Server, *pgslot.Place, *error) {
	t.Helper()
	s := pgtest.New(t, pgtest.Options{Major: major, Conf: pgtest.SpillConf()})
	s.Start()
	s.Spill("out", subtransactions)
	s.Exec("select pg_create_physical_replication_slot('standby', true)")
	s.Crash()
	var busy error
	return s, placeOf(t, s, &busy), &busy
}

// stateOf reads a slot's state file.
func stateOf(t testing.TB, path string) pgdata.SlotState {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	state, err := pgdata.ParseSlotState(data)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// tree lists everything in the directories with kind, mode, owner and content, so
// that two of them tell whether anything was touched.
func tree(t testing.TB, dirs ...string) string {
	t.Helper()
	var b strings.Builder
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			b.WriteString(path + " " + info.Mode().String())
			if info.Mode().IsRegular() {
				content, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				b.Write(content)
			}
			b.WriteByte('\n')
			return nil
		})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return b.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// On servers of every version: the report, the map and a quarantine of what a real
// transaction spilled, then a start with the slot as it was, then a purge.
func TestSpill(t *testing.T) {
	t.Parallel()
	for _, major := range pgtest.Majors() {
		t.Run(s(major), func(t *testing.T) {
			t.Parallel()
			const subtransactions = 2000
			server, place, _ := crashed(t, major, subtransactions)
			files := server.SpillFiles("out")
			relation := report(t, place, files)
			mapped(t, place, files, relation)

			before := stateOf(t, filepath.Join(server.Data, "pg_replslot/out/state"))
			release, err := place.Lock(pgslot.Where{})
			must(t, err)
			record, err := place.Quarantine(t.Context(), "out", pgslot.Where{})
			must(t, err)
			if left := server.SpillFiles("out"); len(left) != 0 || record.Step != pgslot.StepMoved || record.RestartLSN != before.RestartLSN {
				t.Errorf("%d files are left; %+v", len(left), record)
			}
			if err := place.Started(t.Context(), &record); err != nil {
				t.Errorf("verify before the start: %v", err)
			}
			server.Start()
			got := server.Text("select string_agg(slot_name || ' ' || coalesce(restart_lsn::text, ''), ',') from pg_replication_slots where slot_name = 'out'")
			if want := "out " + before.RestartLSN.String(); got != want {
				t.Errorf("the server has %q, want %q", got, want)
			}
			must(t, place.Started(t.Context(), &record))
			purged, err := place.Purge(t.Context(), &record, pgslot.PurgeOptions{Workers: 4})
			if err != nil || purged.Files != int64(len(files)) || purged.Others != 1 || len(purged.Named) != 0 {
				t.Errorf("%+v, %v; want %d files", purged, err, len(files))
			}
			entries, err := os.ReadDir(record.Path())
			if err != nil || len(entries) != 1 || entries[0].Name() != "state" {
				t.Errorf("the quarantine holds %v, %v", entries, err)
			}
			must(t, release())
			server.Stop()
		})
	}
}

// report compares what is reported with what lies there; it gives the relation.
func report(t *testing.T, place *pgslot.Place, files []string) string {
	t.Helper()
	reports, err := place.Report(t.Context(), "", 5)
	must(t, err)
	if len(reports) != 2 || reports[0].Slot != "out" || reports[1].Slot != "standby" || reports[1].Files != 0 {
		t.Fatalf("%+v", reports)
	}
	r, size := reports[0], int64(0)
	for _, file := range files {
		info, err := os.Stat(filepath.Join(place.Dir, "pg_replslot/out", file))
		must(t, err)
		size += info.Size()
	}
	if r.Files != int64(len(files)) || r.Bytes != size || r.Transactions > r.Files || r.Transactions < r.Files-5 || len(r.Top) != 5 || r.More || r.Others != 0 {
		t.Errorf("%+v, want %d files, %d bytes", r, len(files), size)
	}
	if r.Storm == nil || r.Storm.Files < 1000 || r.Plugin != "test_decoding" || r.Damage != "" {
		t.Errorf("%+v", r)
	}
	advice := strings.Join(pgslot.Advice(place.Major, &r, pgslot.Settings{WorkMem: "64kB"}), "\n")
	for _, word := range []string{"savepoint", "64kB", "logical_decoding_work_mem"} {
		if !strings.Contains(advice, word) {
			t.Errorf("no %q in %s", word, advice)
		}
	}
	return r.Storm.Segment
}

// mapped compares the origin of one file with the WAL itself.
func mapped(t *testing.T, place *pgslot.Place, files []string, segment string) {
	t.Helper()
	path := filepath.Join(place.Dir, "pg_replslot/out", files[len(files)/2])
	origin, err := place.Map(t.Context(), path)
	must(t, err)
	if origin.Slot != "out" || origin.Segment != segment || !origin.Kept || origin.Damage != "" || origin.Records == 0 ||
		len(origin.Relations) != 1 || origin.Relations[0].Number < 16384 || origin.Changes["insert"] != 1 ||
		!strings.Contains(origin.Proof, "pg_waldump -p "+place.Dir+"/pg_wal -x ") {
		t.Errorf("%+v", origin)
	}
	found := 0
	must(t, place.FilesOf(t.Context(), origin.XID, func(string) error { found++; return nil }))
	if found != 1 {
		t.Errorf("transaction %d has %d files, want 1", origin.XID, found)
	}
	if place.Major == 15 { // the pg_waldump of this version is there
		proof(t, origin)
	}
}

// The memory that a report and a purge take does not grow with the files: a real
// directory with very many is read, quarantined and emptied within some megabytes.
func TestManyFiles(t *testing.T) {
	t.Parallel()
	n := 100_000
	if text := os.Getenv("CAPSTAN_TEST_MANY_FILES"); text != "" { // by hand: a million and more, where there is room
		n, _ = strconv.Atoi(text)
	}
	dir := filepath.Join(t.TempDir(), "data")
	slot := filepath.Join(dir, "pg_replslot", "logical_one")
	must(t, os.MkdirAll(slot, 0o700))
	golden, err := os.ReadFile("../pgdata/testdata/slot-state-logical_one-17")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(slot, "state"), golden, 0o600))
	for i := range n {
		name := pgdata.SpillName{XID: uint32(i + 1), Start: pgdata.LSN(i%3) << 24}.String()
		must(t, os.WriteFile(filepath.Join(slot, name), nil, 0o600))
	}
	place := &pgslot.Place{
		Dir: dir, Major: 17, SystemID: 1, Timeline: 1, Segment: 16 << 20, FS: disk.FS{}, UID: os.Geteuid(), GID: os.Getegid(),
		Idle: func() error { return nil },
	}
	before := peak(t)
	reports, err := place.Report(t.Context(), "logical_one", 3)
	must(t, err)
	r := reports[0]
	if r.Files != int64(n) || !r.More || r.Segments != 3 || r.Storm == nil || len(r.Top) != 3 {
		t.Errorf("%+v", r)
	}
	count, err := place.Count(t.Context(), "logical_one", 0)
	if err != nil || count != int64(n) {
		t.Errorf("%d, %v", count, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := place.Report(ctx, "logical_one", 3); !errors.Is(err, enough) {
		t.Errorf("a cancelled report: %v", err)
	}
	record, err := place.Quarantine(t.Context(), "logical_one", pgslot.Where{})
	must(t, err)
	must(t, place.Started(t.Context(), &record))
	purged, err := place.Purge(t.Context(), &record, pgslot.PurgeOptions{Workers: 4})
	if err != nil || purged.Files != int64(n) {
		t.Errorf("%+v, %v", purged, err)
	}
	after := peak(t)
	t.Logf("%d files: peak resident memory %d KiB before, %d KiB after report and purge", n, before, after)
	if after-before > 48<<10 {
		t.Errorf("report and purge took %d KiB", after-before)
	}
}

// word makes a little-endian number.
func word(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
