package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/daemon"
)

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "capstan",
		Short: "Back up file trees into catalogued, verified sets, and restore them",
		Long: `Capstan backs up file trees into catalogued, verified sets of archives that stock
tools can restore: tar, zstd, gzip, sha256sum.

It also dumps PostgreSQL databases, whatever is done to their tables meanwhile, and
stops and starts PostgreSQL servers safely around replication and archiving.`,
		Example: `  capstan backup /srv/data --to /mnt/disk
  capstan sets
  capstan restore latest --to /srv/back`,
		SilenceErrors: true, SilenceUsage: true,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &capstan.Error{Class: capstan.ErrUsage, Op: cmd.CommandPath(), Err: err, Next: "see: " + cmd.CommandPath() + " --help"}
	})
	f := root.PersistentFlags()
	f.StringVar(&a.flags.home, "home", "", "directory of the catalog and keys (default $CAPSTAN_HOME, else the user's state directory)")
	f.StringVar(&a.flags.config, "config", "", "configuration file (default $CAPSTAN_CONFIG, else the first found; see: capstan help environment)")
	f.StringVar(&a.flags.catalog, "catalog", "", "path of the SQLite catalog (default in the home)")
	f.StringVar(&a.flags.memory, "memory", "", "bound of a run's buffers (default half the control group's limit, at most 128MiB)")
	f.StringVar(&a.flags.logFile, "log-file", "", "append messages to this file")
	f.BoolVar(&a.flags.json, "json", false, "print results as JSON, one object a line")
	f.BoolVarP(&a.flags.quiet, "quiet", "q", false, "only errors and results")
	f.BoolVarP(&a.flags.verbose, "verbose", "v", false, "more messages")
	f.BoolVar(&a.flags.noProgress, "no-progress", false, "no progress view")
	root.AddCommand(
		a.backupCommand(), a.restoreCommand(), a.verifyCommand(), a.setsCommand(), a.showCommand(), a.lsCommand(),
		a.findCommand(), a.catCommand(), a.diffCommand(), a.catalogCommand(), a.doctorCommand(), a.versionCommand(),
		a.jobsCommand(), a.runsCommand(), a.watchCommand(), a.cancelCommand(), a.retryCommand(), a.abandonCommand(),
		a.forgetCommand(), a.consolidateCommand(), a.pinCommand(), a.unpinCommand(), a.keyCommand(), a.pgCommand(), a.initCommand(), environmentTopic(),
	)
	completionOf(root)
	tellExitCodes(root)
	return root
}

// completionOf adds cobra's command for shells' completion, with our exit codes.
func completionOf(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() != "completion" {
			continue
		}
		cmd.Args = usageArgs(cobra.NoArgs)
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		for _, shell := range cmd.Commands() {
			shell.Args = usageArgs(cobra.NoArgs)
			shell.Example = "  capstan completion " + shell.Name() + " > capstan." + shell.Name()
		}
		cmd.Example = "  capstan completion bash > /etc/bash_completion.d/capstan"
	}
}

func usage(format string, args ...any) error {
	return &capstan.Error{Class: capstan.ErrUsage, Err: fmt.Errorf(format, args...)}
}

// jobFlag lets a command look for sets of one job only.
func (a *app) jobFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.flags.job, "job", "", "only sets of this job; latest is then its latest")
}

func (a *app) setFilter() catalog.SetFilter {
	return catalog.SetFilter{Job: capstan.JobKey(a.flags.job)}
}

// set finds a set by its id, or the latest finished one.
func (a *app) set(ctx context.Context, d *daemon.Daemon, name string) (capstan.Set, error) {
	if name == "latest" {
		return d.Catalog.Latest(ctx, capstan.JobKey(a.flags.job))
	}
	id, err := capstan.ParseSetID(name)
	if err != nil {
		return capstan.Set{}, &capstan.Error{Class: capstan.ErrUsage, Err: err, Next: "see: capstan sets"}
	}
	return d.Catalog.Set(ctx, id)
}

// completeSets offers set ids to the shell. It stays silent where there is no
// catalog yet, and creates none.
func (a *app) completeSets(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 && !strings.HasPrefix(cmd.Use, "diff") && !strings.HasPrefix(cmd.Use, "verify") && !strings.HasPrefix(cmd.Use, "forget") {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := []string{"latest"}
	_ = a.with(cmd.Context(), func(ctx context.Context, d *daemon.Daemon) error {
		sets, err := d.Catalog.Sets(ctx, catalog.SetFilter{})
		for _, set := range sets {
			names = append(names, string(set.ID))
		}
		return err
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}

// parsePercent reads "10%" or "10".
func parsePercent(s string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSuffix(s, "%"))
	if err != nil || n < 0 || n > 100 {
		return 0, usage("--read-data=%s: give a share from 0%% to 100%%", s)
	}
	return n, nil
}
