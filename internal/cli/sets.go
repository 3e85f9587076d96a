package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/daemon"
	"capstan/internal/output"
)

// setLine is one set in --json output, as the command contract promises it.
type setLine struct {
	Set      capstan.SetID     `json:"set"`
	Job      capstan.JobKey    `json:"job"`
	Status   capstan.RunStatus `json:"status"`
	Started  time.Time         `json:"started"`
	Entries  int64             `json:"entries"`
	BytesIn  capstan.Bytes     `json:"bytes_in"`
	BytesOut capstan.Bytes     `json:"bytes_out"`
	Copies   int               `json:"copies"`
	// The set that it builds on, or whose tree it holds by itself.
	Base         capstan.SetID `json:"base,omitempty"`
	Consolidates capstan.SetID `json:"consolidates,omitempty"`
	// Of few sets: somebody keeps it; it was let go, and is about to be removed.
	Pinned    bool `json:"pinned,omitempty"`
	Forgotten bool `json:"forgotten,omitempty"`
	// Of sets with dumps of databases: the last drills, and when all of the set was last
	// proven restorable, zero if it never was.
	Drills      []drillDetail `json:"drills,omitempty"`
	LastProven  time.Time     `json:"last_proven,omitzero"`
	NeverProven bool          `json:"never_proven,omitempty"`
}

func (a *app) setsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "sets", Short: "List the sets in the catalog, oldest first",
		Example: "  capstan sets\n  capstan sets --json | jq -r 'select(.status != \"complete\") | .set'",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), a.sets)
		},
	}
	a.jobFlag(cmd)
	return cmd
}

func (a *app) sets(ctx context.Context, d *daemon.Daemon) error {
	if err := a.knownJob(ctx, d); err != nil {
		return err
	}
	sets, err := d.Catalog.Sets(ctx, a.setFilter())
	if err != nil {
		return err
	}
	pinned, err := pinsOf(ctx, d)
	if err != nil {
		return err
	}
	drills, err := drillsOf(ctx, d)
	if err != nil {
		return err
	}
	slices.Reverse(sets) // the newest stands where a terminal is looked at
	rows := make([][]string, 0, len(sets))
	for _, set := range sets {
		copies, err := d.Catalog.Copies(ctx, set.ID)
		if err != nil {
			return err
		}
		if a.flags.json {
			line := setLine{
				Set: set.ID, Job: set.Job, Status: set.Status, Started: set.Started, Entries: set.Counts.Entries,
				BytesIn: set.Counts.BytesIn, BytesOut: set.Counts.BytesOut, Copies: there(copies),
				Base: set.Base, Consolidates: set.Consolidates,
				Pinned: pinned[set.ID].Set != "", Forgotten: set.Forgotten, Drills: drills[set.ID],
			}
			line.LastProven, line.NeverProven = lastProven(&set.Set, drills[set.ID])
			if err := a.object(line); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []string{
			string(set.ID), statusText(set, pinned[set.ID].Set != "") + drillStatus(&set.Set, drills[set.ID]), set.Started.Local().Format(timeLayout),
			output.Count(set.Counts.Entries), set.Counts.BytesIn.String(), set.Counts.BytesOut.String(), string(set.Job),
		})
	}
	if a.flags.json {
		return nil
	}
	switch {
	case len(rows) > 0:
	case a.flags.job != "":
		a.say("no sets of job %s yet", a.flags.job)
	default:
		a.say("no sets yet; make one: capstan backup DIR --to VOLUME")
	}
	return a.table([]string{"SET", "STATUS", "STARTED", "ENTRIES", "SIZE", "STORED", "JOB"}, rows)
}

// statusText is the status of a set for people.
func statusText(set catalog.SetInfo, pinned bool) string {
	switch {
	case set.Forgotten:
		return "forgotten"
	case pinned:
		return string(set.Status) + ", pinned"
	}
	return string(set.Status)
}

// setDetail is what show prints with --json.
type setDetail struct {
	setLine
	Finished time.Time     `json:"finished"`
	Host     string        `json:"host"`
	Codec    capstan.Codec `json:"codec"`
	// Recipients are those to whom the set is encrypted; none: it is not.
	Recipients []string        `json:"recipients,omitempty"`
	Sources    []string        `json:"sources"`
	Counts     capstan.Counts  `json:"counts"`
	Archives   []archiveDetail `json:"archives"`
	Named      []outcomeDetail `json:"named"`
	Runs       []runDetail     `json:"runs"`
	Pin        *pinDetail      `json:"pin,omitempty"`
}

type pinDetail struct {
	Who string    `json:"who"`
	Why string    `json:"why,omitempty"`
	At  time.Time `json:"at"`
}

type archiveDetail struct {
	Name    string       `json:"name"`
	Size    int64        `json:"size"`
	Entries int64        `json:"entries"`
	SHA256  string       `json:"sha256"`
	Copies  []copyDetail `json:"copies"`
}

type copyDetail struct {
	Volume   capstan.VolumeID  `json:"volume"`
	Location string            `json:"location"`
	State    capstan.CopyState `json:"state"`
	Verified time.Time         `json:"verified,omitzero"`
	Problem  string            `json:"problem,omitempty"`
}

type outcomeDetail struct {
	Path    string `json:"path"`
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"`
}

type runDetail struct {
	Run     capstan.RunID     `json:"run"`
	Kind    string            `json:"kind"`
	Status  capstan.RunStatus `json:"status"`
	Started time.Time         `json:"started"`
}

func (a *app) showCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show SET", Short: "Show one set: sources, archives and copies, what could not be stored",
		Example:           "  capstan show latest\n  capstan show 2026-11_000001 --json",
		Args:              usageArgs(cobra.ExactArgs(1)),
		ValidArgsFunction: a.completeSets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, d *daemon.Daemon) error {
				set, err := a.set(ctx, d, args[0])
				if err != nil {
					return err
				}
				return a.show(ctx, d, set)
			})
		},
	}
	a.jobFlag(cmd)
	return cmd
}

// maxNamed bounds how many failed, changed or excluded entries show lists.
const maxNamed = 1000

func (a *app) show(ctx context.Context, d *daemon.Daemon, set capstan.Set) error {
	detail := setDetail{
		setLine: setLine{
			Set: set.ID, Job: set.Job, Status: set.Status, Started: set.Started, Entries: set.Counts.Entries,
			BytesIn: set.Counts.BytesIn, BytesOut: set.Counts.BytesOut, Base: set.Base, Consolidates: set.Consolidates,
		},
		Finished: set.Finished, Host: set.Host, Codec: set.Codec, Recipients: set.Recipients, Sources: set.Sources, Counts: set.Counts,
	}
	pins, err := pinsOf(ctx, d)
	if err != nil {
		return err
	}
	if pin, pinned := pins[set.ID]; pinned {
		detail.Pinned, detail.Pin = true, &pinDetail{pin.Who, pin.Why, pin.At}
	}
	drills, err := drillsOf(ctx, d)
	if err != nil {
		return err
	}
	detail.Drills = drills[set.ID]
	detail.LastProven, detail.NeverProven = lastProven(&set, detail.Drills)
	archives, err := d.Catalog.Archives(ctx, set.ID)
	if err != nil {
		return err
	}
	copies, err := d.Catalog.Copies(ctx, set.ID)
	if err != nil {
		return err
	}
	detail.Copies = there(copies)
	locations, err := locationsOf(ctx, d)
	if err != nil {
		return err
	}
	for _, archive := range archives {
		line := archiveDetail{Name: archive.Name, Size: archive.Size, Entries: archive.Entries, SHA256: fmt.Sprintf("%x", archive.Hash)}
		for _, c := range copies {
			if c.Number == archive.Number {
				line.Copies = append(line.Copies, copyDetail{c.Volume, locations[c.Volume], c.State, c.Verified, c.Problem})
			}
		}
		detail.Archives = append(detail.Archives, line)
	}
	for entry, err := range d.Catalog.Failures(ctx, set.ID) {
		if err != nil {
			return err
		}
		if len(detail.Named) == maxNamed {
			a.say("more than %d entries have a note; see them all with: capstan catalog export --entries", maxNamed)
			break
		}
		detail.Named = append(detail.Named, outcomeDetail{entry.Path, entry.Outcome.String(), entry.Reason})
	}
	runs, err := d.Catalog.Runs(ctx, catalog.RunFilter{Set: set.ID})
	if err != nil {
		return err
	}
	for _, run := range runs {
		detail.Runs = append(detail.Runs, runDetail{run.ID, run.Kind, run.Status, run.Started})
	}
	if a.flags.json {
		return a.object(detail)
	}
	return a.showText(detail)
}

// there counts the copies that are on their volumes, as far as is known.
func there(copies []capstan.Copy) (n int) {
	for _, c := range copies {
		if c.State == capstan.CopyWritten || c.State == capstan.CopyVerified {
			n++
		}
	}
	return n
}

func locationsOf(ctx context.Context, d *daemon.Daemon) (map[capstan.VolumeID]string, error) {
	volumes, err := d.Catalog.Volumes(ctx)
	if err != nil {
		return nil, err
	}
	locations := make(map[capstan.VolumeID]string, len(volumes))
	for _, volume := range volumes {
		locations[volume.ID] = volume.Location
	}
	return locations, nil
}
