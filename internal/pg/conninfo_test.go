package pg

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
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
		"postgres://me:s3cret@a:1,b:2,[::1]/app":                     "postgres://me@a:1,b:2,[::1]/app",
		"postgres://me:s3cret@a,b/app?port=1,2&pass%77ord=s3cret":    "postgres://me@a,b/app?port=1,2",
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
	for _, text := range []string{"postgres://me:s3cret@db:port/", "postgres://me:s3/cret@db/", "postgres://me:s@3@s3cret@db/", "postgres://me:1/s3cret@db/", "postgres://me:%zs3cret@db/", "postgres://db/?%z=s3cret", "postgres://db/?password=s3cret%z", "host", "=x", "host='db", "host=db sslpassword=s3cret", "postgres://db/?sslpassword=s3cret", "a'b=c"} {
		if _, _, err := Split(text); !errors.Is(err, capstan.ErrUsage) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Odd characters of a password arrive as they are meant.
func TestSplitOddPasswords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"postgres://me:a%3Ab%40c%2Fd%25%20%22'@db/": `a:b@c/d% "'`,
		"postgres://me:a+b:c?d#e@db/":               "a+b:c?d#e",
		"postgres://me@db/?password=%26%3D+%C3%BC":  "&=+ü",
		`host=db password='it''s'`:                  "it",
		`host=db password='\'\\ x'`:                 `'\ x`,
	} {
		_, password, err := Split(text)
		config, parseErr := pgx.ParseConfig(text)
		if strings.Contains(text, "''") {
			if err == nil && parseErr == nil {
				t.Errorf("%s is accepted", text)
			}
			continue
		}
		if err != nil || parseErr != nil || password != want || config.Password != want {
			t.Errorf("%s: %q, and the driver's %v: %v, %v", text, password, config, err, parseErr)
		}
	}
}

// The program gets no secret in its arguments; what libpq has no variable for lies in a
// file for the owner alone.
func TestHandOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h, err := HandOver("postgres://me:s3cret@db/app?sslkey=k&sslpassword=s3%20cret&servicefile=f", dir)
	if err != nil || h.Conninfo != "postgres://me@db/app?sslkey=k" || !slices.Contains(h.Env, "PGPASSWORD=s3cret") || !slices.Contains(h.Env, "PGSERVICE=capstan") {
		t.Errorf("%+v, %v", h, err)
	}
	path := filepath.Join(dir, "pg_service.conf")
	content, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || string(content) != "[capstan]\nsslpassword=s3 cret\n" || info.Mode().Perm() != 0o600 {
		t.Errorf("%q, %v, %v", content, err, statErr)
	}
	for _, text := range []string{"service=a sslpassword=s3cret", "postgres://db/?sslpassword=s3cret%0A", "host=db sslpassword=' s3cret'", "nonsense"} {
		if _, err := HandOver(text, dir); !errors.Is(err, capstan.ErrUsage) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
