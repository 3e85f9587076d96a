package pg

import (
	"errors"
	"strings"
	"testing"

	"capstan"
)

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]Address{
		"postgres://u:secret@h:5433/app?sslmode=disable":           {User: "u", Database: "app", Host: "h", Hosts: "h:5433", Port: "5433"},
		"postgres://u@h1:1,h2:2/app?sslmode=prefer":                {User: "u", Database: "app", Host: "h1", Hosts: "h1:1,h2:2", Port: "1"},
		"host=/run/pg port=5432 user=u password=secret":            {User: "u", Database: "u", Host: "/run/pg", Hosts: "/run/pg:5432", Port: "5432"},
		"host=::1 port=5432 user=u dbname='a b' sslmode='disable'": {User: "u", Database: "a b", Host: "::1", Hosts: "[::1]:5432", Port: "5432"},
	} {
		if got, err := ParseAddress(url); got != want || err != nil {
			t.Errorf("%s: %+v, %v", url, got, err)
		}
		if again, err := ParseAddress(want.String()); again != want || err != nil || strings.Contains(want.String(), "secret") {
			t.Errorf("%s leads to %+v, not to %+v (%v)", want, again, want, err)
		}
	}
	if _, err := ParseAddress("postgres://u:secret@h:port/x"); !errors.Is(err, capstan.ErrUsage) || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}
