package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/config"
	"capstan/internal/daemon"
	"capstan/internal/output"
)

// jobLine is one job in --json output.
type jobLine struct {
	Job        capstan.JobKey    `json:"job"`
	Configured bool              `json:"configured"`
	Sources    []string          `json:"sources"`
	Volumes    []string          `json:"volumes"`
	LastSet    capstan.SetID     `json:"last_set,omitempty"`
	Status     capstan.RunStatus `json:"status,omitempty"` // of the last set
	Started    time.Time         `json:"started,omitzero"` // the last set
	Age        float64           `json:"age_seconds,omitempty"`
	LastRun    capstan.RunStatus `json:"last_run,omitempty"`
}

func (a *app) jobsCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "jobs", Short: "List the jobs of the configuration, with what became of them last",
		Long: `List the jobs of the configuration: the newest set of each, its status and age, and
how the job's newest run ended. A run that failed before its backup began (a
command before it failed) has no set. With --all, also what the catalog knows of
ad hoc backups, and of jobs that the configuration no longer has.`,
		Example: "  capstan jobs\n  capstan jobs --json | jq -r 'select(.last_run != \"complete\") | .job'",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, d *daemon.Daemon) error { return a.jobs(ctx, d, all) })
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also jobs that only the catalog knows")
	return cmd
}

func (a *app) jobs(ctx context.Context, d *daemon.Daemon, all bool) error {
	lines, err := a.jobLines(ctx, d, all)
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		a.say("%s", noJobs(a.settings.File))
		return nil
	}
	sets, err := d.Catalog.Sets(ctx, catalog.SetFilter{})
	if err != nil {
		return err
	}
	newest := map[capstan.JobKey]*catalog.SetInfo{}
	for i := range sets {
		if newest[sets[i].Job] == nil && !sets[i].Forgotten { // newest first
			newest[sets[i].Job] = &sets[i]
		}
	}
	rows := make([][]string, 0, len(lines))
	for _, line := range lines {
		if set := newest[line.Job]; set != nil {
			line.LastSet, line.Status, line.Started = set.ID, set.Status, set.Started
			line.Age = max(time.Since(set.Started), 0).Seconds()
		}
		if line.LastRun, err = lastRun(ctx, d, line.Job); err != nil {
			return err
		}
		if a.flags.json {
			if err := a.object(line); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, line.row())
	}
	return a.table([]string{"JOB", "LAST SET", "STATUS", "AGE", "LAST RUN", "SOURCES", "VOLUMES"}, rows)
}

// row is the line for people.
func (l *jobLine) row() []string {
	set, age := "none", "-"
	if l.LastSet != "" {
		set, age = string(l.LastSet), output.Duration(time.Duration(l.Age*float64(time.Second)))
	}
	return []string{
		string(l.Job), set, orDash(l.Status), age, orDash(l.LastRun), strings.Join(l.Sources, ", "), strings.Join(l.Volumes, ", "),
	}
}

func orDash(status capstan.RunStatus) string {
	if status == "" {
		return "-"
	}
	return string(status)
}

// jobLines are the jobs of the configuration, and with all those of the catalog
// that it does not have.
func (a *app) jobLines(ctx context.Context, d *daemon.Daemon, all bool) ([]jobLine, error) {
	var lines []jobLine
	configured := map[capstan.JobKey]bool{}
	for _, job := range a.settings.File.Jobs {
		key := capstan.JobKey(job.Name)
		configured[key] = true
		sources := make([]string, len(job.Sources))
		for i, source := range job.Sources {
			sources[i] = daemon.Shown(source)
		}
		lines = append(lines, jobLine{Job: key, Configured: true, Sources: sources, Volumes: job.To})
	}
	if !all {
		return lines, nil
	}
	known, err := d.Catalog.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	for _, job := range known {
		if !configured[job.Key] {
			lines = append(lines, jobLine{Job: job.Key, Sources: job.Sources, Volumes: job.Volumes})
		}
	}
	return lines, nil
}

// maxRuns bounds how far back the newest run of a job is looked for, among those
// that restored or verified.
const maxRuns = 50

// lastRun is how the newest run of a job that was to make a set stands; empty if
// there was none.
func lastRun(ctx context.Context, d *daemon.Daemon, job capstan.JobKey) (capstan.RunStatus, error) {
	runs, err := d.Catalog.Runs(ctx, catalog.RunFilter{Job: job, Limit: maxRuns})
	if err != nil {
		return "", err
	}
	for _, run := range runs {
		if run.Kind == "backup" || run.Kind == "resume" {
			return run.Status, nil
		}
	}
	return "", nil
}

func noJobs(file *config.File) string {
	if file.Path == "" {
		return "no jobs: there is no configuration file; capstan init writes one to start from"
	}
	return "no jobs in " + file.Path
}
