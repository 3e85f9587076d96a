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

// writeGlobals has pg_dumpall write the server's roles and tablespaces to a new file.
// Who is no superuser cannot read passwords: they are left out, with a word.
func (s *scan) writeGlobals(ctx context.Context, path string) error {
	args, version, err := s.globalsArguments(ctx)
	if err != nil {
		return err
	}
	client, err := s.dumpall(ctx, version)
	if err != nil {
		return err
	}
	private, err := os.MkdirTemp(s.spool.room.Dir(), "access-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(private) //nolint:errcheck // the spool is removed as a whole
	access, err := pg.HandOver(s.opt.Dump.URL, private)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	_, err = process.Run(ctx, process.Command{
		Path: client.Path, Args: append(args, "--globals-only", "--no-password", "--dbname="+access.Conninfo), Env: access.Env, Stdout: &text,
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return &capstan.Error{Op: "dump the roles of", Object: "the server", Err: err, Next: "leave --globals out where the role may not read them"}
	}
	if text.Len() == 0 {
		return &capstan.Error{Op: "dump the roles of", Object: "the server", Err: errors.New("pg_dumpall wrote nothing")}
	}
	return s.opt.Disk.WriteNew(path, text.Bytes())
}

// dumpall finds the pg_dumpall: beside the pg_dump that was named, else the one that
// fits the server.
func (s *scan) dumpall(ctx context.Context, server pg.Version) (pg.Client, error) {
	if named := s.opt.Dump.PgDump; named != "" {
		return pg.ClientAt(ctx, filepath.Join(filepath.Dir(named), "pg_dumpall"))
	}
	return pg.FindClient(ctx, "pg_dumpall", server)
}

// globalsArguments looks at the server: its version, and whether passwords can be read.
func (s *scan) globalsArguments(ctx context.Context) (args []string, version pg.Version, err error) {
	conn, err := pg.Connect(ctx, s.opt.Dump.URL)
	if err != nil {
		return nil, version, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was written
	if version, err = pg.ParseVersion(conn.PgConn().ParameterStatus("server_version")); err != nil {
		return nil, version, err
	}
	if conn.PgConn().ParameterStatus("is_superuser") != "on" {
		s.opt.Warn("the role is no superuser: the roles are dumped without their passwords")
		args = append(args, "--no-role-passwords")
	}
	return args, version, nil
}
