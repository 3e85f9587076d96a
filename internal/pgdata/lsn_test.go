package pgdata_test

import (
	"testing"

	"capstan/internal/pgdata"
)

func TestLSN(t *testing.T) {
	t.Parallel()
	for _, want := range []pgdata.LSN{0, 0x2000000, 0x42D1E20000000, 1<<64 - 1} {
		if got, err := pgdata.ParseLSN(want.String()); err != nil || got != want {
			t.Errorf("%s: %s, %v", want, got, err)
		}
	}
	for _, text := range []string{"", "/", "1", "1/", "/1", "100000000/0", "0/100000000", "g/1", "0/1/2", "-1/0"} {
		if got, err := pgdata.ParseLSN(text); err == nil {
			t.Errorf("%q gave %s", text, got)
		}
	}
}
