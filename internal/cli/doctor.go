package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

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
sync latency), the memory limit, the limit of open files and the stock tools that a
restore without Capstan needs. Exits 3 if something found will make backups fail.`,
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
		return struct{}{}, examiner.Examine(ctx, finding)
	}); err != nil {
		return err
	}
	if bad > 0 {
		err = &capstan.Error{Class: capstan.ErrIncomplete, Op: "doctor", Err: fmt.Errorf("%d findings are bad", bad)}
	}
	return errors.Join(err, printErr)
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
