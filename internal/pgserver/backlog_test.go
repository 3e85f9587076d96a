package pgserver

import (
	"testing"
	"time"
)

func TestSecondsPerFile(t *testing.T) {
	t.Parallel()
	at := func(seconds float64) time.Time {
		return time.Unix(1_800_000_000, 0).Add(time.Duration(seconds * float64(time.Second)))
	}
	// Three that queued up behind each other, two seconds each; one much later that took one.
	files := []archived{
		{"4", at(100), at(101)}, {"1", at(0), at(2)}, {"2", at(0.5), at(4)}, {"3", at(1), at(6)},
	}
	if got := secondsPerFile(files); got != 2 {
		t.Errorf("%v, want 2", got)
	}
	if got := secondsPerFile(nil); got != 0 {
		t.Errorf("%v of nothing", got)
	}
}

func TestPasswordsAreNotKept(t *testing.T) {
	t.Parallel()
	const full = "postgres://app:s3cret@db:5433/x?sslmode=require&sslpassword=y"
	kept, err := withoutPassword(full)
	if err != nil || kept != "postgres://app@db:5433/x?sslmode=require" {
		t.Errorf("%q, %v", kept, err)
	}
	if got := withPassword(kept, []string{"postgres://other@db/x", full}); got != full {
		t.Errorf("%q", got)
	}
	if got := withPassword(kept, nil); got != kept {
		t.Errorf("%q", got)
	}
	if kept, err := withoutPassword("host=db user=app password=s3cret"); err == nil {
		t.Errorf("kept %q", kept)
	}
	if _, err := withoutPassword("postgres://app:s3c%ret@db/x"); err == nil || len(err.Error()) == 0 {
		t.Error("a broken URL passed")
	} else if got := err.Error(); len(got) > 0 && containsSecret(got) {
		t.Errorf("the error tells the password: %s", got)
	}
}

func containsSecret(text string) bool {
	for i := range len(text) - 2 {
		if text[i:i+3] == "s3c" {
			return true
		}
	}
	return false
}
