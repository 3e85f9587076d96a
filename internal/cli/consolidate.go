package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/codec"
	"capstan/internal/config"
	"capstan/internal/copier"
	"capstan/internal/daemon"
	"capstan/internal/envelope"
	"capstan/internal/job"
	"capstan/internal/pipeline"
)

// consolidateFlags are the flags of consolidate as typed.
type consolidateFlags struct {
	to          []string
	compress    string
	level       int
	archiveSize string
	timeout     time.Duration
	dryRun      bool
	encrypt     encryptFlags
	keys        keyFlags
	deliver     deliverFlags
}

func (a *app) consolidateCommand() *cobra.Command {
	flags := consolidateFlags{encrypt: encryptFlags{flag: "new-passphrase-file"}}
	cmd := &cobra.Command{
		Use: "consolidate SET", Short: "Make a full set of an incremental one and those that it builds on",
		Long: `Make a set that holds the tree of SET by itself, out of the archives of SET and of
those that it builds on. Sources are not read, and the other sets stay as they are;
once the new set is there, forget can let them go. Every content is compared with its
hash: what is damaged is named and missing, and the new set is partial then (exit 3).

The new set belongs to the same job and stands in time right behind SET: the next
incremental set builds on it when SET is the job's latest. It goes onto SET's volumes,
or those of --to, and is encrypted to the same keys, or those of --encrypt-to. It is
compressed as SET is, or as --compress says; what else the configuration says of the
job counts here too.

The job cannot run meanwhile (exit 11). A call that was interrupted is resumed by the
same call. A SET that is full, or that was consolidated onto these volumes already, is
left alone.`,
		Example: `  capstan consolidate latest --job files
  capstan consolidate 2026-11_000017 --dry-run
  capstan consolidate latest --job mail --identity ~/backup.key --json
  capstan consolidate 2026-11_000017 --to /mnt/offsite --compress zstd --level 9`,
		Args:              usageArgs(cobra.ExactArgs(1)),
		ValidArgsFunction: a.completeSets,
		RunE: func(cmd *cobra.Command, args []string) error {
			if flags.timeout < 0 {
				return usage("--timeout %s: give a time above 0, such as 2h", flags.timeout)
			}
			a.stallFail = flags.deliver.stallFail
			return a.withKeys(cmd.Context(), &flags.keys, func(ctx context.Context, d *daemon.Daemon) error {
				set, err := a.set(ctx, d, args[0])
				if err != nil {
					return err
				}
				flags.complete(a.settings, set, cmd.Flags().Changed)
				ctx, cancel := withTimeout(ctx, "consolidate", flags.timeout)
				defer cancel()
				return a.consolidate(ctx, d, set, flags)
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&flags.to, "to", nil, "volume to write to: a directory (repeatable; default: the volumes of SET)")
	f.StringVar(&flags.compress, "compress", "", "zstd, gzip or none (default: as SET is)")
	f.IntVar(&flags.level, "level", config.DefaultLevel, "compression level: zstd 1 to 19, gzip 1 to 9")
	f.StringVar(&flags.archiveSize, "archive-size", sizeText(config.DefaultArchiveSize), "cut archives when this much was packed, before compression")
	f.DurationVar(&flags.timeout, "timeout", 0, "interrupt the run after this long; the same call resumes it")
	f.BoolVar(&flags.dryRun, "dry-run", false, "say what would be read and written, and do nothing")
	flags.encrypt.add(cmd)
	flags.keys.add(cmd)
	flags.deliver.add(f)
	f.StringVar(&flags.deliver.stageSize, "stage-size", "", "the most that the stage may hold (default 80 % of what is free there)")
	f.BoolVar(&flags.deliver.direct, "direct", false, "write on the one volume itself, whatever the job says of a stage")
	a.jobFlag(cmd)
	return cmd
}

// complete takes what the set, and the configuration of its job, say for every flag that
// was not given.
func (f *consolidateFlags) complete(settings *config.Settings, set capstan.Set, given func(flag string) bool) {
	if !given("compress") {
		f.compress = string(set.Codec)
	}
	i := slices.IndexFunc(settings.File.Jobs, func(j config.Job) bool { return j.Name == string(set.Job) })
	if i < 0 {
		return
	}
	from := settings.File.Jobs[i]
	if !given("level") && from.Compress == set.Codec && !given("compress") {
		f.level = from.Level
	}
	for flag, take := range map[string]func(){
		"archive-size": func() { f.archiveSize = sizeText(from.ArchiveSize) },
		"stage":        func() { f.deliver.completeStage(from, given) },
		"limit-rate":   func() { f.deliver.limitRate = sizeText(from.LimitRate) },
		"attempts":     func() { f.deliver.attempts = from.Attempts },
		"stall-warn":   func() { f.deliver.stallWarn = from.StallWarn },
		"stall-fail":   func() { f.deliver.stallFail = from.StallFail },
	} {
		if !given(flag) {
			take()
		}
	}
	if !given("stage-size") && (f.deliver.stage != "" || len(from.To) > 1) {
		f.deliver.stageSize = sizeText(from.StageSize)
	}
}

// consolidate checks the flags, and runs or tells the plan.
func (a *app) consolidate(ctx context.Context, d *daemon.Daemon, set capstan.Set, flags consolidateFlags) error {
	if set.Base == "" && (set.Status == capstan.RunComplete || set.Status == capstan.RunPartial) {
		return a.nothingToDo(ctx, set, fmt.Sprintf("set %s builds on no other: there is nothing to consolidate", set.ID))
	}
	if err := a.ownVolumes(ctx, d, set.ID, &flags); err != nil {
		return err
	}
	backup, plan, err := flags.backup(set.ID)
	if err != nil {
		return err
	}
	by, err := a.consolidatedTo(ctx, d, set, flags.to)
	if err != nil {
		return err
	}
	if by.ID != "" {
		return a.nothingToDo(ctx, by, fmt.Sprintf("set %s holds the tree of set %s by itself already", by.ID, set.ID))
	}
	if flags.dryRun {
		return a.consolidatePlan(ctx, d, set, backup, flags.to)
	}
	if backup.Recipients != nil && backup.Recipients.Weak() != "" {
		a.printer.Warn("%s", backup.Recipients.Weak())
	}
	return a.runPlan(ctx, d, job.Plan{
		AdHoc:  func([]capstan.Source, []copier.Volume) capstan.JobKey { return set.Job },
		Backup: backup,
		Open: func(ctx context.Context) (opened job.Opened, err error) {
			if plan.stage, err = d.ResumeStage(ctx, set.Job, plan.staged, plan.stage); err != nil {
				return opened, err
			}
			if plan.staged { // before the volumes: a full or foreign stage leaves none behind
				if opened.Stage, err = d.Stage(ctx, plan.stage, plan.size); err != nil {
					return opened, err
				}
			}
			opened.Volumes, err = d.Volumes(ctx, flags.to)
			return opened, err
		},
	})
}

// backup is what the flags amount to.
func (f *consolidateFlags) backup(set capstan.SetID) (b pipeline.Backup, plan delivery, err error) {
	compression, err := capstan.ParseCodec(f.compress)
	if err != nil {
		return b, plan, usage("--compress: %v", err)
	}
	level, err := codec.CheckLevel(compression, f.level)
	if err != nil {
		return b, plan, usage("--level: %v", err)
	}
	size, err := capstan.ParseBytes(f.archiveSize)
	if err != nil || size < capstan.MiB {
		return b, plan, usage("--archive-size %s: give at least 1MiB, such as 4GiB", f.archiveSize)
	}
	recipients, err := f.encrypt.recipients()
	if err != nil {
		return b, plan, err
	}
	if plan, err = f.deliver.plan(len(f.to)); err != nil {
		return b, plan, err
	}
	return pipeline.Backup{
		Consolidates: set, Codec: compression, Level: level, ArchiveSize: size, Limit: plan.limit, Patience: plan.patience,
		Recipients: recipients, Passphrase: passphraseIn(config.Passphrase(f.keys.passphrase)),
	}, plan, nil
}

// ownVolumes names the volumes of the set where none were given, and opens pools.
func (a *app) ownVolumes(ctx context.Context, d *daemon.Daemon, set capstan.SetID, flags *consolidateFlags) (err error) {
	if flags.to, err = openPools(a.settings.File, flags.to); err != nil || len(flags.to) > 0 {
		return err
	}
	demands, err := d.Catalog.Demands(ctx, set)
	if err != nil {
		return err
	}
	for _, demand := range demands {
		if demand.State == capstan.CopyForgotten {
			continue
		}
		info, err := d.Catalog.Volume(ctx, demand.Volume)
		if err != nil {
			return err
		}
		flags.to = append(flags.to, info.Location)
	}
	if len(flags.to) == 0 {
		return usage("no volume shall hold set %s: say where to, with --to VOLUME", set)
	}
	return nil
}

// consolidatedTo finds the set that holds the tree of another one on the volumes that
// were named; an empty one for none.
func (a *app) consolidatedTo(ctx context.Context, d *daemon.Daemon, set capstan.Set, to []string) (capstan.Set, error) {
	var volumes []capstan.VolumeID
	for _, spec := range to {
		path, err := daemon.VolumePath(spec)
		if err != nil {
			return capstan.Set{}, err
		}
		info, known, err := d.Catalog.VolumeByLocation(ctx, path)
		if err != nil || !known {
			return capstan.Set{}, err
		}
		volumes = append(volumes, info.ID)
	}
	return d.Engine.Consolidated(ctx, set, volumes)
}

// nothingToDo tells of the set that is what was asked for.
func (a *app) nothingToDo(ctx context.Context, set capstan.Set, text string) error {
	a.finish(ctx, text+"\n", struct {
		Type         string            `json:"type"`
		Set          capstan.SetID     `json:"set"`
		Status       capstan.RunStatus `json:"status"`
		Consolidates capstan.SetID     `json:"consolidates,omitempty"`
		Done         bool              `json:"done"`
		Why          string            `json:"why"`
	}{"summary", set.ID, set.Status, set.Consolidates, false, text})
	return nil
}

// consolidationPlan is what --dry-run tells with --json.
type consolidationPlan struct {
	Set        capstan.SetID             `json:"set"`
	Chain      []capstan.SetID           `json:"chain"` // oldest first
	Volumes    []string                  `json:"volumes"`
	Codec      capstan.Codec             `json:"codec"`
	Recipients []string                  `json:"recipients,omitempty"`
	Entries    int64                     `json:"entries"`
	Bytes      capstan.Bytes             `json:"bytes"`
	Archives   []pipeline.PlannedArchive `json:"archives"`
}

func (a *app) consolidatePlan(ctx context.Context, d *daemon.Daemon, set capstan.Set, backup pipeline.Backup, to []string) error {
	view, err := d.Engine.View(ctx, set.ID)
	if err != nil {
		return err
	}
	reads, err := d.Engine.Plan(ctx, pipeline.Restore{Set: set.ID})
	if err != nil {
		return err
	}
	plan := consolidationPlan{
		Set: set.ID, Volumes: to, Codec: backup.Codec, Recipients: set.Recipients,
		Entries: reads.Entries, Bytes: reads.Bytes, Archives: reads.Archives,
	}
	if backup.Recipients != nil {
		plan.Recipients = backup.Recipients.Strings()
	}
	var chain []string
	for _, link := range view.Chain {
		plan.Chain, chain = append(plan.Chain, link.ID), append(chain, string(link.ID))
	}
	if a.flags.json {
		return a.object(plan)
	}
	rows := make([][]string, 0, len(plan.Archives))
	for _, archive := range plan.Archives {
		rows = append(rows, []string{archive.Name, archive.Location, plural(archive.Entries, "entry"), archive.Bytes.String()})
	}
	if err := a.table([]string{"READ", "FROM", "ENTRIES", "CONTENT"}, rows); err != nil {
		return err
	}
	encrypted := "not encrypted"
	if len(plan.Recipients) > 0 {
		encrypted = "encrypted to " + envelope.Describe(plan.Recipients)
	}
	return a.line(fmt.Sprintf("sets %s become one: %s, %s, %s, %s, on %s; nothing was changed",
		strings.Join(chain, ", "), plural(plan.Entries, "entry"), plan.Bytes, plan.Codec, encrypted, strings.Join(to, ", ")))
}
