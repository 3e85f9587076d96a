package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/daemon"
	"capstan/internal/envelope"
	"capstan/internal/output"
	"capstan/internal/pipeline"
	"capstan/internal/rotation"
)

func (a *app) keyRewrapCommand() *cobra.Command {
	var all bool
	var keys keyFlags
	var limits deliverFlags
	to := encryptFlags{flag: "new-passphrase-file"}
	cmd := &cobra.Command{
		Use: "rewrap SET... | rewrap --all", Short: "Give encrypted sets other recipients",
		Long: `Give every file of encrypted sets, on all their volumes, a new header, so that the
keys of --encrypt-to open it instead of those before. What is encrypted stays as it
is; each part is proven on the way, and a damaged copy is named and left. Sums and
signatures are made anew. All volumes of a set must be there, with room for one
archive each.

A call that was interrupted is finished by the same call; until then the old and the
new keys together open the set. Whoever held an old key and copied files keeps what
he has: make new keys for what is backed up from now on.`,
		Example:           "  capstan key rewrap latest --identity old.key --encrypt-to age1...\n  capstan key rewrap --all --identity old.key --encrypt-to office.keys",
		ValidArgsFunction: a.completeSets,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case all == (len(args) > 0):
				return usage("key rewrap takes sets, or --all; see: capstan key rewrap --help")
			case len(to.to) == 0:
				return usage("key rewrap needs --encrypt-to: who shall be able to read the sets")
			}
			recipients, err := to.recipients()
			if err != nil {
				return err
			}
			patience, err := a.patient(&limits)
			if err != nil {
				return err
			}
			return a.withKeys(cmd.Context(), &keys, func(ctx context.Context, d *daemon.Daemon) error {
				sets, err := a.rewrapped(ctx, d, args)
				if err != nil {
					return err
				}
				return a.rewrap(ctx, d, sets, recipients, patience)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every encrypted set that is finished and not forgotten")
	to.add(cmd)
	keys.add(cmd)
	limits.addPatience(cmd.Flags())
	a.jobFlag(cmd)
	return cmd
}

// rewrapped are the sets that the user named, or all, the oldest first.
func (a *app) rewrapped(ctx context.Context, d *daemon.Daemon, names []string) ([]capstan.SetID, error) {
	var ids []capstan.SetID
	for _, name := range names {
		set, err := a.set(ctx, d, name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, set.ID)
	}
	if len(names) > 0 {
		return ids, nil
	}
	sets, err := d.Catalog.Sets(ctx, a.setFilter())
	if err != nil {
		return nil, err
	}
	for _, set := range slices.Backward(sets) {
		finished := set.Status == capstan.RunComplete || set.Status == capstan.RunPartial
		if finished && !set.Forgotten && set.Encrypted() {
			ids = append(ids, set.ID)
		}
	}
	return ids, nil
}

// rewrap rotates set after set. One with damaged copies does not hold the others up;
// anything else that fails ends the command.
func (a *app) rewrap(ctx context.Context, d *daemon.Daemon, sets []capstan.SetID, to *envelope.Recipients, patience pipeline.Patience) error {
	var failures []error
	var summaries []rotation.Summary
	err := a.live(ctx, d, func(ctx context.Context) error {
		runner := d.Rotation()
		for _, id := range sets {
			summary, err := pipeline.Attend(ctx, d.Engine, patience, func(ctx context.Context) (rotation.Summary, error) {
				return runner.Rotate(ctx, id, to)
			})
			summaries = append(summaries, summary)
			if errors.Is(err, capstan.ErrIncomplete) {
				failures = append(failures, err)
				continue
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	for _, s := range summaries {
		if printErr := a.rewrapSummary(s); printErr != nil {
			err = errors.Join(err, printErr)
		}
	}
	if len(sets) == 0 {
		a.say("no encrypted sets")
	}
	return errors.Join(append(failures, err)...)
}

func (a *app) rewrapSummary(s rotation.Summary) error {
	if a.flags.json {
		return a.object(s)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "set %s is %s: %s, %s rewritten on %s in %s", s.Set, s.Status,
		plural(int64(s.Files), "file"), s.Bytes, plural(int64(s.Volumes), "volume"), seconds(s.Seconds))
	for _, p := range s.Problems {
		fmt.Fprintf(&b, "; %s: %s", output.Clean(p.Object), output.Clean(p.Reason))
	}
	return a.line(b.String())
}
