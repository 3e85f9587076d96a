package dumps

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"

	"capstan"
	"capstan/internal/pg"
	"capstan/internal/pgdump"
	"capstan/internal/process"
	"capstan/internal/source/postgres"
)

// globals writes and emits them.
func (s *scan) globals(ctx context.Context) error {
	over := s.waiting()
	path := filepath.Join(s.spool.room.Dir(), pgdump.Globals)
	err := s.writeGlobals(ctx, path)
	over()
	if err != nil {
		return err
	}
	b := below{s.spool, s.name}
	info, err := s.opt.Disk.Lstat(path)
	if err != nil {
		return err
	}
	b.Keep(pgdump.Globals, pgdump.Globals, path, info.Size())
	ended := make(chan struct{})
	close(ended)
	return s.files(ctx, ended)
}

// writeGlobals writes them to a new file.
func (s *scan) writeGlobals(ctx context.Context, path string) error {
	text, err := Globals(ctx, s.opt.Dump, s.spool.room.Dir(), s.opt.Warn)
	if err != nil {
		return err
	}
	return s.opt.Disk.WriteNew(path, text)
}

// Globals has pg_dumpall write the roles and tablespaces of the server that the options
// name. Who is no superuser cannot read passwords: they are left out, and warn is told.
// What the program is given lies in dir meanwhile, in a directory of its own.
func Globals(ctx context.Context, of postgres.Options, dir string, warn func(format string, args ...any)) ([]byte, error) {
	args, version, err := globalsArguments(ctx, of.URL, warn)
	if err != nil {
		return nil, err
	}
	client, err := dumpall(ctx, of.PgDump, version)
	if err != nil {
		return nil, err
	}
	private, err := os.MkdirTemp(dir, "access-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private) //nolint:errcheck // its place is removed as a whole
	access, err := pg.HandOver(of.URL, private)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	_, err = process.Run(ctx, process.Command{
		Path: client.Path, Args: append(args, "--globals-only", "--no-password", "--dbname="+access.Conninfo), Env: access.Env, Stdout: &text,
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, &capstan.Error{Op: "dump the roles of", Object: "the server", Err: err, Next: "leave --globals out where the role may not read them"}
	}
	if text.Len() == 0 {
		return nil, &capstan.Error{Op: "dump the roles of", Object: "the server", Err: errors.New("pg_dumpall wrote nothing")}
	}
	return text.Bytes(), nil
}

// dumpall finds the pg_dumpall: beside the pg_dump that was named, else the one that
// fits the server.
func dumpall(ctx context.Context, named string, server pg.Version) (pg.Client, error) {
	if named != "" {
		return pg.ClientAt(ctx, filepath.Join(filepath.Dir(named), "pg_dumpall"))
	}
	return pg.FindClient(ctx, "pg_dumpall", server)
}

// globalsArguments looks at the server: its version, and whether passwords can be read.
func globalsArguments(ctx context.Context, url string, warn func(format string, args ...any)) (args []string, version pg.Version, err error) {
	conn, err := pg.Connect(ctx, url)
	if err != nil {
		return nil, version, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was written
	if version, err = pg.ParseVersion(conn.PgConn().ParameterStatus("server_version")); err != nil {
		return nil, version, err
	}
	if conn.PgConn().ParameterStatus("is_superuser") != "on" {
		warn("the role is no superuser: the roles are dumped without their passwords")
		args = append(args, "--no-role-passwords")
	}
	return args, version, nil
}
