package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/config"
	"capstan/internal/daemon"
	"capstan/internal/job"
	"capstan/internal/pipeline"
)

// hooks are the commands around a backup.
type hooks struct{ pre, post []config.Hook }

// configure reads the configuration, once, and completes the common flags by it.
func (a *app) configure() (config.Settings, error) {
	if a.settings == nil {
		f := &a.flags
		settings, err := config.Resolve(config.Flags{
			Home: f.home, Config: f.config, Catalog: f.catalog, Memory: f.memory, LogFile: f.logFile,
		})
		if err != nil {
			return config.Settings{}, err
		}
		a.settings, f.logFile = &settings, settings.LogFile
	}
	return *a.settings, nil
}

// resolveJob gives the sources of a backup, and completes its flags: by the job
// that --job names, where a flag was not given itself.
func (a *app) resolveJob(flags *backupFlags, args []string, given func(flag string) bool) ([]string, error) {
	settings, err := a.configure()
	if err != nil {
		return nil, err
	}
	switch {
	case flags.job == "" && given("job"):
		return nil, usage("--job needs the name of a job; see: capstan jobs")
	case flags.job == "" && len(args) == 0:
		return nil, usage("backup needs a SOURCE, or --job NAME; see: capstan backup --help")
	case flags.job != "" && len(args) > 0:
		return nil, usage("job %s has its own sources: leave %s out, or leave --job out", flags.job, daemon.AllShown(args))
	}
	if flags.to, err = openPools(settings.File, flags.to); err != nil {
		return nil, err
	}
	if flags.hooks.pre, err = scripts("--pre", config.PreHook, flags.pre); err != nil {
		return nil, err
	}
	if flags.hooks.post, err = scripts("--post", config.PostHook, flags.post); err != nil {
		return nil, err
	}
	if flags.job == "" {
		return args, nil
	}
	named, err := settings.File.Job(flags.job)
	if err != nil {
		return nil, err
	}
	flags.complete(named, given)
	a.jobMemory = named.Memory
	if named.ForgetAfter {
		flags.forget = &pipeline.Forget{Rules: named.Keep, Zone: time.Local}
	}
	return named.Sources, nil
}

// complete takes the job's value for every flag that was not given.
func (f *backupFlags) complete(from config.Job, given func(flag string) bool) {
	for flag, take := range map[string]func(){
		"to":              func() { f.to = from.To },
		"compress":        func() { f.compress = string(from.Compress) },
		"level":           func() { f.level = from.Level },
		"archive-size":    func() { f.archiveSize = sizeText(from.ArchiveSize) },
		"exclude":         func() { f.excludes = from.Exclude },
		"exclude-from":    func() { f.excludeFiles = from.ExcludeFrom },
		"one-file-system": func() { f.oneFileSystem = from.OneFileSystem },
		"exclude-caches":  func() { f.cacheDirs = from.ExcludeCaches },
		"encrypt-to":      func() { f.encrypt.to, f.encrypt.secret = from.EncryptTo, from.Passphrase },
		"timeout":         func() { f.timeout = from.Timeout },
		"stage":           func() { f.deliver.completeStage(from, given) },
		"stage-size": func() {
			if from.Stage != "" || len(from.To) > 1 || daemon.AnyDatabase(from.Sources) {
				f.deliver.stageSize = sizeText(from.StageSize)
			}
		},
		"limit-rate": func() { f.deliver.limitRate = sizeText(from.LimitRate) },
		"attempts":   func() { f.deliver.attempts = from.Attempts },
		"stall-warn": func() { f.deliver.stallWarn = from.StallWarn },
		"stall-fail": func() { f.deliver.stallFail = from.StallFail },
		"pre":        func() { f.hooks.pre = from.Pre },
		"post":       func() { f.hooks.post = from.Post },
	} {
		if !given(flag) {
			take()
		}
	}
	f.database.complete(from.Database, given)
}

// sizeText is a size as a flag takes it: exact, with a unit where it is a whole one;
// empty for none.
func sizeText(n capstan.Bytes) string {
	if n == 0 {
		return ""
	}
	for _, unit := range []struct {
		size capstan.Bytes
		name string
	}{{capstan.GiB, "GiB"}, {capstan.MiB, "MiB"}} {
		if n >= unit.size && n%unit.size == 0 {
			return strconv.FormatInt(int64(n/unit.size), 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(n), 10)
}

// openPools replaces pool:NAME by the volumes of the pool.
func openPools(file *config.File, to []string) ([]string, error) {
	var volumes []string
	for _, spec := range to {
		name, isPool := strings.CutPrefix(spec, "pool:")
		if !isPool {
			volumes = append(volumes, spec)
			continue
		}
		members, err := file.Pool(name)
		if err != nil {
			return nil, err
		}
		volumes = append(volumes, members...)
	}
	return volumes, nil
}

// scripts makes commands of what was typed behind --pre and --post.
func scripts(flag string, phase config.Phase, typed []string) ([]config.Hook, error) {
	var all []config.Hook
	for _, script := range typed {
		if strings.TrimSpace(script) == "" {
			return nil, usage("%s needs a command", flag)
		}
		all = append(all, config.NewHook(phase, script))
	}
	return all, nil
}

// runPlan runs a backup with its progress shown, and prints what became of it.
func (a *app) runPlan(ctx context.Context, d *daemon.Daemon, plan job.Plan) error {
	var summary pipeline.Summary
	err := a.live(ctx, d, func(ctx context.Context) error {
		var err error
		summary, err = job.Runner{Engine: d.Engine, Warn: a.printer.Warn}.Run(ctx, plan)
		return err
	})
	switch {
	case summary.Set != "":
		a.backupSummary(ctx, summary)
	case summary.Run != 0:
		a.kept = true
		a.finish(ctx, fmt.Sprintf("run %d is %s: nothing was backed up\n", summary.Run, summary.Status), summary)
	}
	return err
}

// backupJobFlag lets backup run a configured job.
func (a *app) backupJobFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "job", "", "run this job of the configuration; see: capstan jobs")
	complete := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		if settings, err := a.configure(); err == nil {
			for _, job := range settings.File.Jobs {
				names = append(names, job.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	_ = cmd.RegisterFlagCompletionFunc("job", complete) // it fails only for a flag that is not there
}
