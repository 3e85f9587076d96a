package catalog_test

import (
	"errors"
	"slices"
	"testing"

	"capstan"
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
