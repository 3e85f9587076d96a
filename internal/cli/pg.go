package cli

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/daemon"
	"capstan/internal/disk"
	"capstan/internal/output"
	"capstan/internal/pg"
	"capstan/internal/pgserver"
	"capstan/internal/progress"
)

// pgFlags are the flags of every command about a cluster and its server.
type pgFlags struct {
	data        string // -D
	url         string
	clusterName string
}

func (a *app) pgCommand() *cobra.Command {
	flags := &pgFlags{}
	cmd := &cobra.Command{
		Use: "pg", Short: "Dump and restore PostgreSQL databases; stop and start servers through a maintenance window; see their locks",
		Long: `Dump a PostgreSQL database (13 to 18) so that statements that change its tables
neither break nor falsify the dump; restore it, whole or in part.

Stop and start PostgreSQL servers (on Linux) that hang on replication, archiving or
spill files, as root or as the user who owns the data directory.`,
		Example: `  capstan pg dump postgres://postgres@db1/app -o /srv/dumps/app
  capstan pg restore /srv/dumps/app --to postgres://postgres@db1/copy --create
  capstan pg stop-check -D /var/lib/postgresql/15/main
  capstan pg stop -D /var/lib/postgresql/15/main --walsender=terminate --timeout 5m
  capstan pg stop-status -D /var/lib/postgresql/15/main`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	// Of the commands about a server; a dump or a restore knows a database alone.
	servers := []*cobra.Command{
		a.pgStopCheckCommand(flags), a.pgStopCommand(flags), a.pgStopStatusCommand(flags),
		a.pgStartCommand(flags), a.pgSpillCommand(flags), a.pgSlotDoctorCommand(flags), a.pgLocksCommand(flags),
	}
	for _, server := range servers {
		f := server.PersistentFlags()
		f.StringVarP(&flags.data, "pgdata", "D", "", "the server's data directory (default $PGDATA)")
		f.StringVar(&flags.url, "url", "", "connection URL of the server (default its socket, as the owner of the data directory)")
		f.StringVar(&flags.clusterName, "cluster-name", "", "the cluster_name that the server was started with, if the configuration says another by now")
	}
	cmd.AddCommand(servers...)
	cmd.AddCommand(a.pgDumpCommand(), a.pgRestoreCommand(), a.pgDrillCommand(), a.pgLsCommand(), a.pgCatCommand())
	return cmd
}

// cluster opens the data directory that the flags or the environment name.
func (f *pgFlags) cluster() (*pg.Cluster, error) {
	dir := f.data
	if dir == "" {
		dir = os.Getenv("PGDATA")
	}
	if dir == "" {
		return nil, usage("name the data directory with -D DIR")
	}
	return pg.Open(disk.FS{}, dir)
}

// pgRead runs what only looks at a server: it needs no catalog and creates no home.
func (a *app) pgRead(ctx context.Context, flags *pgFlags, do func(context.Context, pgserver.Env, *pg.Cluster) error) error {
	settings, err := a.configure()
	if err != nil {
		return err
	}
	if err := a.open(ctx); err != nil {
		return err
	}
	cluster, err := flags.cluster()
	if err != nil {
		return err
	}
	env := pgserver.Env{Home: settings.Home.Dir, Tracker: progress.New(nil), Say: a.printer.Info, Warn: a.printer.Warn}
	return errors.Join(do(ctx, env, cluster), a.out.Flush())
}

// pgChange runs what changes something about a server, with its live view and an
// audit line in the catalog for each act.
func (a *app) pgChange(ctx context.Context, flags *pgFlags, do func(context.Context, pgserver.Env, *pg.Cluster) error) error {
	// Before anything is opened: a wrong directory leaves no trace.
	cluster, err := flags.cluster()
	if err != nil {
		return err
	}
	return a.with(ctx, func(ctx context.Context, d *daemon.Daemon) error {
		env := pgserver.Env{Home: d.Home.Dir, Tracker: d.Tracker, Say: a.printer.Info, Warn: a.printer.Warn, Audit: d.Catalog.Audit}
		return a.shown(ctx, d.Tracker, pgView, func(ctx context.Context) error { return do(ctx, env, cluster) })
	})
}

// pgUrgent is pgChange for what cannot wait until a catalog is mended: where none can
// be opened, the work is done without audit lines, and says so. What it changes is
// kept in the journal in the home, which it does not do without.
func (a *app) pgUrgent(ctx context.Context, flags *pgFlags, do func(context.Context, pgserver.Env, *pg.Cluster) error) error {
	opened := false
	err := a.pgChange(ctx, flags, func(ctx context.Context, env pgserver.Env, cluster *pg.Cluster) error {
		opened = true
		return do(ctx, env, cluster)
	})
	if err == nil || opened || a.printer == nil || ctx.Err() != nil {
		return err
	}
	settings, home := a.configure()
	if home == nil {
		home = settings.Home.Create()
	}
	cluster, wrong := flags.cluster()
	if home != nil || wrong != nil {
		return err
	}
	a.printer.Warn("going on without the catalog, no audit line is written: %v", err)
	env := pgserver.Env{Home: settings.Home.Dir, Tracker: progress.New(time.Now), Say: a.printer.Info, Warn: a.printer.Warn}
	return a.told(a.shown(ctx, env.Tracker, pgView, func(ctx context.Context) error { return do(ctx, env, cluster) }))
}

// pgView shows no entries where none are counted.
func pgView(s progress.Snapshot) output.View {
	v := view(s)
	v.Uncounted = true
	return v
}

// undone are the changes that are left, as an error if there are any.
func undone(cluster *pg.Cluster, left []pgserver.Change) error {
	if len(left) == 0 {
		return nil
	}
	return &capstan.Error{
		Class: capstan.ErrIncomplete, Op: "put back", Object: cluster.Dir, Err: errors.New(plural(int64(len(left)), "setting") + " left changed"),
		Next: "see: capstan pg stop-status -D " + cluster.Dir,
	}
}
