package cli

import (
	"context"

	"github.com/spf13/cobra"

	"capstan/internal/daemon"
	"capstan/internal/pipeline"
)

func (a *app) restoreCommand() *cobra.Command {
	var job pipeline.Restore
	var plan bool
	var keys keyFlags
	var limits deliverFlags
	cmd := &cobra.Command{
		Use:   "restore SET [PATH...] --to DIR",
		Short: "Restore a set, or paths of it, into a directory",
		Long: `Restore a whole set, or the named paths and globs of it, into a directory.

What was backed up as /srv/data is restored as DIR/data. Existing files are
refused before anything is written, unless --overwrite is given. As root, owners,
devices and setuid bits are restored. A damaged entry is left out and named; the
exit code is then 3.

An encrypted set needs its key or passphrase; with a wrong one nothing is written
(exit 12). The signatures of the sets are looked at first. A set that was replaced is
named, and the restore goes on: all content is proven by the catalog's own hashes.`,
		Example: `  capstan restore latest --to /srv/back
  capstan restore 2026-11_000001 data/etc 'data/**/*.conf' --to /tmp/conf
  capstan restore latest --to /srv/back --plan
  capstan restore latest --to /srv/back --identity key.txt`,
		Args:              usageArgs(cobra.MinimumNArgs(1)),
		ValidArgsFunction: a.completeSets,
		RunE: func(cmd *cobra.Command, args []string) error {
			if job.Target == "" {
				return usage("restore needs --to DIR")
			}
			var err error
			if job.Patience, err = a.patient(&limits); err != nil {
				return err
			}
			return a.withKeys(cmd.Context(), &keys, func(ctx context.Context, d *daemon.Daemon) error {
				set, err := a.set(ctx, d, args[0])
				if err != nil {
					return err
				}
				job.Set, job.Paths = set.ID, args[1:]
				if plan {
					return a.plan(ctx, d, job)
				}
				return a.restore(ctx, d, job)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&job.Target, "to", "", "directory to restore into; made if it is not there")
	f.BoolVar(&job.Overwrite, "overwrite", false, "replace existing files")
	f.BoolVar(&job.NoSpecial, "no-special", false, "leave out devices and fifos")
	limits.addPatience(f)
	f.BoolVar(&plan, "plan", false, "only say what would be read and written")
	keys.add(cmd)
	a.jobFlag(cmd)
	return cmd
}

func (a *app) restore(ctx context.Context, d *daemon.Daemon, job pipeline.Restore) error {
	var summary pipeline.RestoreSummary
	err := a.live(ctx, d, func(ctx context.Context) error {
		var err error
		summary, err = d.Engine.Restore(ctx, job)
		return err
	})
	a.restoreSummary(ctx, summary)
	return err
}

func (a *app) plan(ctx context.Context, d *daemon.Daemon, job pipeline.Restore) error {
	plan, err := d.Engine.Plan(ctx, job)
	if err != nil {
		return err
	}
	return a.planResult(plan)
}

func (a *app) verifyCommand() *cobra.Command {
	var readData string
	var limits deliverFlags
	var keys keyFlags
	cmd := &cobra.Command{
		Use:   "verify [SET...]",
		Short: "Check that sets are where and what they were when written",
		Long: `Check the copies of sets (all sets, if none is named) against the catalog and
against each set's own SHA256SUMS and signature.

Without --read-data: presence and sizes. With it: every byte of every archive is
read back and every entry's hash compared, and the copies become "verified";
--read-data=10% does so for a random tenth of the archives. Whatever is wrong is
named; the exit code is then 3.

Files of encrypted sets are compared with their sums without any key; with --identity
or --passphrase-file, the entries in them are looked at too.

Each set's signature also names the set that stood before it on the volume. A set
that was replaced, taken away, or put back in an older form is named.`,
		Example: `  capstan verify
  capstan verify latest --read-data
  capstan verify --read-data=10%
  capstan verify --read-data --identity key.txt`,
		ValidArgsFunction: a.completeSets,
		RunE: func(cmd *cobra.Command, args []string) error {
			percent, err := parsePercent(readData)
			if err != nil {
				return err
			}
			job := pipeline.Verify{ReadData: percent}
			if job.Patience, err = a.patient(&limits); err != nil {
				return err
			}
			return a.withKeys(cmd.Context(), &keys, func(ctx context.Context, d *daemon.Daemon) error {
				return a.verify(ctx, d, args, job)
			})
		},
	}
	cmd.Flags().StringVar(&readData, "read-data", "0%", "share of the archives to read back wholly")
	cmd.Flags().Lookup("read-data").NoOptDefVal = "100%"
	limits.addPatience(cmd.Flags())
	keys.add(cmd)
	a.jobFlag(cmd)
	return cmd
}

func (a *app) verify(ctx context.Context, d *daemon.Daemon, names []string, job pipeline.Verify) error {
	if len(names) == 0 {
		sets, err := d.Catalog.Sets(ctx, a.setFilter())
		if err != nil {
			return err
		}
		for _, set := range sets {
			job.Sets = append(job.Sets, set.ID)
		}
	}
	for _, name := range names {
		set, err := a.set(ctx, d, name)
		if err != nil {
			return err
		}
		job.Sets = append(job.Sets, set.ID)
	}
	var summary pipeline.VerifySummary
	err := a.live(ctx, d, func(ctx context.Context) error {
		var err error
		summary, err = d.Engine.Verify(ctx, job)
		return err
	})
	a.verifySummary(ctx, summary)
	return err
}
