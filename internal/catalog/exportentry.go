package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"capstan"
)

type exportedEntry struct {
	Type       string                `json:"type"`
	Set        capstan.SetID         `json:"set"`
	Path       rawString             `json:"path"`
	Kind       string                `json:"kind"`
	Outcome    string                `json:"outcome"`
	Reason     rawString             `json:"reason,omitempty"`
	Mode       string                `json:"mode"` // octal
	UID        uint32                `json:"uid"`
	GID        uint32                `json:"gid"`
	User       rawString             `json:"user,omitempty"`
	Group      rawString             `json:"group,omitempty"`
	ModTime    string                `json:"mtime,omitempty"`
	ChangeTime string                `json:"ctime,omitempty"`
	Dev        uint64                `json:"dev,omitempty"`
	Ino        uint64                `json:"ino,omitempty"`
	Links      uint32                `json:"links,omitempty"`
	Size       int64                 `json:"size"`
	Link       rawString             `json:"link,omitempty"`
	Device     []uint32              `json:"device,omitempty"` // major, minor
	Xattrs     []exportedXattr       `json:"xattrs,omitempty"`
	ACL        rawString             `json:"acl,omitempty"`
	DefaultACL rawString             `json:"default_acl,omitempty"`
	Sparse     bool                  `json:"sparse,omitempty"`
	Data       []capstan.Extent      `json:"data,omitempty"`
	SHA256     string                `json:"sha256,omitempty"`
	Archive    capstan.ArchiveNumber `json:"archive,omitempty"`
	Offset     int64                 `json:"offset,omitempty"`
	Stored     int64                 `json:"stored,omitempty"`
	Parts      []exportedPart        `json:"parts,omitempty"`
}

type exportedXattr struct {
	Name  rawString `json:"name"`
	Value []byte    `json:"value"`
}

type exportedPart struct {
	Archive capstan.ArchiveNumber `json:"archive"`
	Offset  int64                 `json:"offset"`
	Stored  int64                 `json:"stored"`
	Start   int64                 `json:"start"`
	Length  int64                 `json:"length"`
}

func exportEntry(set capstan.SetID, e *capstan.Entry) exportedEntry {
	x := exportedEntry{
		Type: "entry", Set: set, Path: rawString(e.Path), Kind: e.Kind.String(), Outcome: e.Outcome.String(),
		Reason: rawString(e.Reason), Mode: fmt.Sprintf("%04o", e.Mode), UID: e.UID, GID: e.GID,
		User: rawString(e.User), Group: rawString(e.Group), ModTime: timeText(e.ModTime), ChangeTime: timeText(e.ChangeTime),
		Dev: e.Dev, Ino: e.Ino, Links: e.Links, Size: e.Size, Link: rawString(e.Link),
		ACL: rawString(e.ACL), DefaultACL: rawString(e.DefaultACL), Sparse: e.Sparse, Data: e.Data,
		Archive: e.Archive, Offset: e.Offset, Stored: e.Location.Size,
	}
	if e.Major != 0 || e.Minor != 0 {
		x.Device = []uint32{e.Major, e.Minor}
	}
	if !e.Hash.IsZero() {
		x.SHA256 = fmt.Sprintf("%x", e.Hash)
	}
	for _, a := range e.Xattrs {
		x.Xattrs = append(x.Xattrs, exportedXattr{rawString(a.Name), a.Value})
	}
	for _, p := range e.Parts {
		x.Parts = append(x.Parts, exportedPart{p.Archive, p.Offset, p.Size, p.Start, p.Length})
	}
	return x
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}

func (x *exporter) entries(ctx context.Context, set capstan.SetID) error {
	for entry, err := range x.c.Walk(ctx, set, "") {
		if err == nil {
			err = x.out.Encode(exportEntry(set, &entry))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *exporter) sums(ctx context.Context) error {
	type line struct {
		Type   string           `json:"type"`
		Volume capstan.VolumeID `json:"volume"`
		Set    capstan.SetID    `json:"set"`
		SHA256 string           `json:"sha256"`
		Time   time.Time        `json:"time"`
	}
	var lines []line
	err := each(ctx, x.c.reads, sqlAllSums, nil, func(rows *sql.Rows) error {
		l := line{Type: "sums"}
		var hash []byte
		var at int64
		err := rows.Scan(&l.Volume, &l.Set, &hash, &at)
		l.SHA256, l.Time = fmt.Sprintf("%x", hash), fromUnix(at)
		lines = append(lines, l)
		return err
	})
	for _, l := range lines {
		if err == nil {
			err = x.out.Encode(l)
		}
	}
	return err
}
