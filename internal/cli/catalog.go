package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/daemon"
	"capstan/internal/job"
	"capstan/internal/pipeline"
	"capstan/internal/progress"
)

func (a *app) catalogCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "catalog", Short: "Check, rebuild or export the catalog",
		Example: "  capstan catalog check\n  capstan catalog rebuild /mnt/disk\n  capstan catalog export --entries > catalog.jsonl",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.catalogCheckCommand(), a.catalogRebuildCommand(), a.catalogExportCommand())
	return cmd
}

func (a *app) catalogCheckCommand() *cobra.Command {
	var limits deliverFlags
	cmd := &cobra.Command{
		Use: "check", Short: "Check the catalog's integrity",
		Long:    "Check the catalog's file and that its records agree with each other. Problems are named; the exit code is then 3.",
		Example: "  capstan catalog check",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := a.patient(&limits); err != nil {
				return err
			}
			a.wholeCatalog = true
			return a.with(cmd.Context(), func(ctx context.Context, d *daemon.Daemon) error {
				problems, err := d.Catalog.Check(ctx)
				if err != nil {
					return err
				}
				if a.flags.json {
					err = a.object(struct {
						Problems []string `json:"problems"`
					}{problems})
				}
				for _, problem := range problems {
					if !a.flags.json {
						err = errors.Join(err, a.line(problem))
					}
				}
				if len(problems) > 0 {
					return errors.Join(err, &capstan.Error{
						Class: capstan.ErrIncomplete, Op: "catalog", Object: d.Home.Catalog(), Err: errors.New(plural(int64(len(problems)), "problem")),
						Safe: "the volumes tell their own content", Next: "capstan catalog rebuild VOLUME reads it from there",
					})
				}
				a.say("the catalog is sound")
				return err
			})
		},
	}
	limits.addPatience(cmd.Flags())
	return cmd
}

func (a *app) catalogRebuildCommand() *cobra.Command {
	var keys keyFlags
	var limits deliverFlags
	cmd := &cobra.Command{
		Use: "rebuild VOLUME", Short: "Read a volume's sets into the catalog",
		Long: `Read the manifests of all sets on a volume and record what the catalog lacks, so
that sets made by another home, or before the catalog was lost, can be listed and
restored. Each manifest is checked against its set's SHA256SUMS. What the catalog
already holds is left as it is.

The manifests of encrypted sets need their key or passphrase. Sets that do not open
are named; if that is all that is wrong, the exit code is 12.`,
		Example: "  capstan catalog rebuild /mnt/disk\n  capstan --home /tmp/fresh catalog rebuild /mnt/disk\n  capstan catalog rebuild /mnt/disk --identity key.txt",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			patience, err := a.patient(&limits)
			if err != nil {
				return err
			}
			return a.withKeys(cmd.Context(), &keys, func(ctx context.Context, d *daemon.Daemon) error {
				var found []capstan.SetID
				err := a.live(ctx, d, func(ctx context.Context) (err error) {
					found, err = pipeline.Attend(ctx, d.Engine, patience, func(ctx context.Context) ([]capstan.SetID, error) {
						return rebuild(ctx, d, args[0])
					})
					return err
				})
				for _, set := range found {
					if a.flags.json {
						err = errors.Join(err, a.object(map[string]any{"set": set}))
					} else {
						err = errors.Join(err, a.line(string(set)))
					}
				}
				a.say("%s read into the catalog", plural(int64(len(found)), "set"))
				return err
			})
		},
	}
	keys.add(cmd)
	limits.addPatience(cmd.Flags())
	return cmd
}

// rebuild opens the volume and reads its sets into the catalog.
func rebuild(ctx context.Context, d *daemon.Daemon, spec string) (found []capstan.SetID, err error) {
	stage := d.Tracker.Stage(job.OpenStage)
	stage.Begin()
	done := stage.Wait(progress.ForVolume, spec)
	volume, err := d.Existing(spec)
	done()
	stage.End()
	if err != nil {
		return nil, err
	}
	found, err = d.Engine.Rebuild(ctx, volume)
	return found, errors.Join(err, volume.Close())
}

func (a *app) catalogExportCommand() *cobra.Command {
	var entries bool
	cmd := &cobra.Command{
		Use: "export", Short: "Write the catalog's records to stdout, one JSON object a line",
		Example: "  capstan catalog export > catalog.jsonl\n  capstan catalog export --entries | gzip > all.jsonl.gz",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, d *daemon.Daemon) error {
				return d.Catalog.Export(ctx, a.out, catalog.ExportOptions{Entries: entries})
			})
		},
	}
	cmd.Flags().BoolVar(&entries, "entries", false, "every entry of every set too")
	return cmd
}
