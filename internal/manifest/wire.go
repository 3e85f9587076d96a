package manifest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"capstan"
)

// setLine is the first line.
type setLine struct {
	Type   string         `json:"type"`
	Format int            `json:"format"`
	Set    capstan.SetID  `json:"set"`
	Job    capstan.JobKey `json:"job,omitempty"`
	Base   capstan.SetID  `json:"base,omitempty"`
	// Consolidates: the set whose tree this one holds by itself.
	Consolidates capstan.SetID     `json:"consolidates,omitempty"`
	Status       capstan.RunStatus `json:"status"`
	Started      time.Time         `json:"started,omitzero"`
	Finished     time.Time         `json:"finished,omitzero"`
	Codec        capstan.Codec     `json:"codec"`
	Recipients   []string          `json:"recipients,omitempty"` // empty: not encrypted
	Host         string            `json:"host,omitempty"`
	Sources      []string          `json:"sources"`
	SourcesB64   [][]byte          `json:"sources_b64,omitempty"` // all of them, when one is not UTF-8
	Counts       json.RawMessage   `json:"counts"`
}

func wireSet(s capstan.Set) any {
	line := setLine{
		Type: "set", Format: Format, Set: s.ID, Job: s.Job, Base: s.Base, Consolidates: s.Consolidates, Status: s.Status,
		Started: s.Started, Finished: s.Finished, Codec: s.Codec, Recipients: s.Recipients, Host: s.Host, Sources: s.Sources,
	}
	line.Counts, _ = json.Marshal(s.Counts) // numbers only
	for _, source := range s.Sources {
		if utf8.ValidString(source) {
			continue
		}
		line.SourcesB64 = make([][]byte, len(s.Sources))
		for i, source := range s.Sources {
			line.SourcesB64[i] = []byte(source)
		}
		break
	}
	return line
}

func (l *setLine) set() (capstan.Set, error) {
	id, err := capstan.ParseSetID(string(l.Set))
	if err != nil {
		return capstan.Set{}, err
	}
	for _, other := range []struct {
		field string
		id    capstan.SetID
	}{{"base", l.Base}, {"consolidates", l.Consolidates}} {
		if other.id == "" {
			continue
		}
		if _, err := capstan.ParseSetID(string(other.id)); err != nil {
			return capstan.Set{}, fmt.Errorf("%s: %w", other.field, err)
		}
	}
	set := capstan.Set{
		ID: id, Job: l.Job, Base: l.Base, Consolidates: l.Consolidates, Status: l.Status, Started: l.Started, Finished: l.Finished,
		Codec: l.Codec, Recipients: l.Recipients, Host: l.Host, Sources: l.Sources,
	}
	if len(l.SourcesB64) > 0 {
		set.Sources = make([]string, len(l.SourcesB64))
		for i, source := range l.SourcesB64 {
			set.Sources[i] = string(source)
		}
	}
	if len(l.Counts) > 0 {
		err = json.Unmarshal(l.Counts, &set.Counts)
	}
	return set, err
}

// archiveLine is one of the lines after the first.
type archiveLine struct {
	Type    string                `json:"type"`
	Number  capstan.ArchiveNumber `json:"number"`
	Name    string                `json:"name"`
	Codec   capstan.Codec         `json:"codec"`
	Entries int64                 `json:"entries"`
	TarSize int64                 `json:"tar_size"`
	Size    int64                 `json:"size"`
	Hash    string                `json:"sha256"`
}

func wireArchive(a *capstan.Archive) any {
	return archiveLine{
		Type: "archive", Number: a.Number, Name: a.Name, Codec: a.Codec,
		Entries: a.Entries, TarSize: a.TarSize, Size: a.Size, Hash: hex.EncodeToString(a.Hash[:]),
	}
}

func (l *archiveLine) archive(set capstan.SetID) (capstan.Archive, error) {
	a := capstan.Archive{
		Set: set, Number: l.Number, Name: l.Name, Codec: l.Codec,
		Entries: l.Entries, TarSize: l.TarSize, Size: l.Size,
	}
	var err error
	if a.Hash, err = parseHash([]byte(l.Hash)); err != nil {
		return a, err
	}
	if err := checkFileName(l.Name); err != nil {
		return a, err
	}
	if l.Number < 1 || l.Entries < 0 || l.TarSize < 0 || l.Size < 0 {
		return a, fmt.Errorf("archive %q has a negative number", l.Name)
	}
	return a, nil
}

// endLine is the last line.
type endLine struct {
	Type     string `json:"type"`
	Archives int    `json:"archives"`
	Entries  int64  `json:"entries"`
}
