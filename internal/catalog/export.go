package catalog

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"capstan"
)

// ExportOptions say what Export writes.
type ExportOptions struct {
	Entries bool // every entry of every set too
}

// Export writes the catalog to w, one JSON object a line, the field "type" first:
// catalog, job, volume, run, sums, audit, pin, set, archive, copy, and, where asked
// for, entry. It is lossless but for entries' times beyond the year 9999, which
// JSON's readers may refuse. It blocks as w does and holds no lock meanwhile, so
// lines of a catalog that is being written may be of different moments.
func (c *Catalog) Export(ctx context.Context, w io.Writer, opts ExportOptions) error {
	out := bufio.NewWriterSize(w, 64<<10)
	x := &exporter{c: c, out: json.NewEncoder(out)}
	x.out.SetEscapeHTML(false)
	err := x.all(ctx, opts)
	if err == nil {
		err = out.Flush()
	}
	return c.failed(ctx, "export", err)
}

type exporter struct {
	c   *Catalog
	out *json.Encoder
}

type exportedJob struct {
	Type    string         `json:"type"`
	Job     capstan.JobKey `json:"job"`
	Name    string         `json:"name"`
	Sources []rawString    `json:"sources"`
	Volumes []rawString    `json:"volumes"`
}

type exportedVolume struct {
	Type     string           `json:"type"`
	ID       capstan.VolumeID `json:"id"`
	Kind     string           `json:"kind"`
	Location rawString        `json:"location"`
	Created  time.Time        `json:"created"`
}

type exportedRun struct {
	Type     string            `json:"type"`
	Run      capstan.RunID     `json:"run"`
	Set      capstan.SetID     `json:"set,omitempty"`
	Job      capstan.JobKey    `json:"job"`
	Kind     string            `json:"kind"`
	PID      int               `json:"pid"`
	Status   capstan.RunStatus `json:"status"`
	Started  time.Time         `json:"started"`
	Finished time.Time         `json:"finished,omitzero"`
	Summary  json.RawMessage   `json:"summary,omitempty"`
}

type exportedSet struct {
	Type         string            `json:"type"`
	Set          capstan.SetID     `json:"set"`
	Job          capstan.JobKey    `json:"job"`
	Base         capstan.SetID     `json:"base,omitempty"`
	Consolidates capstan.SetID     `json:"consolidates,omitempty"`
	Status       capstan.RunStatus `json:"status"`
	Started      time.Time         `json:"started"`
	Finished     time.Time         `json:"finished,omitzero"`
	Codec        capstan.Codec     `json:"codec"`
	Encrypted    []string          `json:"recipients,omitempty"`
	Host         string            `json:"host"`
	Sources      []rawString       `json:"sources"`
	Forgotten    bool              `json:"forgotten,omitempty"`
	capstan.Counts
}

type exportedArchive struct {
	Type    string                `json:"type"`
	Set     capstan.SetID         `json:"set"`
	Archive capstan.ArchiveNumber `json:"archive"`
	Name    string                `json:"name"`
	Codec   capstan.Codec         `json:"codec"`
	Entries int64                 `json:"entries"`
	TarSize int64                 `json:"tar_size"`
	Size    int64                 `json:"size"`
	SHA256  string                `json:"sha256"`
}

type exportedCopy struct {
	Type     string                `json:"type"`
	Set      capstan.SetID         `json:"set"`
	Archive  capstan.ArchiveNumber `json:"archive"`
	Volume   capstan.VolumeID      `json:"volume"`
	State    capstan.CopyState     `json:"state"`
	Changed  time.Time             `json:"changed"`
	Verified time.Time             `json:"verified,omitzero"`
	Problem  string                `json:"problem,omitempty"`
}

func (x *exporter) all(ctx context.Context, opts ExportOptions) error {
	head := struct {
		Type   string `json:"type"`
		Schema int64  `json:"schema"`
	}{"catalog", schemaVersion}
	if err := x.out.Encode(head); err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{x.jobs, x.volumes, x.runs, x.sums, x.audit, x.pins, x.drills} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	sets, err := x.c.sets(ctx, SetFilter{})
	if err != nil {
		return err
	}
	for i := range sets {
		if err := x.set(ctx, &sets[i]); err != nil {
			return err
		}
		if opts.Entries {
			if err := x.entries(ctx, sets[i].ID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *exporter) jobs(ctx context.Context) error {
	jobs, err := x.c.Jobs(ctx)
	for _, j := range jobs {
		if err == nil {
			err = x.out.Encode(exportedJob{"job", j.Key, j.Name, rawList(j.Sources), rawList(j.Volumes)})
		}
	}
	return err
}

func rawList(list []string) []rawString {
	raw := make([]rawString, len(list))
	for i, s := range list {
		raw[i] = rawString(s)
	}
	return raw
}

func (x *exporter) volumes(ctx context.Context) error {
	volumes, err := x.c.Volumes(ctx)
	for _, v := range volumes {
		if err == nil {
			err = x.out.Encode(exportedVolume{"volume", v.ID, v.Kind, rawString(v.Location), v.Created})
		}
	}
	return err
}

func (x *exporter) runs(ctx context.Context) error {
	runs, err := x.c.Runs(ctx, RunFilter{})
	for _, r := range runs {
		if err != nil {
			return err
		}
		line := exportedRun{"run", r.ID, r.Set, r.Job, r.Kind, r.Process.PID, r.Status, r.Started, r.Finished, nil}
		if json.Valid(r.Summary) {
			line.Summary = r.Summary
		}
		err = x.out.Encode(line)
	}
	return err
}

func (x *exporter) set(ctx context.Context, s *SetInfo) error {
	err := x.out.Encode(exportedSet{
		"set", s.ID, s.Job, s.Base, s.Consolidates, s.Status, s.Started, s.Finished, s.Codec, s.Recipients, s.Host, rawList(s.Sources), s.Forgotten, s.Counts,
	})
	if err != nil {
		return err
	}
	archives, err := x.c.Archives(ctx, s.ID)
	if err != nil {
		return err
	}
	for _, a := range archives {
		err := x.out.Encode(exportedArchive{
			"archive", s.ID, a.Number, a.Name, a.Codec, a.Entries, a.TarSize, a.Size, fmt.Sprintf("%x", a.Hash),
		})
		if err != nil {
			return err
		}
	}
	copies, err := x.c.Copies(ctx, s.ID)
	for _, y := range copies {
		if err == nil {
			err = x.out.Encode(exportedCopy{"copy", s.ID, y.Number, y.Volume, y.State, y.Changed, y.Verified, y.Problem})
		}
	}
	return err
}

func (x *exporter) audit(ctx context.Context) error {
	for line, err := range x.c.AuditLog(ctx) {
		if err == nil {
			err = x.out.Encode(struct {
				Type   string    `json:"type"`
				Time   time.Time `json:"time"`
				Action string    `json:"action"`
				Object string    `json:"object"`
				Detail string    `json:"detail,omitempty"`
			}{"audit", line.Time, line.Action, line.Object, line.Detail})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *exporter) pins(ctx context.Context) error {
	pins, err := x.c.Pins(ctx)
	for _, p := range pins {
		if err == nil {
			err = x.out.Encode(struct {
				Type string        `json:"type"`
				Set  capstan.SetID `json:"set"`
				Who  string        `json:"who"`
				Why  string        `json:"why,omitempty"`
				Time time.Time     `json:"time"`
			}{"pin", p.Set, p.Who, p.Why, p.At})
		}
	}
	return err
}

func (x *exporter) drills(ctx context.Context) error {
	drills, err := x.c.Drills(ctx)
	for _, d := range drills {
		if err == nil && d.Outcome != DrillNone {
			err = x.out.Encode(struct {
				Type    string        `json:"type"`
				Set     capstan.SetID `json:"set"`
				Dump    rawString     `json:"dump"`
				Time    time.Time     `json:"time"`
				Proven  bool          `json:"proven"`
				Outcome DrillOutcome  `json:"outcome"`
				Last    time.Time     `json:"last_proven,omitzero"`
				Tables  int64         `json:"tables"`
				Rows    int64         `json:"rows"`
			}{"drill", d.Set, rawString(d.Dump), d.At, d.Outcome == DrillProven, d.Outcome, d.LastProven, d.Tables, d.Rows})
		}
	}
	return err
}
