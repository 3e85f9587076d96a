package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/codec"
	"capstan/internal/config"
	"capstan/internal/copier"
	"capstan/internal/daemon"
	"capstan/internal/job"
	"capstan/internal/pipeline"
)

// backupFlags are the flags of backup as typed.
type backupFlags struct {
	job           string
	to            []string
	compress      string
	level         int
	archiveSize   string
	excludes      []string
	excludeFiles  []string
	oneFileSystem bool
	cacheDirs     bool
	incremental   bool
	differential  bool
	encrypt       encryptFlags
	timeout       time.Duration
	pre, post     []string
	hooks         hooks            // of pre and post, else of the job
	forget        *pipeline.Forget // after the backup; nil: nothing
	deliver       deliverFlags
	database      databaseFlags
}

func (a *app) backupCommand() *cobra.Command {
	var flags backupFlags
	cmd := &cobra.Command{
		Use:   "backup SOURCE... --to VOLUME... | backup --job NAME",
		Short: "Back up file trees into a new set on one volume or several",
		Long: `Back up one or more file trees into a set of archives. With --job, the
configuration says which, and how; flags that are given count before it.

One directory is written to as it is packed. With --stage, and with several
volumes, archives wait in the stage, and every volume gets all of them at its own
pace: one that fails or hangs does not stop the others. What it lacks stays in the
stage, the set is partial, and capstan retry brings it there.

A second call with the same sources and volume belongs to the same job: if the
earlier run was interrupted, it is resumed. While the job is running, a second
call exits 11. Entries that cannot be read are named; the set is then partial
and the exit code 3.`,
		Example: `  capstan backup /srv/data --to /mnt/disk
  capstan backup ~/photos ~/mail --to /mnt/disk --exclude '*.tmp' --exclude /spam
  capstan backup / --to /mnt/disk --one-file-system --compress gzip --json
  capstan backup /srv/data --to /mnt/disk --to /mnt/nas --stage /var/tmp/stage --stage-size 50GiB
  capstan backup ~/mail --to /mnt/disk --encrypt-to age1... --encrypt-to office.keys
  capstan backup --job files --timeout 2h`,
		RunE: func(cmd *cobra.Command, args []string) error {
			sources, err := a.resolveJob(&flags, args, cmd.Flags().Changed)
			if err != nil {
				return err
			}
			return a.backup(cmd.Context(), sources, flags)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&flags.to, "to", nil, "volume to write to: a directory (repeatable)")
	f.StringVar(&flags.compress, "compress", string(config.DefaultCompress), "zstd, gzip or none")
	f.IntVar(&flags.level, "level", config.DefaultLevel, "compression level: zstd 1 to 19, gzip 1 to 9")
	f.StringVar(&flags.archiveSize, "archive-size", sizeText(config.DefaultArchiveSize), "cut archives when this much was packed, before compression")
	f.StringArrayVar(&flags.excludes, "exclude", nil, "leave out what matches this gitignore pattern (repeatable)")
	f.StringArrayVar(&flags.excludeFiles, "exclude-from", nil, "read exclude patterns from a file (repeatable)")
	f.BoolVar(&flags.oneFileSystem, "one-file-system", false, "do not cross into other filesystems")
	f.BoolVar(&flags.cacheDirs, "exclude-caches", false, "leave out directories that hold a CACHEDIR.TAG")
	f.BoolVar(&flags.incremental, "incremental", false, "store only what changed since the job's last set")
	f.BoolVar(&flags.differential, "differential", false, "store only what changed since the job's last full set")
	flags.encrypt.add(cmd)
	flags.database.addWhole(f)
	f.DurationVar(&flags.timeout, "timeout", 0, "interrupt the run after this long; the next call resumes it")
	f.StringArrayVar(&flags.pre, "pre", nil, "run this command before the backup, and none if it fails (repeatable)")
	f.StringArrayVar(&flags.post, "post", nil, "run this command after the backup, whatever became of it (repeatable)")
	flags.deliver.add(f)
	f.StringVar(&flags.deliver.stageSize, "stage-size", "", "the most that the stage may hold (default 80 % of what is free there)")
	f.BoolVar(&flags.deliver.direct, "direct", false, "write on the one volume itself, whatever the job says of a stage")
	a.backupJobFlag(cmd, &flags.job)
	return cmd
}

func (a *app) backup(ctx context.Context, args []string, flags backupFlags) error {
	if len(flags.to) == 0 {
		return usage("backup needs --to VOLUME")
	}
	compression, err := capstan.ParseCodec(flags.compress)
	if err != nil {
		return usage("--compress: %v", err)
	}
	level, err := codec.CheckLevel(compression, flags.level)
	if err != nil {
		return usage("--level: %v", err)
	}
	size, err := capstan.ParseBytes(flags.archiveSize)
	if err != nil || size < capstan.MiB {
		return usage("--archive-size %s: give at least 1MiB, such as 4GiB", flags.archiveSize)
	}
	if flags.timeout < 0 {
		return usage("--timeout %s: give a time above 0, such as 2h", flags.timeout)
	}
	mode, err := flags.mode()
	if err != nil {
		return err
	}
	excludes, err := readExcludes(flags)
	if err != nil {
		return err
	}
	recipients, err := flags.encrypt.recipients()
	if err != nil {
		return err
	}
	dumps := daemon.AnyDatabase(args)
	if !dumps && flags.database.given() {
		return usage("%s is for databases, and none is among the sources", flags.database.example())
	}
	flags.deliver.spools = dumps
	plan, err := flags.deliver.plan(len(flags.to))
	if err != nil {
		return err
	}
	a.stallFail, a.hooked = plan.patience.Fail, len(flags.hooks.post) > 0
	ctx, cancel := withTimeout(ctx, "backup", flags.timeout)
	defer cancel()
	return a.with(ctx, func(ctx context.Context, d *daemon.Daemon) error {
		if recipients != nil && recipients.Weak() != "" {
			a.printer.Warn("%s", recipients.Weak())
		}
		return a.runPlan(ctx, d, job.Plan{
			Name: flags.job, Pre: flags.hooks.pre, Post: flags.hooks.post, Forget: flags.forget, AdHoc: daemon.AdHocJob,
			Backup: pipeline.Backup{
				Codec: compression, Level: level, ArchiveSize: size, Mode: mode, Limit: plan.limit, Patience: plan.patience,
				Recipients: recipients,
			},
			Open: func(ctx context.Context) (job.Opened, error) {
				return openPlan(ctx, d, flags.job, args, flags.to, plan, daemon.SourceOptions{
					Excludes: excludes, OneFileSystem: flags.oneFileSystem, IgnoreCacheDirs: flags.cacheDirs,
					Databases: flags.database.source(d, &plan),
				})
			},
		})
	})
}

// withTimeout interrupts a run after a time; 0: never.
func withTimeout(ctx context.Context, op string, after time.Duration) (context.Context, context.CancelFunc) {
	if after == 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, after, &capstan.Error{
		Class: capstan.ErrInterrupted, Op: op, Err: fmt.Errorf("--timeout %s is over", after),
		Safe: "sealed archives are kept", Next: "the next call resumes",
	})
}

// openPlan opens what a backup works on. The sources come first: a wrong one must
// not leave a new volume behind.
func openPlan(ctx context.Context, d *daemon.Daemon, name string, sources, to []string, plan delivery, options daemon.SourceOptions) (opened job.Opened, err error) {
	var written []string
	for _, spec := range to {
		location, err := daemon.VolumePath(spec)
		if err != nil {
			return opened, err
		}
		written = append(written, location)
	}
	if plan.staged && plan.stage != "" {
		dir, err := daemon.VolumePath(plan.stage)
		if err != nil {
			return opened, err
		}
		written = append(written, dir)
	}
	opening := d.Tracker.Stage(job.OpenStage)
	opening.Object(daemon.AllShown(sources))
	if opened.Sources, err = d.Sources(sources, written, options); err != nil {
		return opened, err
	}
	key := capstan.JobKey(name)
	if name == "" {
		key = daemon.AdHocJob(opened.Sources, volumesAt(written[:len(to)]))
	}
	if plan.stage, err = d.ResumeStage(ctx, key, plan.staged, plan.stage); err != nil {
		return opened, err
	}
	opening.Object("the stage " + plan.stage)
	if plan.staged { // before the volumes: a full or foreign stage leaves none behind
		if opened.Stage, err = d.Stage(ctx, plan.stage, plan.size); err != nil {
			return opened, err
		}
	}
	opening.Object(strings.Join(to, ", "))
	opened.Volumes, err = d.Volumes(ctx, to)
	return opened, err
}

// volumesAt are volumes of which no more is known than where they are.
func volumesAt(locations []string) []copier.Volume {
	volumes := make([]copier.Volume, len(locations))
	for i, location := range locations {
		volumes[i].Info.Location = location
	}
	return volumes
}

func (f *backupFlags) mode() (pipeline.Mode, error) {
	switch {
	case f.incremental && f.differential:
		return "", usage("give --incremental or --differential, not both")
	case f.incremental:
		return pipeline.Incremental, nil
	case f.differential:
		return pipeline.Differential, nil
	}
	return pipeline.Full, nil
}

// maxPattern bounds a line of a file of patterns, in bytes.
const maxPattern = 64 << 10

// readExcludes joins the patterns of --exclude and of the files of --exclude-from.
func readExcludes(flags backupFlags) ([]string, error) {
	patterns := slices.Clone(flags.excludes)
	for _, path := range flags.excludeFiles {
		file, err := os.Open(path)
		if err != nil {
			return nil, usage("--exclude-from: %v", err)
		}
		more, err := readPatterns(file)
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, usage("--exclude-from %s: %w", path, err)
		}
		patterns = append(patterns, more...)
	}
	return patterns, nil
}

// readPatterns reads one pattern a line, without comments and blank lines, and
// without the mark that some editors put at the begin of a file.
func readPatterns(file io.Reader) ([]string, error) {
	var patterns []string
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxPattern+len("\r\n"))
	n := 0
	for lines.Scan() {
		n++
		line := lines.Text()
		if n == 1 {
			line = strings.TrimPrefix(line, "\uFEFF")
		}
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, line)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d is longer than 64 KiB", n+1)
	}
	return patterns, lines.Err()
}
