package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/config"
	"capstan/internal/daemon"
	"capstan/internal/doctor"
	"capstan/internal/pipeline"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Look at directories, filesystems, memory and tools, and say what to do",
		Long: `Look at the home and every known volume (filesystem, room, measured throughput and
sync latency), the memory limit, the limit of open files, the stock tools that a
restore without Capstan needs, and whether the newest dump of each job with databases
was proven restorable. Exits 3 if something found will make backups fail.`,
		Example: "  capstan doctor\n  capstan doctor --json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), a.doctor)
		},
	}
}

func (a *app) doctor(ctx context.Context, d *daemon.Daemon) error {
	volumes, err := d.Catalog.Volumes(ctx)
	if err != nil {
		return err
	}
	bad := 0
	var printErr error
	examiner := doctor.Doctor{
		Home: d.Home, Volumes: volumes, Sample: 64 * capstan.MiB,
		Open: func(ctx context.Context, info capstan.VolumeInfo) error {
			volume, err := d.Engine.Open(ctx, info)
			if err != nil {
				return err
			}
			return volume.Close()
		},
	}
	stage := d.Tracker.Stage("doctor")
	finding := func(f doctor.Finding) {
		stage.Moved(0, 1)
		if f.Level == doctor.Bad {
			bad++
		}
		if a.flags.json {
			printErr = errors.Join(printErr, a.object(f))
			return
		}
		printErr = errors.Join(printErr, a.line(fmt.Sprintf("%-8s %s: %s", f.Level, f.Check, f.Detail)))
		if f.Advice != "" {
			printErr = errors.Join(printErr, a.line("         "+f.Advice))
		}
	}
	patience := pipeline.Patience{Warn: config.DefaultStallWarn, Fail: config.DefaultStallFail}
	if _, err := pipeline.Attend(ctx, d.Engine, patience, func(ctx context.Context) (struct{}, error) {
		stage.Begin()
		defer stage.End()
		err := examiner.Examine(ctx, finding)
		if err == nil {
			err = unproven(ctx, d, func(set *capstan.Set, before capstan.SetID, at time.Time) { finding(unprovenFinding(set, before, at)) })
		}
		return struct{}{}, err
	}); err != nil {
		return err
	}
	if bad > 0 {
		err = &capstan.Error{Class: capstan.ErrIncomplete, Op: "doctor", Err: fmt.Errorf("%d findings are bad", bad)}
	}
	return errors.Join(err, printErr)
}

// unprovenFinding tells of a job whose newest dump was never proven to be restorable.
func unprovenFinding(set *capstan.Set, before capstan.SetID, at time.Time) doctor.Finding {
	detail := fmt.Sprintf("set %s, the newest of job %s, was never proven restorable; neither was any before it", set.ID, set.Job)
	if before != "" {
		detail = fmt.Sprintf("set %s, the newest of job %s, was never proven restorable; set %s last was, %s", set.ID, set.Job, before, at.Local().Format(timeLayout))
	}
	return doctor.Finding{Check: "drills", Level: doctor.Warning, Detail: detail, Advice: "capstan pg drill " + string(set.ID)}
}

// version is set by the linker; see the Makefile.
var version = ""

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Example: "  capstan version\n  capstan version --json",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.open(cmd.Context()); err != nil {
				return err
			}
			name := version
			if info, ok := debug.ReadBuildInfo(); ok && name == "" {
				name = info.Main.Version
			}
			if a.flags.json {
				if err := a.object(map[string]string{"version": name, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}); err != nil {
					return err
				}
			} else if err := a.line(fmt.Sprintf("capstan %s (%s, %s/%s)", name, runtime.Version(), runtime.GOOS, runtime.GOARCH)); err != nil {
				return err
			}
			return a.out.Flush()
		},
	}
}
