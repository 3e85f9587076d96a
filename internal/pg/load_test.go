package pg

import (
	"strings"
	"testing"
)

func TestFitJobs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cores, active, free, want int
		why                       string
	}{
		{1, 0, 100, 1, ""},
		{2, 0, 100, 2, ""},
		{64, 0, 100, 4, ""},
		{64, 3, 100, 4, ""},
		{64, 4, 100, 3, "4 sessions are active"},
		{64, 9, 100, 2, "9 sessions are active"},
		{64, 1000, 100, 1, "1000 sessions are active"},
		{1, 1000, 100, 1, ""},
		{4, 0, 10, 4, ""},
		{4, 0, 9, 3, "9 connections free"},
		{4, 0, 7, 1, "7 connections free"},
		{4, 0, 0, 1, "0 connections free"},
		{4, 0, -5, 1, "-5 connections free"},
		{4, 8, 7, 1, "8 sessions are active at the server, the server has 7"},
		{4, 12, 7, 1, "12 sessions are active"},
		{0, 0, 100, 1, ""},
	} {
		jobs, why := FitJobs(test.cores, Load{Active: test.active, Free: test.free}, 3)
		if jobs != test.want || !strings.HasPrefix(strings.TrimPrefix(why, "the server has "), test.why) || (why == "") != (test.why == "") {
			t.Errorf("%+v: %d, %q", test, jobs, why)
		}
	}
}
