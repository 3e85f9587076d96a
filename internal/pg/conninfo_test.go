package pg

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"capstan"
)

// What is left has no password, and means the same to libpq and pgx.
func TestSplit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"postgres://me:s3cret@db:5433/app?sslmode=require":           "postgres://me@db:5433/app?sslmode=require",
		"postgresql://db/app?user=me&password=s3cret":                "postgresql://db/app?user=me",
		"postgres://me@/app?host=%2Fvar%2Frun":                       "postgres://me@/app?host=%2Fvar%2Frun",
		"host=db password=s3cret dbname=app":                         `host='db' dbname='app'`,
		`host = db password='s3cret' dbname = 'my \'app\\' user=m\e`: `host='db' dbname='my \'app\\' user='me'`,
		"": "",
	} {
		rest, password, err := Split(text)
		if err != nil || rest != want || password != "" && password != "s3cret" || (password == "") == strings.Contains(text, "s3cret") {
			t.Errorf("%s: %s, %q, %v", text, rest, password, err)
		}
		given, err := pgx.ParseConfig(text)
		if err != nil {
			t.Fatal(err)
		}
		left, err := pgx.ParseConfig(rest)
		if err != nil || left.Host != given.Host || left.Database != given.Database || left.User != given.User || left.Port != given.Port {
			t.Errorf("%s became %s: %v", text, rest, err)
		}
	}
	for _, text := range []string{"postgres://me:s3cret@db:port/", "host", "=x", "host='db", "host=db sslpassword=s3cret", "postgres://db/?sslpassword=s3cret", "a'b=c"} {
		if _, _, err := Split(text); !errors.Is(err, capstan.ErrUsage) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
