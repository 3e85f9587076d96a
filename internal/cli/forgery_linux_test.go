package cli_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan"
	"capstan/internal/capstantest"
	"capstan/internal/manifest"
)

// forger is a field with three sets that look alike: their archives have the same
// sizes, and hold other content under the same names. Whoever forges has the volume,
// and not the home.
type forger struct {
	*field
	t   *testing.T
	was [3]string // the tree of each set
	ids [3]string
}

func newForger(t *testing.T) *forger {
	t.Helper()
	g := &forger{field: newField(t), t: t}
	for i := range g.was {
		for n := range 12 {
			write(t, filepath.Join(g.data, fmt.Sprintf("file-%02d", n)), noise(uint64(n), 20_000))
		}
		write(t, filepath.Join(g.data, "changing"), noise(uint64(100+i), 30_000))
		g.run("backup", g.data, "--to", g.vol, "--compress", "none")
		g.was[i] = filepath.Join(g.dir, fmt.Sprintf("was%d", i))
		g.shell(g.dir, fmt.Sprintf("cp -a data was%d", i))
	}
	for i, set := range g.sets() {
		g.ids[i] = set.Set
	}
	return g
}

// sub makes a subtest, with a volume that is as it was at its end.
func (g *forger) sub(name string, do func(g *forger)) {
	g.t.Helper()
	g.t.Run(name, func(t *testing.T) {
		here := *g
		inner := *g.field
		inner.t = t
		here.field, here.t = &inner, t
		here.shell(here.dir, "cp -a vol kept")
		defer here.shell(here.dir, "rm -rf vol fresh && mv kept vol")
		do(&here)
	})
}

// sh runs a script in the volume; $1, $2 and $3 are the sets.
func (g *forger) sh(script string) {
	g.t.Helper()
	g.shell(g.vol, "set -- "+strings.Join(g.ids[:], " ")+"\n"+script)
}

// fresh is a command of a home that knows nothing but what it read from the volume.
func fresh(args ...string) []string { return append([]string{"--home", "fresh"}, args...) }

// restores restores a set, and expects all but the named entries as they were.
func (g *forger) restores(code, set int, lost ...string) {
	g.t.Helper()
	back := filepath.Join(g.t.TempDir(), "back")
	e := g.exits(code, []string{"restore", g.ids[set], "--to", back}, lost...)
	capstantest.CompareTrees(g.t, g.was[set], filepath.Join(back, "data"), capstantest.Skip(func(path string) bool {
		return slices.Contains(lost, "data/"+path)
	}))
	for _, name := range lost {
		if _, err := os.Lstat(filepath.Join(back, name)); err == nil {
			g.t.Errorf("%s was put back, and is not what it was:\n%s", name, e.err)
		}
	}
}

// signs gives a set sums and a signature that fit its files, by a key of the forger's own.
func (g *forger) signs(set int) {
	g.t.Helper()
	g.sh(fmt.Sprintf("cd $%d && sha256sum $(cut -c67- SHA256SUMS) > new && mv new SHA256SUMS", set+1))
	key, err := manifest.LoadOrCreateKey(filepath.Join(g.dir, "forger.pem"))
	if err != nil {
		g.t.Fatal(err)
	}
	read := func(set int) []byte {
		g.t.Helper()
		text, err := os.ReadFile(filepath.Join(g.vol, g.ids[set], "SHA256SUMS"))
		if err != nil {
			g.t.Fatal(err)
		}
		return text
	}
	s := manifest.Statement{Set: capstan.SetID(g.ids[set]), Sums: sha256.Sum256(read(set)), Time: time.Unix(1_800_000_000, 0)}
	if set > 0 {
		s.Previous, s.PreviousSums = capstan.SetID(g.ids[set-1]), sha256.Sum256(read(set-1))
	}
	text, err := key.Sign(s)
	if err != nil {
		g.t.Fatal(err)
	}
	write(g.t, filepath.Join(g.vol, g.ids[set], "SHA256SUMS.sig"), text)
}

// TestForgery does to a volume what somebody does who has it and not the home: each
// is noticed with the home, and what can be noticed without it is.
func TestForgery(t *testing.T) {
	t.Parallel()
	g := newForger(t)
	g.run("verify", "--read-data")

	g.sub("archives exchanged", func(g *forger) {
		g.sh("a=backup_$1_0001.tar b=backup_$2_0001.tar; test $(stat -c %s $1/$a) = $(stat -c %s $2/$b); mv $1/$a x; mv $2/$b $1/$a; mv x $2/$b")
		for _, set := range []int{0, 1} {
			name := "backup_" + g.ids[set] + "_0001.tar"
			g.exits(3, []string{"verify", g.ids[set], "--read-data"}, name+": damaged", "data/changing")
			g.restores(3, set, "data/changing")
		}
		g.exits(0, []string{"verify", g.ids[2], "--read-data"})
		g.run(fresh("catalog", "rebuild", g.vol)...)
		g.exits(3, fresh("verify", "--read-data"), "backup_"+g.ids[0], "backup_"+g.ids[1], "data/changing")
	})
	g.sub("an older manifest", func(g *forger) {
		g.sh("cp $1/manifest.json.zst $2/")
		g.exits(3, []string{"verify", g.ids[1]}, "manifest.json.zst is damaged")
		g.restores(0, 1)
		g.exits(3, fresh("catalog", "rebuild", g.vol), g.ids[1], "manifest.json.zst is not the one in SHA256SUMS")
	})
	g.sub("an older manifest and sums that fit", func(g *forger) {
		g.sh("cp $1/manifest.json.zst $2/; cd $2; sha256sum $(cut -c67- SHA256SUMS) > new; mv new SHA256SUMS; sha256sum --quiet -c SHA256SUMS")
		g.exits(3, []string{"verify", g.ids[1]}, "it was made for another SHA256SUMS than the one here")
		g.exits(3, []string{"verify", g.ids[2]}, "set "+g.ids[1]+" is not the one that stood before it")
		g.restores(0, 1)
		g.exits(3, fresh("catalog", "rebuild", g.vol), g.ids[1], "it was made for another SHA256SUMS than the one here")
	})
	g.sub("a set in the place of another", func(g *forger) {
		g.sh("rm -r $2; cp -a $1 $2")
		g.exits(3, []string{"verify", g.ids[1]}, "the signature is that of set "+g.ids[0], "missing")
		g.exits(3, fresh("catalog", "rebuild", g.vol), "set "+g.ids[1], "the signature is that of set "+g.ids[0])
	})
	g.sub("a set under a name of its own", func(g *forger) {
		other := g.ids[0][:len(g.ids[0])-1] + "9"
		g.sh("cp -a $1 " + other)
		g.exits(0, []string{"verify"}) // nobody asks for it
		g.exits(3, fresh("catalog", "rebuild", g.vol), "set "+other, "the signature is that of set "+g.ids[0])
	})
	g.sub("signed by another key", func(g *forger) {
		g.sh("printf x >> $2/RESTORE.txt")
		g.signs(1)
		g.exits(3, []string{"verify", g.ids[1]}, "this home made it, but another one signed it")
		g.exits(3, []string{"verify", g.ids[2]}, "set "+g.ids[1]+" is not the one that stood before it")
		g.restores(0, 1)
		// Without the home no key is known: that they are not all the same is all that a
		// rebuild can say. The set after it says the rest.
		e := g.exits(0, fresh("catalog", "rebuild", g.vol))
		if keys := keysIn(e.err); len(keys) != 2 {
			t.Errorf("the sets are signed by two keys, said are %v:\n%s", keys, e.err)
		}
		g.exits(3, fresh("verify"), "set "+g.ids[1]+" is not the one that stood before it")
	})
	g.sub("the last one signed by another key", func(g *forger) {
		g.sh("printf x >> $3/RESTORE.txt")
		g.signs(2)
		g.exits(3, []string{"verify", g.ids[2]}, "this home made it, but another one signed it")
		if keys := keysIn(g.exits(0, fresh("catalog", "rebuild", g.vol)).err); len(keys) != 2 {
			t.Errorf("the sets are signed by two keys, said are %v", keys)
		}
		g.exits(0, fresh("verify")) // nothing on the volume contradicts it
	})
	g.sub("the chain cut", func(g *forger) {
		g.sh("sed -i 's/^previous-set: .*/previous-set: -/; s/^previous-sums-sha256: .*/previous-sums-sha256: -/' $3/SHA256SUMS.sig")
		g.exits(3, []string{"verify", g.ids[2]}, "SHA256SUMS.sig", "the signature does not match")
		g.restores(0, 2)
		g.exits(3, fresh("catalog", "rebuild", g.vol), g.ids[2], "the signature does not match")
	})
	g.sub("no signature", func(g *forger) {
		g.sh("rm $2/SHA256SUMS.sig")
		g.exits(3, []string{"verify", g.ids[1]}, "SHA256SUMS.sig")
		g.restores(0, 1)
		g.exits(3, fresh("catalog", "rebuild", g.vol), g.ids[1], "SHA256SUMS.sig", "it is missing")
	})
	g.sub("neither sums nor signature", func(g *forger) {
		g.sh("rm $2/SHA256SUMS*")
		g.exits(3, []string{"verify", g.ids[1]}, "SHA256SUMS")
		g.restores(0, 1)
		g.exits(3, fresh("catalog", "rebuild", g.vol), g.ids[1]+" on", "set "+g.ids[2]+" was signed after it")
	})
	g.sub("the middle one gone", func(g *forger) {
		g.sh("rm -r $2")
		g.exits(3, []string{"verify", g.ids[1]}, "missing")
		g.exits(3, []string{"verify", g.ids[2]}, "set "+g.ids[1]+", which stood before it, is gone")
		g.run(fresh("catalog", "rebuild", g.vol)...)
		g.exits(0, fresh("verify"), "was signed after set "+g.ids[1]+", which is no longer there") // as after a forget
	})
	g.sub("the last one gone", func(g *forger) {
		g.sh("rm -r $3")
		g.exits(3, []string{"verify"}, g.ids[2], "missing")
		g.run(fresh("catalog", "rebuild", g.vol)...)
		g.exits(0, fresh("verify", "--read-data")) // what is left is as whole as it was then
	})
	g.sub("all as it was", func(g *forger) {
		g.exits(0, []string{"verify", "--read-data"})
		for i := range g.ids {
			g.restores(0, i)
		}
	})
}

// keysIn gives the different keys that messages name.
func keysIn(messages string) map[string]bool {
	keys := map[string]bool{}
	for line := range strings.Lines(messages) {
		if _, key, found := strings.Cut(line, "(key …"); found {
			keys[key] = true
		}
	}
	return keys
}

// TestOlderForm puts an older form of a set back, from before it got other
// recipients: signed by the right key, and whole.
func TestOlderForm(t *testing.T) {
	t.Parallel()
	f := newField(t)
	plant(t, f.data, 91, 10, 5<<10)
	key, public := newKey(t)
	newer, other := newKey(t)
	for range 2 {
		f.run("backup", f.data, "--to", f.vol, "--encrypt-to", public)
	}
	first, last := f.sets()[0].Set, f.sets()[1].Set
	keys := []string{"--identity", key, "--identity", newer}
	for _, c := range []struct {
		set     string
		noticed int // how verify exits of a home that knows nothing but the volume
	}{
		{last, 0},  // nothing came after it
		{first, 3}, // the one after it is signed anew
	} {
		f.shell(f.dir, "cp -a vol/"+c.set+" older")
		f.run("key", "rewrap", c.set, "--identity", key, "--encrypt-to", other)
		f.run(append([]string{"verify", "--read-data"}, keys...)...)
		f.shell(f.dir, "mv vol/"+c.set+" aside; mv older vol/"+c.set)
		f.exits(3, append([]string{"verify", c.set}, keys...), "not the one that the catalog recorded", "an older form of it put back")
		f.exits(3, append([]string{"verify", c.set, "--read-data"}, keys...), "backup_"+c.set)
		f.run(append(fresh("catalog", "rebuild", f.vol), keys...)...)
		e := f.exits(c.noticed, append(fresh("verify"), keys...))
		if said := strings.Contains(e.err, "set "+c.set+" is not the one that stood before it"); said != (c.noticed == 3) {
			t.Errorf("of an older form of %s verify says:\n%s", c.set, e.err)
		}
		f.shell(f.dir, "rm -r vol/"+c.set+" fresh; mv aside vol/"+c.set)
	}
	f.run(append([]string{"verify", "--read-data"}, keys...)...)
}
