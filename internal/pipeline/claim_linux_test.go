package pipeline

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"capstan"
	"capstan/internal/copier"
	"capstan/internal/envelope"
	"capstan/internal/source/files"
)

// A process may end right after it has begun a set, before the catalog knows to whom
// it is encrypted and on what it builds. The next run takes the set, as what it is
// itself, so that no empty one is left for good.
func TestResumeOfASetThatHoldsNothing(t *testing.T) {
	t.Parallel()
	key, err := envelope.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	recipients, err := envelope.ParseRecipients([]string{key.Recipient()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	p := s.process(t)
	first, err := p.backup(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	source, err := files.New(filepath.Join(s.dir, "data"), files.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.volume("a", "", p.Key)
	if err != nil {
		t.Fatal(err)
	}
	job := Backup{
		Job: "job", JobName: "job", Sources: []capstan.Source{source}, Codec: capstan.CodecZstd, Level: 1, ArchiveSize: capstan.MiB,
		Volumes: []copier.Volume{{Info: v.Info(), Opened: v}}, Mode: Incremental,
	}
	// Of another kind each: the plain set for an encrypted run, then the other way.
	for _, to := range []*envelope.Recipients{recipients, nil} {
		begun, err := p.Catalog.BeginSet(t.Context(), "job", "test", capstan.CodecZstd, nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if to == nil {
			err = p.Catalog.EncryptTo(t.Context(), begun.ID, recipients.Strings())
		}
		if err != nil {
			t.Fatal(err)
		}
		job.Recipients = to
		summary, err := p.Backup(t.Context(), job)
		if err != nil || summary.Set != begun.ID || summary.Status != capstan.RunComplete || !summary.Resumed {
			t.Errorf("set %s was taken as %+v, %v", begun.ID, summary, err)
		}
		set, err := p.Catalog.Set(t.Context(), begun.ID)
		if err != nil || set.Encrypted() != (to != nil) || !slices.Equal(set.Recipients, to.Strings()) {
			t.Errorf("its recipients are %q, %v", set.Recipients, err)
		}
		if set.Base != first.Set {
			t.Errorf("it builds on %q", set.Base)
		}
		first.Set = set.ID
	}
}
