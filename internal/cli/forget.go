package cli

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/config"
	"capstan/internal/daemon"
	"capstan/internal/pipeline"
	"capstan/internal/policy"
)

// forgetFlags are the flags of forget as typed.
type forgetFlags struct {
	rules  policy.Rules
	within string
	pool   string
	yes    bool
	limits deliverFlags
}

func (f *forgetFlags) add(flags *pflag.FlagSet) {
	for _, rule := range f.counts() {
		flags.IntVar(rule.n, rule.flag, 0, rule.usage)
	}
	flags.StringVar(&f.within, "keep-within", "", "keep the sets of this long before the job's newest one: 30d, 6m, 2y")
	flags.StringVar(&f.pool, "pool", "", "judge what the volumes of this pool hold, and let go there alone; the rules are the pool's unless given")
	f.limits.addPatience(flags)
	flags.BoolVar(&f.yes, "yes", false, "do it; without, the plan is printed and nothing is changed")
}

// countFlag is a rule that counts.
type countFlag struct {
	flag, usage string
	n           *int
}

func (f *forgetFlags) counts() []countFlag {
	return []countFlag{
		{"keep-last", "keep the newest N sets of a job", &f.rules.Last},
		{"keep-daily", "keep the newest set of each of the last N days that have one", &f.rules.Daily},
		{"keep-weekly", "the same of weeks, from Monday on", &f.rules.Weekly},
		{"keep-monthly", "the same of months", &f.rules.Monthly},
		{"keep-yearly", "the same of years", &f.rules.Yearly},
	}
}

// check completes the rules.
func (f *forgetFlags) check(given func(flag string) bool) error {
	for _, rule := range f.counts() {
		if given(rule.flag) && *rule.n < 1 {
			return usage("--%s %d: give a number from 1", rule.flag, *rule.n)
		}
	}
	if !given("keep-within") {
		return nil
	}
	span, err := policy.ParseSpan(f.within)
	if err != nil {
		return usage("--keep-within: %w", err)
	}
	f.rules.Within = span
	return nil
}

func (a *app) forgetCommand() *cobra.Command {
	var flags forgetFlags
	cmd := &cobra.Command{
		Use:   "forget [SET...] [--job NAME] [--keep-... N]",
		Short: "Let sets go that a policy does not keep, and free their room",
		Long: `Let the sets go that no rule keeps, each job by itself, and print for each set why
it stays or goes. Nothing is changed without --yes.

With --yes, the sets are forgotten, and their files are removed from directories:
that frees the room, and cannot be undone. Whoever keeps volumes that nobody can
delete from (a read-only mount, a disk in the safe) keeps them there. A volume that
is not there at the moment is named, with exit code 3; the next forget, or the next
backup to it, removes what is left on it.

The rules come from the flags; with --job alone from keep in the job's
configuration, with --pool alone from keep of the pool, and with nothing at all from
every configured job that has one. With --pool, each job's sets are judged as the
volumes of that pool hold them, and are let go there alone: on others they stay. A set
is kept if any rule keeps it. Days, weeks and months are those of this machine's time
zone ($TZ). In --keep-within, m is months.

Never let go, whatever the rules say: the last set of a job that can be restored; one
that is running or interrupted; one that a volume has yet to get; a pinned one
(capstan pin); one that is being restored or verified; and all that a kept set builds on. A SET that is named goes unless one
of these holds it; of several, all go or none (exit code 4).`,
		Example: `  capstan forget --keep-daily 14 --keep-weekly 8 --keep-monthly 12
  capstan forget --job files --yes
  capstan forget --pool offsite --keep-monthly 24 --yes
  capstan forget --keep-within 6m --keep-last 3 --json
  capstan forget 2026-11_000001 2026-11_000002 --yes`,
		ValidArgsFunction: a.completeSets,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.check(cmd.Flags().Changed); err != nil {
				return err
			}
			if len(args) > 0 && !flags.rules.Empty() {
				return usage("name sets, or give rules, not both")
			}
			patience, err := a.patient(&flags.limits)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(ctx context.Context, d *daemon.Daemon) error {
				return a.forget(ctx, d, args, flags, patience)
			})
		},
	}
	a.jobFlag(cmd)
	flags.add(cmd.Flags())
	return cmd
}

// forget plans, job by job, and with --yes does it.
func (a *app) forget(ctx context.Context, d *daemon.Daemon, args []string, flags forgetFlags, patience pipeline.Patience) error {
	pool, err := a.forgetPool(ctx, d, &flags, len(args) > 0)
	if err != nil {
		return err
	}
	tasks, err := a.forgetTasks(ctx, d, args, flags.rules)
	if err != nil {
		return err
	}
	for i := range tasks {
		tasks[i].Volumes = pool
	}
	sets, err := d.Catalog.Sets(ctx, catalog.SetFilter{})
	if err != nil {
		return err
	}
	report := forgetReport{Type: "summary", Done: flags.yes, sets: make(map[capstan.SetID]*catalog.SetInfo, len(sets))}
	for i := range sets {
		report.sets[sets[i].ID] = &sets[i]
	}
	if !flags.yes {
		return a.forgetPlan(ctx, d, tasks, &report)
	}
	var failures []error
	err = a.live(ctx, d, func(ctx context.Context) error {
		for _, task := range tasks {
			done, err := pipeline.Attend(ctx, d.Engine, patience, func(ctx context.Context) (pipeline.Forgotten, error) {
				return d.Engine.Forget(ctx, task)
			})
			report.add(task.Job, done.Plan)
			for _, erased := range done.Erased {
				report.Freed += erased.Bytes
			}
			report.Erased, report.Left = append(report.Erased, done.Erased...), append(report.Left, done.Left...)
			if err != nil {
				failures = append(failures, err)
			}
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
		}
		return nil
	})
	if len(report.lines)+len(report.Erased)+len(report.Left) > 0 || err == nil && len(failures) == 0 {
		err = errors.Join(err, a.forgetResult(ctx, &report))
	}
	return errors.Join(append(failures, err)...)
}

// forgetPool finds the volumes of the pool that was named, and takes its rules where
// none are given; nil for no pool.
func (a *app) forgetPool(ctx context.Context, d *daemon.Daemon, flags *forgetFlags, named bool) (volumes []capstan.VolumeID, err error) {
	if flags.pool == "" {
		return nil, nil
	}
	locations, err := a.settings.File.Pool(flags.pool)
	if err != nil {
		return nil, err
	}
	for _, location := range locations {
		path, err := daemon.VolumePath(location)
		if err != nil {
			return nil, err
		}
		info, known, err := d.Catalog.VolumeByLocation(ctx, path)
		if err != nil {
			return nil, err
		}
		if known {
			volumes = append(volumes, info.ID)
		}
	}
	if len(volumes) == 0 {
		return nil, &capstan.Error{
			Class: capstan.ErrNotFound, Op: "forget in pool", Object: flags.pool, Err: errors.New("the catalog knows none of its volumes"), Safe: "nothing was changed",
		}
	}
	if flags.rules.Empty() && !named {
		i := slices.IndexFunc(a.settings.File.Pools, func(p config.Pool) bool { return p.Name == flags.pool })
		if flags.rules = a.settings.File.Pools[i].Keep; flags.rules.Empty() {
			return nil, usage("pool %s has no keep in the configuration: give --keep-last, --keep-daily and the like", flags.pool)
		}
	}
	return volumes, nil
}

// forgetPlan prints what would be done.
func (a *app) forgetPlan(ctx context.Context, d *daemon.Daemon, tasks []pipeline.Forget, report *forgetReport) error {
	for _, task := range tasks {
		plan, err := d.Engine.ForgetPlan(ctx, task)
		if err != nil {
			return err
		}
		report.add(task.Job, plan)
		left, err := d.Engine.Leftovers(ctx, task.Job)
		if err != nil {
			return err
		}
		report.Left = append(report.Left, left...)
	}
	return a.forgetResult(ctx, report)
}

// forgetTasks says which sets of which jobs are judged, and by what.
func (a *app) forgetTasks(ctx context.Context, d *daemon.Daemon, args []string, rules policy.Rules) (tasks []pipeline.Forget, err error) {
	if err := a.knownJob(ctx, d); err != nil {
		return nil, err
	}
	add := func(job capstan.JobKey, rules policy.Rules) {
		tasks = append(tasks, pipeline.Forget{Job: job, Rules: rules, Zone: time.Local, Why: "by " + caller() + ", keep " + rules.String()})
	}
	configured := a.settings.File.Jobs
	switch {
	case len(args) > 0:
		return a.namedTasks(ctx, d, args)
	case a.flags.job != "":
		if i := slices.IndexFunc(configured, func(j config.Job) bool { return j.Name == a.flags.job }); i >= 0 && rules.Empty() {
			rules = configured[i].Keep
		}
		add(capstan.JobKey(a.flags.job), rules)
		return tasks, nil
	case rules.Empty():
		for _, job := range configured {
			if !job.Keep.Empty() {
				add(capstan.JobKey(job.Name), job.Keep)
			}
		}
		if len(tasks) == 0 {
			return nil, usage("no policy says what to keep, so nothing is let go: give --keep-last, --keep-daily and the like, or keep in the configuration of a job")
		}
		return tasks, nil
	}
	jobs, err := d.Catalog.Jobs(ctx)
	for _, job := range jobs {
		add(job.Key, rules)
	}
	return tasks, err
}

// namedTasks groups the named sets by their jobs. One that is forgotten already is
// asked for once more, so that what is left of it is removed.
func (a *app) namedTasks(ctx context.Context, d *daemon.Daemon, args []string) (tasks []pipeline.Forget, err error) {
	forgotten, err := d.Catalog.Forgotten(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, name := range args {
		task := pipeline.Forget{Why: "by " + caller(), Finish: true}
		if i := slices.IndexFunc(forgotten, func(s catalog.ForgottenSet) bool { return string(s.ID) == name && !s.Kept }); i >= 0 {
			task.Job = forgotten[i].Job
		} else {
			set, err := a.set(ctx, d, name)
			if err != nil {
				return nil, err
			}
			task.Job, task.Sets, task.Finish = set.Job, []capstan.SetID{set.ID}, false
		}
		i := slices.IndexFunc(tasks, func(t pipeline.Forget) bool { return t.Job == task.Job })
		if i < 0 {
			tasks = append(tasks, task)
			continue
		}
		tasks[i].Sets = append(tasks[i].Sets, task.Sets...)
		tasks[i].Finish = tasks[i].Finish && task.Finish
	}
	return tasks, nil
}
