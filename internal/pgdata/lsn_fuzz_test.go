package pgdata

import "testing"

// FuzzLSN: what is taken for a place in the WAL comes back from its own text.
func FuzzLSN(f *testing.F) {
	for _, seed := range []string{"0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF", "1/+5", "0x1/2", "1/2/3", "/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := ParseLSN(text)
		if err != nil {
			return
		}
		if again, err := ParseLSN(at.String()); err != nil || again != at || len(text) < 3 {
			t.Fatalf("%q is %s, which is %s, %v", text, at, again, err)
		}
	})
}
