package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"capstan/internal/output"
	"capstan/internal/pg"
	"capstan/internal/pgserver"
)

func (a *app) pgStopCheckCommand(flags *pgFlags) *cobra.Command {
	return &cobra.Command{
		Use: "stop-check", Short: "Say what will block or slow a stop, before it, and about how long it will take",
		Long: `Look at a running server and say what its stop will meet: walsenders with their lag,
wal_sender_timeout 0, the archive backlog and how long a file takes, an archive
command that fails, base backups, prepared and long transactions, spill files, and
settings that invalidate slots in a long maintenance. It estimates the length of the
stop and of the next start. Nothing is changed. Without a connection it says what
can be seen from outside.`,
		Example: "  capstan pg stop-check -D /var/lib/postgresql/15/main\n  capstan pg stop-check -D /data --json | jq -r '.findings[] | select(.level == \"blocks\") | .detail'",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.pgRead(cmd.Context(), flags, func(ctx context.Context, env pgserver.Env, cluster *pg.Cluster) error {
				report, err := pgserver.Check(ctx, env, cluster, flags.url, flags.clusterName)
				if err != nil {
					return err
				}
				if a.flags.json {
					return a.object(report)
				}
				return a.checkText(report)
			})
		},
	}
}

func (a *app) checkText(r pgserver.CheckReport) error {
	rows := make([][]string, 0, len(r.Findings))
	for _, f := range r.Findings {
		rows = append(rows, []string{string(f.Level), f.What, f.Detail, f.Advice})
	}
	if len(rows) == 0 {
		a.say("nothing was found that holds a stop up")
	}
	if err := a.table([]string{"LEVEL", "WHAT", "DETAIL", "ADVICE"}, rows); err != nil {
		return err
	}
	for _, estimate := range []struct {
		name string
		of   pgserver.Estimate
	}{{"stop", r.Stop}, {"start after a clean stop", r.Start}, {"start after a crash", r.Crash}} {
		most := "without bound"
		if estimate.of.Max != nil {
			most = "at most about " + seconds(*estimate.of.Max)
		}
		line := fmt.Sprintf("%s: at least %s, %s (%s)", estimate.name, seconds(estimate.of.Min), most, strings.Join(estimate.of.Says, "; "))
		if err := a.line(output.Clean(line)); err != nil {
			return err
		}
	}
	return nil
}
