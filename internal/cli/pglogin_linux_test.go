package cli_test

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"capstan/internal/capstantest/pgtest"
)

// secret is in every password and passphrase of these tests.
const secret = "S3cret"

// odd is a password with all that is special to URLs, files, shells and keywords.
const odd = secret + ` :@/?#%&+='"\$` + "`" + `ü`

// login is a server with users who are let in in different ways.
type login struct {
	*field
	*pgtest.Server
	authority, stranger *pgtest.Authority
	me                  string
	nr                  int
}

func newLogin(t *testing.T, major int) *login {
	t.Helper()
	account, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	l := &login{
		field: newField(t), Server: pgtest.New(t, pgtest.Options{Major: major, TCP: true, Memory: true}),
		authority: pgtest.NewAuthority(t, "authority"), stranger: pgtest.NewAuthority(t, "stranger"), me: account.Username,
	}
	l.TLS(l.authority, "localhost")
	all := []string{
		"local all postgres trust",
		"local all " + l.me + " peer",
		"local all scram scram-sha-256",
		"hostssl all tls all scram-sha-256",
		"hostssl all certified,locked,late all cert",
		"host all clear all password",
		"host all hashed all md5",
		"host all scram,odd all scram-sha-256",
	}
	l.HBA(all...)
	l.Start()
	quoted := strings.ReplaceAll(odd, "'", "''")
	l.Exec("create table t (n int primary key, v text)", "insert into t select n, 'row ' || n from generate_series(1, 100) n",
		"set standard_conforming_strings = on; set password_encryption = 'md5'; create role hashed login createdb password '"+secret+"'",
		"set password_encryption = 'scram-sha-256'; create role scram login createdb password '"+secret+"'; create role clear login createdb password '"+secret+"'; create role tls login createdb password '"+secret+"'",
		"set password_encryption = 'scram-sha-256'; create role odd login createdb password '"+quoted+"'",
		"create role certified login createdb; create role locked login createdb; create role late login createdb",
		"do $$ begin if to_regrole('"+l.me+"') is null then create role \""+l.me+"\" login createdb; end if; end $$",
		"grant select on t to public")
	return l
}

// tcp is a URL over the network.
func (l *login) tcp(user, password, parameters string) string {
	if password != "" {
		user += ":" + escaped(password)
	}
	return fmt.Sprintf("postgres://%s@localhost:%d/postgres?%s", user, l.Port, parameters)
}

// escaped writes a value for a URL; a plus is no space there.
func escaped(value string) string { return strings.ReplaceAll(url.QueryEscape(value), "+", "%20") }

// wrapped is a script that runs a client program and writes down its arguments.
func (l *login) wrapped(program string) (script, heard string) {
	l.field.t.Helper()
	heard = filepath.Join(l.dir, program+".args")
	script = filepath.Join(l.dir, program+".sh")
	text := "#!/bin/sh\nprintf '%s\\n' \"$@\" >>'" + heard + "'\nexec '" + pgtest.Client(l.field.t, l.Major, program) + "' \"$@\"\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		l.field.t.Fatal(err)
	}
	return script, heard
}

// call runs the program in an environment.
func (l *login) call(env []string, args ...string) ended {
	l.field.t.Helper()
	cmd := l.command(l.field.t.Context(), args...)
	cmd.Env = append(cmd.Env, env...)
	return l.launch(cmd, (*exec.Cmd).Start).end()
}

// quiet fails the test if a password is in a text.
func (l *login) quiet(where, text string) {
	l.field.t.Helper()
	if strings.Contains(text, secret) {
		l.field.t.Errorf("%s has the password:\n%s", where, text)
	}
}

// way is a way to log in.
type way struct {
	name, url string
	to        string // for the restore, if it is to be tried: the same, with database %s
	env       []string
}

// passes dumps, and restores, by a way; nothing that is written or can be seen has the
// password.
func (l *login) passes(w way) {
	t := l.field.t
	t.Helper()
	l.nr++
	dumper, dumpArgs := l.wrapped("pg_dump")
	dir := filepath.Join(l.dir, fmt.Sprintf("dump%d", l.nr))
	e := l.call(w.env, "pg", "dump", w.url, "-o", dir, "--pg-dump", dumper, "--jobs", "2", "--json")
	if e.code != 0 {
		t.Errorf("%s: exit %d\n%s%s", w.name, e.code, e.out, e.err)
		return
	}
	var summary struct{ Rows int64 }
	if object(t, e, &summary); summary.Rows != 100 {
		t.Errorf("%s: %s", w.name, e.out)
	}
	l.quiet(w.name, e.out+e.err+content(t, dumpArgs))
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			l.quiet(path, content(t, path))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if w.to == "" {
		return
	}
	restorer, restoreArgs := l.wrapped("pg_restore")
	database := fmt.Sprintf("copy%d", l.nr)
	e = l.call(w.env, "pg", "restore", dir, "--to", fmt.Sprintf(w.to, database), "--create", "--no-owner", "--no-privileges", "--pg-restore", restorer, "--jobs", "2", "--json")
	l.quiet(w.name, e.out+e.err+content(t, restoreArgs))
	conn := l.Conn(database)
	defer conn.Close(t.Context())
	var n int
	if err := conn.QueryRow(t.Context(), "select count(*) from t").Scan(&n); err != nil || n != 100 || e.code != 0 {
		t.Errorf("%s: the copy has %d rows, %v\nexit %d\n%s%s", w.name, n, err, e.code, e.out, e.err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// refuses expects an error that has the words, and no password.
func (l *login) refuses(name, url string, env []string, words ...string) {
	l.field.t.Helper()
	for _, args := range [][]string{
		{"pg", "dump", url, "-o", filepath.Join(l.dir, "refused")},
		{"pg", "dump", url, "-o", filepath.Join(l.dir, "refused"), "--json"},
		{"pg", "restore", filepath.Join(l.dir, "dump1"), "--to", url, "--json"},
	} {
		e := l.call(env, args...)
		l.quiet(name, e.out+e.err)
		if e.code != 1 && e.code != 2 && e.code != 10 { // 10: a restore into what is not there
			l.field.t.Errorf("%s: exit %d", name, e.code)
		}
		for _, word := range words {
			if !strings.Contains(e.out+e.err, word) {
				l.field.t.Errorf("%s does not say %q:\n%s%s", name, word, e.out, e.err)
			}
		}
	}
}

// copied makes the URL of a way into that of the restore.
func copied(url string) string {
	return strings.Replace(strings.ReplaceAll(url, "%", "%%"), "/postgres?", "/%s?", 1)
}

// Whatever way a server lets users in, dump and restore come in that way, with all of
// their sessions and the programs that they run.
func TestPgLogin(t *testing.T) {
	t.Parallel()
	l := newLogin(t, 17)
	cert, key := l.authority.Issue("certified", pgtest.Good, "")
	lockedCert, lockedKey := l.authority.Issue("locked", pgtest.Good, secret+" phrase")
	file := func(name, text string) string {
		path := filepath.Join(l.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	passfile := file("passfile", fmt.Sprintf("localhost:%[1]d:*:scram:%[2]s\n*:*:*:odd:%[3]s\n", l.Port, secret, strings.NewReplacer(`\`, `\\`, ":", `\:`).Replace(odd)))
	services := file("services", fmt.Sprintf("[app]\nhost=localhost\nport=%d\nuser=tls\nsslmode=verify-full\nsslrootcert=%s\npassword=%s\n", l.Port, l.authority.Cert, secret))
	root := "sslrootcert=" + escaped(l.authority.Cert)
	ways := []way{
		{name: "trust", url: l.URL("postgres"), to: l.URL("%s")},
		{name: "peer", url: fmt.Sprintf("host=%s port=%d user='%s' dbname=postgres", l.Socket, l.Port, l.me), to: fmt.Sprintf("host=%s port=%d user='%s' dbname=%%s", l.Socket, l.Port, l.me)},
		{name: "socket and password", url: fmt.Sprintf("host=%s port=%d user=scram password='%s' dbname=postgres", l.Socket, l.Port, secret)},
		{name: "clear", url: l.tcp("clear", secret, "sslmode=disable")},
		{name: "md5", url: l.tcp("hashed", secret, "sslmode=disable")},
		{name: "scram", url: l.tcp("scram", secret, "sslmode=disable")},
		{name: "channel binding", url: l.tcp("tls", secret, "sslmode=require&channel_binding=require")},
		{name: "prefer", url: l.tcp("tls", secret, "")},
		{name: "verify-ca", url: strings.Replace(l.tcp("tls", secret, "sslmode=verify-ca&"+root), "localhost", "127.0.0.1", 1)},
		{name: "verify-full", url: l.tcp("tls", secret, "sslmode=verify-full&"+root)},
		{name: "certificate", url: l.tcp("certified", "", "sslmode=verify-full&"+root+"&sslcert="+escaped(cert)+"&sslkey="+escaped(key))},
		{name: "locked key", url: l.tcp("locked", "", "sslmode=verify-full&"+root+"&sslcert="+escaped(lockedCert)+"&sslkey="+escaped(lockedKey)+"&sslpassword="+escaped(secret+" phrase"))},
		{name: "odd password", url: l.tcp("odd", odd, "sslmode=require")},
		{name: "PGPASSWORD", url: l.tcp("odd", "", ""), env: []string{"PGPASSWORD=" + odd}},
		{name: "passfile", url: l.tcp("scram", "", ""), env: []string{"PGPASSFILE=" + passfile}},
		{name: "passfile, odd", url: l.tcp("odd", "", "passfile="+escaped(passfile))},
		{name: "service", url: "service=app dbname=postgres", to: "service=app dbname=%s", env: []string{"PGSERVICEFILE=" + services}},
		{name: "service file in the URL", url: "postgres:///postgres?service=app&servicefile=" + escaped(services)},
		{
			name: "environment", url: "dbname=postgres", to: "dbname=%s",
			env: []string{"PGHOST=localhost", fmt.Sprintf("PGPORT=%d", l.Port), "PGUSER=scram", "PGPASSWORD=" + secret, "PGSSLMODE=require", "PGCHANNELBINDING=require"},
		},
		{name: "several hosts", url: fmt.Sprintf("postgres://scram:%s@127.0.0.1:1,localhost:%d/postgres?target_session_attrs=read-write", secret, l.Port)},
	}
	for _, w := range ways {
		if w.to == "" {
			w.to = copied(w.url)
			if strings.HasPrefix(w.url, "host=") {
				w.to = strings.Replace(w.url, "dbname=postgres", "dbname=%s", 1)
			}
		}
		l.passes(w)
	}
}

// What keeps a user out is named, and the password is not.
func TestPgLoginRefused(t *testing.T) {
	t.Parallel()
	l := newLogin(t, 17)
	lateCert, lateKey := l.authority.Issue("late", pgtest.Expired, "")
	otherCert, otherKey := l.stranger.Issue("certified", pgtest.Good, "")
	root := "&sslrootcert=" + escaped(l.authority.Cert)
	wrong := secret + "wrong"
	l.passes(way{name: "trust", url: l.URL("postgres")})
	l.refuses("wrong password", l.tcp("scram", wrong, ""), nil, "password authentication failed", `\"scram\"`[1:6], "PGPASSWORD")
	l.refuses("no password", l.tcp("clear", "", "sslmode=disable"), nil, "empty password", "give the user's password")
	l.refuses("wrong odd password", l.tcp("odd", odd+"x", ""), nil, "password authentication failed")
	l.refuses("wrong in the environment", l.tcp("scram", "", ""), []string{"PGPASSWORD=" + wrong}, "password authentication failed")
	l.refuses("without TLS", l.tcp("tls", secret, "sslmode=disable"), nil, "no pg_hba.conf entry", "no encryption", "pg_hba.conf says who is let in")
	l.refuses("no such user", l.tcp("nobody", secret, ""), nil, "nobody")
	l.refuses("no such database", strings.Replace(l.tcp("scram", secret, ""), "/postgres?", "/nowhere?", 1), nil, "nowhere", "does not exist")
	l.refuses("foreign authority", l.tcp("tls", secret, "sslmode=verify-full&sslrootcert="+escaped(l.stranger.Cert)), nil, "unknown authority", "sslrootcert")
	l.refuses("another name", strings.Replace(l.tcp("tls", secret, "sslmode=verify-full"+root), "localhost", "127.0.0.1", 1), nil, "127.0.0.1", "verify-ca")
	l.refuses("late certificate", l.tcp("late", "", "sslmode=require"+root+"&sslcert="+escaped(lateCert)+"&sslkey="+escaped(lateKey)), nil, "certificate", "sslcert")
	l.refuses("foreign certificate", l.tcp("certified", "", "sslmode=require"+root+"&sslcert="+escaped(otherCert)+"&sslkey="+escaped(otherKey)), nil, "certificate", "sslcert")
	l.refuses("no certificate", l.tcp("certified", "", "sslmode=require"+root), nil, "certificate")
	l.refuses("no file", l.tcp("tls", secret, "sslmode=verify-full&sslrootcert=/nowhere/root.crt"), nil, "/nowhere/root.crt")
	l.refuses("no service", "service=nowhere password="+secret, nil, "service")
	l.refuses("malformed", "postgres://scram:"+secret+"/word@localhost/postgres", nil, "%2F")
	l.refuses("malformed words", "host=localhost password='"+secret, nil, "keyword=value")
	l.refuses("all hosts are down", "postgres://scram:"+secret+"@127.0.0.1:1,127.0.0.1:2/postgres", nil, "127.0.0.1:1", "127.0.0.1:2", "refused")
	l.Certificate(l.authority, "localhost", pgtest.Expired)
	l.Exec("select pg_reload_conf()")
	pgtest.Eventually(t, verdict, func() (bool, string) {
		e := l.call(nil, "pg", "locks", l.tcp("tls", secret, "sslmode=verify-full"+root))
		return e.code == 1, "the certificate is still good"
	})
	l.refuses("late server", l.tcp("tls", secret, "sslmode=verify-full"+root), nil, "expired", "renew the server's certificate")
}

// TLS and certificates on the other releases.
func TestPgLoginOtherReleases(t *testing.T) {
	t.Parallel()
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			l := newLogin(t, major)
			cert, key := l.authority.Issue("certified", pgtest.Good, "")
			root := "sslmode=verify-full&sslrootcert=" + escaped(l.authority.Cert)
			for _, w := range []way{
				{name: "channel binding", url: l.tcp("tls", secret, root+"&channel_binding=require")},
				{name: "certificate", url: l.tcp("certified", "", root+"&sslcert="+escaped(cert)+"&sslkey="+escaped(key))},
			} {
				w.to = copied(w.url)
				l.passes(w)
			}
		})
	}
}
