package catalog

import "testing"

// TestUnreadIsNoDamage: SQLite's check tells of a page that the system could not read
// in the words of a page that is wrong; the code in them tells the two apart.
func TestUnreadIsNoDamage(t *testing.T) {
	t.Parallel()
	for problem, want := range map[string]bool{
		"*** in database main ***\nTree 14 page 14: unable to get the page. error code=8458":                                        true,
		"*** in database main ***\nTree 14 page 14: unable to get the page. error code=266\nTree 3 page 3: btreeInitPage() returns": true,
		"*** in database main ***\nTree 14 page 14: unable to get the page. error code=11":                                          false,
		"*** in database main ***\nTree 14 page 14: btreeInitPage() returns error code 11":                                          false,
		"wrong # of entries in index sets_by_job":                                                                                   false,
	} {
		if got := unread(problem); got != want {
			t.Errorf("%q: %v", problem, got)
		}
	}
}
