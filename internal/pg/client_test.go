package pg

import (
	"strings"
	"testing"
)

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Version{
		"pg_dump (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)": {15, 20}, "18.4": {18, 4}, "17.10 (Debian 17.10-1)": {17, 10},
		"pg_dump (PostgreSQL) 19beta1": {19, 0}, "18rc1": {18, 0}, "pg_dump (PostgreSQL) 19devel\n": {19, 0},
	} {
		if got, err := ParseVersion(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "pg_dump", "x15.2", "PostgreSQL 15.x"} {
		if got, err := ParseVersion(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestOlderThan(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		program, server Version
		older           bool
	}{
		{Version{15, 20}, Version{15, 20}, false},
		{Version{15, 19}, Version{15, 20}, true},
		{Version{15, 21}, Version{15, 20}, false},
		{Version{15, 99}, Version{17, 0}, true},
		{Version{17, 12}, Version{15, 20}, false},
		{Version{17, 11}, Version{15, 20}, true},
		{Version{18, 4}, Version{17, 10}, false},
		{Version{18, 3}, Version{17, 10}, true},
		{Version{19, 0}, Version{15, 20}, false},
	} {
		if got := test.program.OlderThan(test.server); got != test.older {
			t.Errorf("%v for %v: %v", test.program, test.server, got)
		}
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	found := []Client{{"/18", Version{18, 6}}, {"/15", Version{15, 19}}, {"/17old", Version{17, 11}}, {"/17", Version{17, 12}}}
	for server, want := range map[Version]string{{15, 19}: "/15", {15, 20}: "/17", {17, 10}: "/17", {18, 4}: "/18", {16, 14}: "/17"} {
		if got, err := choose("pg_dump", server, found); err != nil || got.Path != want {
			t.Errorf("%v: %v, %v", server, got, err)
		}
	}
	_, err := choose("pg_dump", Version{19, 1}, found)
	for _, want := range []string{"pg_dump", "19.1", "older than the server", "/18 is 18.6", "install the clients of PostgreSQL 19"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	if _, err := choose("pg_dump", Version{15, 1}, nil); err == nil || !strings.Contains(err.Error(), "none is installed") {
		t.Errorf("%v", err)
	}
}
