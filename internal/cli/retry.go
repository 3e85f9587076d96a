package cli

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/config"
	"capstan/internal/daemon"
	"capstan/internal/pipeline"
	"capstan/internal/stage"
)

func (a *app) retryCommand() *cobra.Command {
	var flags deliverFlags
	var keys keyFlags
	cmd := &cobra.Command{
		Use: "retry RUN", Short: "Bring the set of a run to the volumes that lack it",
		Long: `Try the copies again that a run gave up: from the stage, or from a volume that has
them. When a volume has all archives, the set's own files are written there, and
the set is complete when every volume has it. What verify found damaged or missing
on one volume is brought there from another. The source is not read.

A run that was interrupted is not retried: run its job again, and it resumes.`,
		Example: "  capstan runs\n  capstan retry 12\n  capstan retry 12 --limit-rate 20MiB --json",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseRun(args[0])
			if err != nil {
				return err
			}
			patience, err := a.patient(&flags)
			if err != nil {
				return err
			}
			limit, err := flags.limit()
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(ctx context.Context, d *daemon.Daemon) error {
				return a.retry(ctx, d, pipeline.Retry{
					Run: id, Limit: limit, Patience: patience, Passphrase: passphraseIn(config.Passphrase(keys.passphrase)),
					Stage: func(ctx context.Context, set capstan.SetID) (*stage.Stage, error) { return flags.stageOf(ctx, d, set) },
				})
			})
		},
	}
	flags.add(cmd.Flags())
	keys.addPassphrase(cmd, "file that holds the passphrase of a set that is encrypted with one")
	return cmd
}

func (a *app) retry(ctx context.Context, d *daemon.Daemon, job pipeline.Retry) error {
	var summary pipeline.Summary
	err := a.live(ctx, d, func(ctx context.Context) error {
		var err error
		summary, err = d.Engine.Retry(ctx, job)
		return err
	})
	if summary.Run != 0 {
		a.deliverySummary(ctx, summary)
	} else if err == nil {
		a.finish(ctx, "", summary)
	}
	return err
}

func (a *app) abandonCommand() *cobra.Command {
	var flags deliverFlags
	var lose bool
	cmd := &cobra.Command{
		Use: "abandon RUN", Short: "Give up what volumes lack of a run's set",
		Long: `Give up the copies that wait for a person: nobody wants them any more, and the
stage lets their archives go. Volumes that have the set keep it.

It is refused while an archive is on no volume at all, unless --lose-data says that
it may be lost. The set of an interrupted run is not resumed any more.`,
		Example: "  capstan abandon 12\n  capstan abandon 12 --lose-data",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseRun(args[0])
			if err != nil {
				return err
			}
			patience, err := a.patient(&flags)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(ctx context.Context, d *daemon.Daemon) error {
				removed, err := pipeline.Attend(ctx, d.Engine, patience, func(ctx context.Context) (int, error) {
					return d.Engine.Abandon(ctx, id, lose, func(ctx context.Context, set capstan.SetID) (*stage.Stage, error) {
						return flags.stageOf(ctx, d, set)
					})
				})
				if err != nil {
					return err
				}
				if a.flags.json {
					return a.object(struct {
						Run     capstan.RunID `json:"run"`
						Removed int           `json:"removed"`
					}{id, removed})
				}
				a.say("what volumes lack of run %d is given up; %s removed from the stage", id, plural(int64(removed), "archive"))
				return nil
			})
		},
	}
	flags.addPatience(cmd.Flags())
	cmd.Flags().StringVar(&flags.stage, "stage", "", "the stage that holds the archives (default: the known one that does)")
	cmd.Flags().BoolVar(&lose, "lose-data", false, "also where the stage holds the only copy of an archive")
	return cmd
}

// parseRun reads the number of a run.
func parseRun(s string) (capstan.RunID, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, usage("%q is no run: give the number of a run; see: capstan runs", s)
	}
	return capstan.RunID(n), nil
}
