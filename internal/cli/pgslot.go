package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/output"
	"capstan/internal/pg"
	"capstan/internal/pgserver"
	"capstan/internal/pgslot"
)

func (a *app) pgSlotDoctorCommand(flags *pgFlags) *cobra.Command {
	var quarantine quarantineFlags
	var repair, dryRun bool
	cmd := &cobra.Command{
		Use: "slot-doctor", Short: "Find replication slots whose files are wrong, and repair what is safe",
		Long: `Look through pg_replslot: directories whose state file is that of another slot
(ghosts, which come back at each start and hold WAL back; misnamed and duplicate
slots), missing or damaged state files, owners and modes with which the server does
not come up, quarantines that were killed on their way.

With --repair, and no server running: ghosts are moved out of pg_replslot, misnamed
directories get their slot's name, owners and modes are set, a state that is missing
or damaged is put back from a quarantine whose WAL is still there. Nothing is deleted.

Exit codes: 0 all is well, or was repaired; 3 something is wrong and left; 4 refused
for safety, nothing touched.`,
		Example: "  capstan pg slot-doctor -D /var/lib/postgresql/15/main\n  capstan pg slot-doctor -D /data --repair --dry-run",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			where, err := quarantine.where()
			if err != nil {
				return err
			}
			run := a.pgRead
			if repair && !dryRun {
				run = a.pgChange
			}
			return run(cmd.Context(), flags, func(ctx context.Context, env pgserver.Env, cluster *pg.Cluster) error {
				findings, err := pgserver.Doctor(ctx, env, cluster, where, repair && !dryRun)
				left, next := 0, "what each of them needs is said with it"
				for _, f := range findings {
					if !f.Harmless && !f.Repaired {
						left++
						if f.Repair != "" {
							next = "with no server running: capstan pg slot-doctor --repair -D " + cluster.Dir
						}
					}
					err = errors.Join(err, a.finding(f, repair && dryRun))
				}
				if len(findings) == 0 && err == nil {
					a.say("all slots are whole")
				}
				if err == nil && left > 0 {
					err = &capstan.Error{
						Class: capstan.ErrIncomplete, Op: "slot-doctor", Object: cluster.Dir, Err: errors.New(plural(int64(left), "finding") + " left"),
						Next: next,
					}
				}
				return err
			})
		},
	}
	quarantine.add(cmd)
	cmd.Flags().BoolVar(&repair, "repair", false, "do what is safe about what was found; no server may run")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "with --repair: only say what would be done")
	return cmd
}

func (a *app) finding(f pgslot.Finding, dryRun bool) error {
	if a.flags.json {
		return a.object(f)
	}
	state := string(f.Kind)
	if f.Repaired {
		state = "repaired: " + state
	}
	lines := []string{state + ": " + f.Path + ": " + f.Detail}
	switch {
	case f.Repaired:
	case f.Repair != "" && dryRun:
		lines = append(lines, "  would: "+f.Repair)
	case f.Repair != "":
		lines = append(lines, "  --repair: "+f.Repair)
	case f.Next != "":
		lines = append(lines, "  "+f.Next)
	}
	for _, line := range lines {
		if err := a.line(output.Clean(line)); err != nil {
			return err
		}
	}
	return nil
}
