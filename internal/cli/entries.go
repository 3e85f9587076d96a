package cli

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/daemon"
	"capstan/internal/pipeline"
)

// entryLine is one entry in --json output. PathB64 stands beside Path when the
// name is no valid UTF-8; Path then shows it with replacement characters.
type entryLine struct {
	Set     capstan.SetID `json:"set"`
	Path    string        `json:"path"`
	PathB64 []byte        `json:"path_b64,omitempty"`
	Kind    string        `json:"kind"`
	Outcome string        `json:"outcome"`
	Mode    string        `json:"mode"`
	UID     uint32        `json:"uid"`
	GID     uint32        `json:"gid"`
	User    string        `json:"user,omitempty"`
	Group   string        `json:"group,omitempty"`
	Size    int64         `json:"size"`
	ModTime time.Time     `json:"mtime"`
	Link    string        `json:"link,omitempty"`
	SHA256  string        `json:"sha256,omitempty"`
	Reason  string        `json:"reason,omitempty"`
}

func newEntryLine(set capstan.SetID, e *capstan.Entry) entryLine {
	line := entryLine{
		Set: set, Path: strings.ToValidUTF8(e.Path, "\uFFFD"), Kind: e.Kind.String(), Outcome: e.Outcome.String(),
		Mode: fmt.Sprintf("%04o", e.Mode), UID: e.UID, GID: e.GID, User: e.User, Group: e.Group,
		Size: e.Size, ModTime: e.ModTime, Link: e.Link, Reason: e.Reason,
	}
	if !utf8.ValidString(e.Path) {
		line.PathB64 = []byte(e.Path)
	}
	if !e.Hash.IsZero() {
		line.SHA256 = fmt.Sprintf("%x", e.Hash)
	}
	return line
}

func (a *app) lsCommand() *cobra.Command {
	var recursive, long bool
	cmd := &cobra.Command{
		Use: "ls SET [PATH]", Short: "List the entries of a set",
		Long:              "List what a set holds directly within PATH, or with -r everything below it.",
		Example:           "  capstan ls latest\n  capstan ls latest data/etc -l\n  capstan ls latest -r --json",
		Args:              usageArgs(cobra.RangeArgs(1, 2)),
		ValidArgsFunction: a.completeSets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, d *daemon.Daemon) error {
				set, err := a.set(ctx, d, args[0])
				if err != nil {
					return err
				}
				path := ""
				if len(args) > 1 {
					path = strings.Trim(args[1], "/")
				}
				return a.ls(ctx, d, set.ID, path, recursive, long)
			})
		},
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "everything below PATH")
	cmd.Flags().BoolVarP(&long, "long", "l", false, "with mode, owner, size and time")
	a.jobFlag(cmd)
	return cmd
}

func (a *app) ls(ctx context.Context, d *daemon.Daemon, set capstan.SetID, path string, recursive, long bool) error {
	view, err := d.Engine.View(ctx, set)
	if err != nil {
		return err
	}
	entry, found := pipeline.Held{Entry: capstan.Entry{Kind: capstan.KindDir}}, true
	if path != "" {
		entry, found, err = view.Entry(ctx, path)
	}
	if err != nil {
		return err
	}
	if !found {
		return &capstan.Error{
			Class: capstan.ErrNotFound, Op: "ls", Object: path,
			Err: fmt.Errorf("set %s does not hold it", set), Next: fmt.Sprintf("see: capstan ls %s", set),
		}
	}
	if entry.Kind != capstan.KindDir {
		return a.entry(set, &entry.Entry, long)
	}
	for e, err := range listing(ctx, view, path, recursive) {
		if err != nil {
			return err
		}
		if err := a.entry(set, &e.Entry, long); err != nil {
			return err
		}
	}
	return nil
}

func listing(ctx context.Context, view *pipeline.View, path string, recursive bool) iter.Seq2[pipeline.Held, error] {
	if recursive {
		return view.Walk(ctx, path)
	}
	return view.Children(ctx, path, "")
}

// entry prints one entry. Names are printed as they are, so that a script can
// use them; on a terminal, control characters are shown as escapes.
func (a *app) entry(set capstan.SetID, e *capstan.Entry, long bool) error {
	if a.flags.json {
		return a.object(newEntryLine(set, e))
	}
	name := e.Path
	if e.Kind == capstan.KindDir {
		name += "/"
	}
	if !e.Outcome.Held() {
		name += fmt.Sprintf("  (%s: %s)", e.Outcome, e.Reason)
	}
	if !long {
		return a.line(name)
	}
	switch e.Kind {
	case capstan.KindSymlink:
		name += " -> " + e.Link
	case capstan.KindHardlink:
		name += " = " + e.Link
	case capstan.KindFile, capstan.KindDir, capstan.KindCharDevice, capstan.KindBlkDevice, capstan.KindFifo, capstan.KindSocket:
	}
	owner, group := e.User, e.Group
	if owner == "" {
		owner = fmt.Sprint(e.UID)
	}
	if group == "" {
		group = fmt.Sprint(e.GID)
	}
	return a.line(fmt.Sprintf("%s %-8s %-8s %12d %s %s", modeText(e), owner, group, e.Size, e.ModTime.Local().Format(timeLayout), name))
}

// modeText is the ten letters that ls -l prints.
func modeText(e *capstan.Entry) string {
	kind := map[capstan.EntryKind]byte{
		capstan.KindDir: 'd', capstan.KindSymlink: 'l', capstan.KindCharDevice: 'c', capstan.KindBlkDevice: 'b',
		capstan.KindFifo: 'p', capstan.KindSocket: 's', capstan.KindHardlink: 'h',
	}[e.Kind]
	if kind == 0 {
		kind = '-'
	}
	text := []byte{kind}
	for i, letter := range []byte("rwxrwxrwx") {
		if e.Mode&(1<<(8-i)) == 0 {
			letter = '-'
		}
		text = append(text, letter)
	}
	for i, special := range []struct {
		bit        uint32
		set, unset byte
	}{{0o4000, 's', 'S'}, {0o2000, 's', 'S'}, {0o1000, 't', 'T'}} {
		if e.Mode&special.bit == 0 {
			continue
		}
		at := 3 + 3*i
		if text[at] == 'x' {
			text[at] = special.set
		} else {
			text[at] = special.unset
		}
	}
	return string(text)
}

func (a *app) findCommand() *cobra.Command {
	var in []string
	cmd := &cobra.Command{
		Use: "find GLOB", Short: "Find entries by name in all sets",
		Long: `Find entries whose name matches GLOB; a GLOB with a slash is matched against the
whole path, in which ** crosses directories.`,
		Example: "  capstan find 'report*.pdf'\n  capstan find 'data/**/nginx.conf' --set latest",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, d *daemon.Daemon) error {
				return a.find(ctx, d, args[0], in)
			})
		},
	}
	cmd.Flags().StringArrayVar(&in, "set", nil, "only in this set (repeatable)")
	a.jobFlag(cmd)
	return cmd
}

func (a *app) find(ctx context.Context, d *daemon.Daemon, glob string, in []string) error {
	query := catalog.FindQuery{Glob: glob}
	for _, name := range in {
		set, err := a.set(ctx, d, name)
		if err != nil {
			return err
		}
		query.Sets = append(query.Sets, set.ID)
	}
	for found, err := range d.Catalog.Find(ctx, query) {
		if err != nil {
			return err
		}
		if found.Entry.Outcome == capstan.OutcomeDeleted {
			continue
		}
		if a.flags.json {
			err = a.object(newEntryLine(found.Set, &found.Entry))
		} else {
			err = a.line(fmt.Sprintf("%s  %s", found.Set, found.Entry.Path))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *app) catCommand() *cobra.Command {
	var keys keyFlags
	var limits deliverFlags
	cmd := &cobra.Command{
		Use: "cat SET PATH", Short: "Write the content of one file of a set to stdout",
		Example:           "  capstan cat latest data/etc/hosts\n  capstan cat latest data/dump.sql | psql\n  capstan cat latest data/letter --identity key.txt",
		Args:              usageArgs(cobra.ExactArgs(2)),
		ValidArgsFunction: a.completeSets,
		RunE: func(cmd *cobra.Command, args []string) error {
			patience, err := a.patient(&limits)
			if err != nil {
				return err
			}
			return a.withKeys(cmd.Context(), &keys, func(ctx context.Context, d *daemon.Daemon) error {
				set, err := a.set(ctx, d, args[0])
				if err != nil {
					return err
				}
				_, err = pipeline.Attend(ctx, d.Engine, patience, func(ctx context.Context) (struct{}, error) {
					return struct{}{}, d.Engine.Cat(ctx, set.ID, strings.Trim(args[1], "/"), a.out)
				})
				return err
			})
		},
	}
	keys.add(cmd)
	limits.addPatience(cmd.Flags())
	a.jobFlag(cmd)
	return cmd
}

func (a *app) diffCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff SET SET", Short: "List what differs from one set to another",
		Long:              "List what differs: + only in the second, - only in the first, M content, U attributes only.",
		Example:           "  capstan diff 2026-11_000001 latest",
		Args:              usageArgs(cobra.ExactArgs(2)),
		ValidArgsFunction: a.completeSets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, d *daemon.Daemon) error {
				return a.diff(ctx, d, args)
			})
		},
	}
	a.jobFlag(cmd)
	return cmd
}

func (a *app) diff(ctx context.Context, d *daemon.Daemon, names []string) error {
	first, err := a.set(ctx, d, names[0])
	if err != nil {
		return err
	}
	second, err := a.set(ctx, d, names[1])
	if err != nil {
		return err
	}
	for change, err := range d.Engine.Diff(ctx, first.ID, second.ID) {
		if err != nil {
			return err
		}
		if a.flags.json {
			err = a.object(struct {
				Change string `json:"change"`
				entryLine
			}{string(change.Sign), newEntryLine(second.ID, &change.Entry)})
		} else {
			err = a.line(fmt.Sprintf("%c %s", change.Sign, change.Entry.Path))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
