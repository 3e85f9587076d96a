package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"capstan"
	"capstan/internal/envelope"
	"capstan/internal/output"
	"capstan/internal/pipeline"
	"capstan/internal/progress"
)

// table prints rows in columns under a heading; nothing if there are none.
func (a *app) table(head []string, rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	var text strings.Builder
	columns := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		_, _ = fmt.Fprintln(columns, strings.Join(cleaned(row), "\t")) // a Builder never fails
	}
	_ = columns.Flush()
	for line := range strings.Lines(text.String()) {
		if err := a.line(strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// cleaned are the cells of a row, harmless for columns: a name may hold line ends and tabs.
func cleaned(row []string) []string {
	clean := make([]string, len(row))
	for i, cell := range row {
		clean[i] = output.Clean(cell)
	}
	return clean
}

// plural is a number with its noun: "1 set", "2 sets".
func plural(n int64, noun string) string {
	switch stem, ends := strings.CutSuffix(noun, "y"); {
	case n == 1:
	case ends:
		noun = stem + "ies"
	default:
		noun += "s"
	}
	return output.Count(n) + " " + noun
}

// pluralIs is plural with its verb: "1 set is", "2 sets are".
func pluralIs(n int64, noun string) string {
	if n == 1 {
		return plural(n, noun) + " is"
	}
	return plural(n, noun) + " are"
}

func seconds(s float64) string { return output.Duration(time.Duration(s * float64(time.Second))) }

// backupSummary prints what became of a backup.
func (a *app) backupSummary(ctx context.Context, s pipeline.Summary) {
	var b strings.Builder
	fmt.Fprintf(&b, "set %s is %s: %s, %s in, %s out%s in %s, %s\n",
		s.Set, s.Status, plural(s.Entries, "entry"), s.BytesIn, s.BytesOut, ratio(s.BytesIn, s.BytesOut),
		plural(int64(s.Archives), "archive"), seconds(s.Seconds))
	for _, part := range []struct {
		n    int64
		what string
	}{
		{s.Changed, "changed while being read"},
		{s.Excluded, "left out by a rule"},
		{s.Vanished, "vanished before being read"},
		{s.Failed, "could not be read"},
	} {
		if part.n > 0 {
			fmt.Fprintf(&b, "  %s %s\n", output.Count(part.n), part.what)
		}
	}
	if s.Consolidates != "" {
		fmt.Fprintf(&b, "  it holds the tree of set %s, and builds on no other\n", s.Consolidates)
	}
	deliveries(&b, s)
	bottleneck(&b, s.Bound)
	a.kept = true
	a.finish(ctx, b.String(), s)
}

// deliverySummary prints what became of a retry.
func (a *app) deliverySummary(ctx context.Context, s pipeline.Summary) {
	var b strings.Builder
	fmt.Fprintf(&b, "run %d for set %s is %s in %s\n", s.Run, s.Set, s.Status, seconds(s.Seconds))
	deliveries(&b, s)
	bottleneck(&b, s.Bound)
	a.kept = true
	a.finish(ctx, b.String(), s)
}

// deliveries is a line for each volume that got the set through the stage.
func deliveries(b *strings.Builder, s pipeline.Summary) {
	for _, o := range s.Volumes {
		if o.State == capstan.CopyWritten {
			fmt.Fprintf(b, "  %s has it: %s, %s\n", o.Location, plural(int64(o.Archives), "archive"), o.Bytes)
		} else {
			fmt.Fprintf(b, "  %s lacks it: %s\n", o.Location, output.Clean(o.Problem))
		}
	}
}

func bottleneck(b *strings.Builder, bound string) {
	if bound != "" {
		fmt.Fprintf(b, "  %s\n", bound)
	}
}

// ratio is what of the content was stored; of a little it would only say how large
// the frame around it is.
func ratio(in, out capstan.Bytes) string {
	switch {
	case in == 0:
		return " (nothing to store)"
	case in <= capstan.MiB:
		return ""
	}
	return fmt.Sprintf(" (%.0f %%)", float64(out)/float64(in)*100)
}

func (a *app) restoreSummary(ctx context.Context, s pipeline.RestoreSummary) {
	var b strings.Builder
	fmt.Fprintf(&b, "restore of set %s into %s is %s: %s, %s in %s\n",
		s.Set, s.Target, s.Status, plural(s.Entries, "entry"), s.Bytes, seconds(s.Seconds))
	if s.Failed > 0 {
		fmt.Fprintf(&b, "  %s could not be restored\n", output.Count(s.Failed))
	}
	for _, note := range s.Notes {
		fmt.Fprintf(&b, "  %s\n", note)
	}
	bottleneck(&b, progress.Bottleneck(s.Stages, time.Duration(s.Seconds*float64(time.Second))))
	a.finish(ctx, b.String(), s)
}

func (a *app) verifySummary(ctx context.Context, s pipeline.VerifySummary) {
	var b strings.Builder
	if s.Copies == 0 { // nothing had changed
		fmt.Fprintf(&b, "%s without archives looked at", plural(int64(s.Sets), "set"))
	} else {
		fmt.Fprintf(&b, "%s of %s looked at, ", plural(int64(s.Copies), "copy"), plural(int64(s.Sets), "set"))
	}
	switch {
	case s.Copies == 0:
	case s.Read == 0 && s.Bytes == 0:
		b.WriteString("presence and sizes only")
	default:
		fmt.Fprintf(&b, "%s read back (%s, %s)", output.Count(int64(s.Read)), plural(s.Entries, "entry"), s.Bytes)
	}
	fmt.Fprintf(&b, " in %s: ", seconds(s.Seconds))
	switch {
	case s.Status == capstan.RunComplete:
		b.WriteString("all is well\n")
		if s.Locked > 0 {
			fmt.Fprintf(&b, "  %s encrypted: sums of files only, without looking at entries\n", pluralIs(int64(s.Locked), "set"))
		}
	case s.Failed > 0:
		fmt.Fprintf(&b, "%s\n", plural(s.Failed, "problem"))
	default:
		b.WriteString("not finished\n")
	}
	a.finish(ctx, b.String(), s)
}

func (a *app) planResult(p pipeline.RestorePlan) error {
	if a.flags.json {
		return a.object(p)
	}
	rows := make([][]string, 0, len(p.Archives))
	for _, archive := range p.Archives {
		rows = append(rows, []string{archive.Name, archive.Location, output.Count(archive.Entries), archive.Bytes.String()})
	}
	if err := a.table([]string{"ARCHIVE", "VOLUME", "ENTRIES", "CONTENT"}, rows); err != nil {
		return err
	}
	return a.line(fmt.Sprintf("%s, %s, into %s", plural(p.Entries, "entry"), p.Bytes, p.Target))
}

// showText prints a set for people.
func (a *app) showText(d setDetail) error {
	var b strings.Builder
	fmt.Fprintf(&b, "set       %s\nstatus    %s\njob       %s\nhost      %s\n", d.Set, d.Status, d.Job, d.Host)
	for _, source := range d.Sources {
		fmt.Fprintf(&b, "source    %s\n", output.Clean(source))
	}
	if d.Base != "" {
		fmt.Fprintf(&b, "builds on %s\n", d.Base)
	}
	if d.Consolidates != "" {
		fmt.Fprintf(&b, "tree of   %s, consolidated\n", d.Consolidates)
	}
	fmt.Fprintf(&b, "started   %s\n", d.Started.Local().Format(timeLayout))
	if !d.Finished.IsZero() {
		fmt.Fprintf(&b, "finished  %s\n", d.Finished.Local().Format(timeLayout))
	}
	c := d.Counts
	fmt.Fprintf(&b, "entries   %s: %s stored, %s changed, %s excluded, %s vanished, %s failed\n", output.Count(c.Entries),
		output.Count(c.Stored), output.Count(c.Changed), output.Count(c.Excluded), output.Count(c.Vanished), output.Count(c.Failed))
	fmt.Fprintf(&b, "size      %s in, %s out, %s\n", c.BytesIn, c.BytesOut, d.Codec)
	if len(d.Recipients) > 0 {
		fmt.Fprintf(&b, "encrypted %s\n", envelope.Describe(d.Recipients))
	}
	if d.Pin != nil {
		fmt.Fprintf(&b, "pinned    by %s, %s", output.Clean(d.Pin.Who), d.Pin.At.Local().Format(timeLayout))
		if d.Pin.Why != "" {
			fmt.Fprintf(&b, ": %s", output.Clean(d.Pin.Why))
		}
		b.WriteByte('\n')
	}
	for _, drill := range d.Drills {
		fmt.Fprintf(&b, "drill     %s: %s\n", output.Clean(drill.Dump), drill)
	}
	for _, run := range d.Runs {
		fmt.Fprintf(&b, "run       %d %s %s, %s\n", run.Run, run.Kind, run.Status, run.Started.Local().Format(timeLayout))
	}
	for _, archive := range d.Archives {
		fmt.Fprintf(&b, "archive   %s  %s, %s\n", archive.Name, capstan.Bytes(archive.Size), plural(archive.Entries, "entry"))
		for _, c := range archive.Copies {
			fmt.Fprintf(&b, "          %s on %s", c.State, output.Clean(c.Location))
			if !c.Verified.IsZero() {
				fmt.Fprintf(&b, ", read back %s", c.Verified.Local().Format(timeLayout))
			}
			if c.Problem != "" {
				fmt.Fprintf(&b, ": %s", output.Clean(c.Problem))
			}
			b.WriteByte('\n')
		}
	}
	for line := range strings.Lines(b.String()) {
		if err := a.line(strings.TrimSuffix(line, "\n")); err != nil {
			return err
		}
	}
	for _, named := range d.Named {
		if err := a.line(output.Clean(fmt.Sprintf("%-9s %s: %s", named.Outcome, named.Path, named.Reason))); err != nil {
			return err
		}
	}
	return nil
}
