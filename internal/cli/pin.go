package cli

import (
	"context"
	"os"
	"os/user"
	"strconv"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/daemon"
)

func (a *app) pinCommand() *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use: "pin SET", Short: "Keep a set, whatever retention says",
		Long: `Keep a set, and what it builds on, until it is unpinned: no policy lets it go, and
neither does capstan forget SET. Who pinned it, when and why is in capstan show. Pins
are in the catalog alone: one that is rebuilt from volumes has none.`,
		Example:           "  capstan pin latest --why 'before the move to the new server'\n  capstan pin 2026-11_000001",
		Args:              usageArgs(cobra.ExactArgs(1)),
		ValidArgsFunction: a.completeSets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.pinning(cmd.Context(), args[0], func(ctx context.Context, d *daemon.Daemon, set capstan.SetID) error {
				if err := d.Catalog.Pin(ctx, set, caller(), why); err != nil {
					return err
				}
				a.say("set %s is pinned", set)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&why, "why", "", "the reason, for whoever wonders later")
	a.jobFlag(cmd)
	return cmd
}

func (a *app) unpinCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "unpin SET", Short: "Leave a pinned set to retention again",
		Long:              "Take the pin off a set. Nothing is let go by that; the next capstan forget may.",
		Example:           "  capstan unpin 2026-11_000001",
		Args:              usageArgs(cobra.ExactArgs(1)),
		ValidArgsFunction: a.completeSets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.pinning(cmd.Context(), args[0], func(ctx context.Context, d *daemon.Daemon, set capstan.SetID) error {
				pinned, err := d.Catalog.Unpin(ctx, set, caller())
				switch {
				case err != nil:
					return err
				case pinned:
					a.say("set %s is not pinned any more", set)
				default:
					a.say("set %s was not pinned", set)
				}
				return nil
			})
		},
	}
	a.jobFlag(cmd)
	return cmd
}

// pinning finds the set, does the work, and tells with --json how the set stands.
func (a *app) pinning(ctx context.Context, name string, work func(context.Context, *daemon.Daemon, capstan.SetID) error) error {
	return a.with(ctx, func(ctx context.Context, d *daemon.Daemon) error {
		set, err := a.set(ctx, d, name)
		if err != nil {
			return err
		}
		if err := work(ctx, d, set.ID); err != nil || !a.flags.json {
			return err
		}
		pins, err := pinsOf(ctx, d)
		if err != nil {
			return err
		}
		pin, pinned := pins[set.ID]
		return a.object(struct {
			Set    capstan.SetID `json:"set"`
			Pinned bool          `json:"pinned"`
			Who    string        `json:"who,omitempty"`
			Why    string        `json:"why,omitempty"`
		}{set.ID, pinned, pin.Who, pin.Why})
	})
}

// pinsOf gives the pins by set.
func pinsOf(ctx context.Context, d *daemon.Daemon) (map[capstan.SetID]catalog.Pin, error) {
	list, err := d.Catalog.Pins(ctx)
	if err != nil {
		return nil, err
	}
	pins := make(map[capstan.SetID]catalog.Pin, len(list))
	for _, pin := range list {
		pins[pin.Set] = pin
	}
	return pins, nil
}

// caller is who runs the program, for records.
func caller() string {
	if who, err := user.Current(); err == nil && who.Username != "" {
		return who.Username
	}
	return "user " + strconv.Itoa(os.Getuid())
}
