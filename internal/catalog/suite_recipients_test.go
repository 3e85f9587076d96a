package catalog_test

import (
	"errors"
	"slices"
	"testing"

	"capstan"
	"capstan/internal/catalog"
)

// testRecipients: what is known of a set's encryption names its archives.
func testRecipients(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	clear, secret := begin(t, c), begin(t, c)
	to := []string{"age1abc", "age1def"}
	must(t, c.EncryptTo(ctx, secret.ID, to))
	got, err := c.Set(ctx, secret.ID)
	must(t, err)
	if !slices.Equal(got.Recipients, to) || !got.Encrypted() {
		t.Errorf("recipients %q, want %q", got.Recipients, to)
	}
	if got, err = c.Set(ctx, clear.ID); err != nil || got.Recipients != nil || got.Encrypted() {
		t.Errorf("a set that is not encrypted: %q, %v", got.Recipients, err)
	}
	for set, want := range map[capstan.SetID]string{
		clear.ID: "backup_2026-11_000001_0001.tar.zst", secret.ID: "backup_2026-11_000002_0001.tar.zst.age",
	} {
		if a := plan(t, c, set); a.Name != want {
			t.Errorf("archive %s, want %s", a.Name, want)
		}
	}
	if err := c.EncryptTo(ctx, secret.ID, to[:1]); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("recipients of a set with archives were changed: %v", err)
	}
	if err := c.EncryptTo(ctx, "2020-01_000001", to); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("recipients of no set: %v", err)
	}
}

// testRotation: nothing of it is seen in the set before its end, and all of it after.
func testRotation(t *testing.T, open opener) {
	c := open(t)
	ctx := t.Context()
	begin(t, c) // records the volume
	set, archives := foreign()
	if _, err := c.Import(ctx, set, archives, volume, each(nil)); err != nil {
		t.Fatal(err)
	}
	must(t, c.SetSums(ctx, set.ID, volume, capstan.Hash{1}))
	must(t, c.SetCopy(ctx, set.ID, 1, volume, capstan.CopyVerified, "", noon))
	if err := c.EndRotation(ctx, set.ID, nil); err == nil {
		t.Error("a rotation ended that was never begun")
	}
	to := []string{"age1new"}
	for range 2 {
		must(t, c.BeginRotation(ctx, set.ID, to))
	}
	if err := c.BeginRotation(ctx, set.ID, []string{"age1other"}); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("a second rotation: %v", err)
	}
	plan := catalog.Rewrap{Volume: volume, Name: archives[0].Name, Header: []byte("header")}
	must(t, c.PlanRewrap(ctx, set.ID, plan))
	plan.Size, plan.Hash = 77, capstan.Hash{7}
	must(t, c.PlanRewrap(ctx, set.ID, plan))
	must(t, c.PlanRewrap(ctx, set.ID, catalog.Rewrap{Volume: volume, Name: archives[1].Name, Header: []byte("x")}))
	must(t, c.PlanRewrap(ctx, set.ID, catalog.Rewrap{Volume: volume, Name: "gone", Header: []byte("x")}))
	must(t, c.DropRewrap(ctx, set.ID, volume, "gone"))
	open1, err := c.Rotation(ctx, set.ID)
	must(t, err)
	if got, found := open1.Find(volume, plan.Name); !found || string(got.Header) != "header" || got.Size != 77 || got.Hash != plan.Hash {
		t.Errorf("the plan is %+v, %t", got, found)
	}
	if got, found := open1.Find(volume, archives[1].Name); !found || !got.Hash.IsZero() || len(open1.Rewraps) != 2 {
		t.Errorf("%d plans, one without a hash is %+v, %t", len(open1.Rewraps), got, found)
	}
	before, err := c.Archive(ctx, set.ID, 1)
	if err != nil || before.Size != archives[0].Size || before.Hash != archives[0].Hash {
		t.Errorf("before its end: %+v, %v", before, err)
	}
	must(t, c.EndRotation(ctx, set.ID, map[capstan.VolumeID]capstan.Hash{volume: {9}}))
	after, err := c.Archive(ctx, set.ID, 1)
	if err != nil || after.Size != 77 || after.Hash != plan.Hash {
		t.Errorf("after its end: %+v, %v", after, err)
	}
	if other, err := c.Archive(ctx, set.ID, 2); err != nil || other.Hash != archives[1].Hash {
		t.Errorf("an archive that was not rewritten: %+v, %v", other, err)
	}
	sum, _, err := c.Sums(ctx, set.ID, volume)
	if err != nil || sum != (capstan.Hash{9}) {
		t.Errorf("sums %x, %v", sum, err)
	}
	copies, err := c.Copies(ctx, set.ID)
	if err != nil || copies[0].State != capstan.CopyWritten || !copies[0].Verified.IsZero() {
		t.Errorf("nobody has read the new file back, yet: %+v, %v", copies, err)
	}
	now, err := c.Set(ctx, set.ID)
	if err != nil || !slices.Equal(now.Recipients, to) {
		t.Errorf("recipients %q, %v", now.Recipients, err)
	}
	if left, err := c.Rotation(ctx, set.ID); err != nil || len(left.Recipients)+len(left.Rewraps) > 0 {
		t.Errorf("left over: %+v, %v", left, err)
	}
	must(t, c.BeginRotation(ctx, set.ID, to)) // a set that is deleted takes it along
	must(t, c.PlanRewrap(ctx, set.ID, plan))
	must(t, c.DeleteSet(ctx, set.ID))
}
