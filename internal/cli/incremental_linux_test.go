package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capstan/internal/capstantest"
)

// changes are what happens to the tree before each incremental run.
var changes = []string{
	// Creates, deletes, renames.
	`echo new > new; mkdir made; echo in > made/in; rm text; rm -r tree/gone; mv tree/old tree/renamed; mv dir1 dir2`,
	// Type changes, both ways.
	`rm -r tree/sub; echo file > tree/sub; rm file2dir; mkdir file2dir; echo x > file2dir/x; rm link2file; echo y > link2file; rm -r dir2link; ln -s tree dir2link`,
	// Metadata only.
	`chmod 600 new; touch -d '2001-02-03 04:05:06.789' made; setfattr -n user.a -v b made/in; setfacl -m u:1234:r new; chown 1:2 tree/renamed`,
	// Hard links: a member changed, a first name removed, a new name.
	`echo more >> linked/b; rm linked2/a; ln linked3/a linked3/c; rm tree/sub; mkdir tree/sub; echo back > tree/sub/back`,
	// What was deleted comes back; nothing else.
	`mkdir tree/gone; echo again > tree/gone/again; echo text > text; rm -r made`,
}

const changesStart = `
mkdir -p tree/sub/deep tree/gone/deep dir1 dir2link linked linked2 linked3
for f in text tree/a tree/old tree/sub/s tree/sub/deep/d tree/gone/g tree/gone/deep/h dir1/one dir1/two dir2link/x file2dir; do echo "$f" > "$f"; done
ln -s text link2file
for d in linked linked2 linked3; do echo "$d" > $d/a; ln $d/a $d/b; done
dd if=/dev/urandom of=big bs=1M count=3 2>/dev/null
`

// TestChain makes a full set and five incremental ones over a changing tree:
// each restores exactly the tree of its run, by restore and by stock tools.
func TestChain(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"--incremental", "--differential"} {
		t.Run(mode[2:], func(t *testing.T) {
			t.Parallel()
			dir := scratch(t)
			f := &field{t: t, dir: dir, data: filepath.Join(dir, "data"), vol: filepath.Join(dir, "vol")}
			if err := os.Mkdir(f.data, 0o755); err != nil {
				t.Fatal(err)
			}
			f.shell(f.data, changesStart)
			f.run("backup", f.data, "--to", f.vol, mode, "--archive-size", "2MiB")
			f.shell(dir, "cp -a data was0")
			for i, change := range changes {
				f.shell(f.data, change)
				summary := f.run("backup", f.data, "--to", f.vol, mode, "--json")
				if i > 0 && strings.Contains(summary, `"unchanged":0,`) {
					t.Errorf("run %d stored everything: %s", i+1, summary)
				}
				f.shell(dir, fmt.Sprintf("cp -a data was%d", i+1))
			}
			f.run("verify", "--read-data")
			f.run("catalog", "check")
			f.checkChain(dir, "")
			// Another home knows the same from the volume alone.
			f.run("--home", "fresh", "catalog", "rebuild", f.vol)
			f.checkChain(dir, "fresh")
		})
	}
}

// checkChain restores every set and compares it with the tree of its time.
func (f *field) checkChain(dir, home string) {
	f.t.Helper()
	sets, err := filepath.Glob(filepath.Join(f.vol, "20*_*"))
	if err != nil || len(sets) != len(changes)+1 {
		f.t.Fatalf("sets %v, %v", sets, err)
	}
	for i, set := range sets {
		was := filepath.Join(dir, fmt.Sprintf("was%d", i))
		back := filepath.Join(dir, fmt.Sprintf("back%d%s", i, home))
		args := []string{"restore", filepath.Base(set), "--to", back}
		if home != "" {
			args = append(args, "--home", home)
		}
		f.run(args...)
		capstantest.CompareTrees(f.t, was, filepath.Join(back, "data"))
		if home != "" {
			continue
		}
		stock := filepath.Join(dir, fmt.Sprintf("stock%d", i))
		for _, link := range f.chainOf(set) {
			stockRestore(f.t, filepath.Join(f.vol, link), stock)
		}
		capstantest.CompareTrees(f.t, was, filepath.Join(stock, "data"), capstantest.IgnoreTimes())
	}
}

// chainOf reads from RESTORE.txt which sets are restored, in order.
func (f *field) chainOf(set string) []string {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(set, "RESTORE.txt"))
	if err != nil {
		f.t.Fatal(err)
	}
	var chain []string
	own := filepath.Base(set)
	for field := range strings.FieldsSeq(string(text)) {
		id := strings.Trim(field, ".,;:()'\"")
		if len(id) == len(own) && id[:8] == own[:8] && id != own && !slices.Contains(chain, id) {
			chain = append(chain, id)
		}
	}
	return append(chain, own)
}

// shell runs a script that makes or changes a tree.
func (f *field) shell(dir, script string) {
	f.t.Helper()
	cmd := exec.CommandContext(f.t.Context(), "sh", "-ec", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("%v\n%s", err, out)
	}
}
