package dir

import (
	"testing"

	"capstan"
	"capstan/internal/capstantest"
)

const testOwner = "7d0f2a3e-home-of-the-tests"

func TestVolumeSuite(t *testing.T) {
	t.Parallel()
	capstantest.VolumeSuite(t, func(t *testing.T) capstan.Volume {
		// Another catalog's id: the suite's sets become ours by ClaimSet alone.
		v, err := Open(t.TempDir(), Options{Create: true, Catalog: testOwner})
		if err != nil {
			t.Fatal(err)
		}
		return v
	})
}
