package cli

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"capstan/internal/daemon"
	"capstan/internal/dumpall"
	"capstan/internal/pgdrill"
	"capstan/internal/pgdump"
)

func (a *app) pgDrillCommand() *cobra.Command {
	var options pgdrill.Options
	var timeout time.Duration
	var from setDumpFlags
	cmd := &cobra.Command{
		Use: "drill DIR|SET", Short: "Prove that a dump can be restored: restore it on a scratch server and compare",
		Long: `Prove that a dump can be restored. Its files are read and compared with its receipt;
it is restored into a server that is made for it and removed afterwards, of the dumped
server's major version; then every table is read again, and its rows and their hash are
compared with those that the source had when it was dumped. Sequences and large objects
are compared too. The dump of a set is brought to the stage for it, and the catalog keeps
when it was last proven (capstan sets, capstan show). Of a set with several databases
each is drilled in its turn, unless --database names one.

Roles are made on the scratch server: from the globals that belong to the dump, with
their attributes and memberships, else by their names. Owners are compared, grants are
carried out. What needs an extension that the server does not have is left out and
named, and the rest is proven (exit 3).

A drill is a run: capstan runs lists it with what it waits for, watch and cancel work on
it. That of a directory is one where there is a catalog already.

The server listens on a socket of its own and on no network, has none of your
configuration, and runs as another user (--run-as) if this is root. It needs the
server's programs (initdb, postgres), and room in --scratch for the restored database.
With --server the dump is restored into a new
database of a running server instead, which is dropped afterwards; no other is touched.

A dump of the stock pg_dump has no receipt: its rows are counted, and compared with
those in its files.

Exit codes: 0 proven; 1 nothing was proven (something is missing, or broke); 2 wrong
usage; 3 something differs, or could not be restored, and is named; 130 interrupted.`,
		Example: `  capstan pg drill /srv/dumps/app
  capstan pg drill /srv/dumps/app --scratch /srv/scratch --jobs 4 --timeout 2h
  capstan pg drill latest --job app
  capstan pg drill /srv/dumps/app --server postgres://postgres@test1/postgres
  capstan pg drill /srv/dumps/app --json | tail -1 | jq .differences`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout < 0 {
				return usage("--timeout is not negative")
			}
			patience, err := from.deliver.patience()
			if err != nil {
				return err
			}
			options.StallWarn, options.StallFail = patience.Warn, patience.Fail
			if isSet(args[0]) {
				return a.withKeys(cmd.Context(), &from.keys, func(ctx context.Context, d *daemon.Daemon) error {
					return a.pgDrillSet(ctx, d, args[0], options, timeout, &from)
				})
			}
			if options.Dir, err = dumpall.Choose(args[0], from.database); err != nil {
				return err
			}
			if above := filepath.Join(args[0], pgdump.Globals); options.Globals == "" && options.Server == "" && options.Dir != args[0] {
				if _, err := os.Stat(above); err == nil { // the roles of all databases of a server
					options.Globals = above
				}
			}
			return a.withAny(cmd.Context(), func(ctx context.Context, d *daemon.Daemon) error { return a.pgDrill(ctx, d, options, timeout) })
		},
	}
	from.add(cmd, true)
	a.jobFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&options.Globals, "globals", "", "file with the server's roles, as pg_dumpall --globals-only writes it (default globals.sql of the dump, or of the set)")
	f.StringVar(&options.Server, "server", "", "connection URL of a running server: a new database of it is used and dropped again")
	f.StringVar(&options.Scratch, "scratch", "", "directory for the scratch server's data (default that for temporary files)")
	f.StringVar(&options.Bin, "bindir", "", "directory of initdb and postgres (default those of the dump's major version, from where packages put them)")
	f.StringVar(&options.RunAs, "run-as", "", "user that the scratch server runs as if this is root (default postgres)")
	f.StringArrayVar(&options.Settings, "set", nil, "NAME=VALUE, a setting of the scratch server (shared_preload_libraries=…); may be repeated")
	f.IntVarP(&options.Jobs, "jobs", "j", 0, "tables that are worked on at the same time (default the cores of this machine, at most 4)")
	f.StringVar(&options.PgRestore, "pg-restore", "", "the program to use (default one that fits is looked for)")
	// Building one large index can take hours, and the server says nothing meanwhile.
	from.deliver.stallFail = 0
	f.Lookup("stall-fail").DefValue, f.Lookup("stall-fail").Usage = "0s", "then end the drill; 0: never"
	f.DurationVar(&timeout, "timeout", 0, "give up after this time; 0: never")
	return cmd
}
