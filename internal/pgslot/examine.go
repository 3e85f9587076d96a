package pgslot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"capstan/internal/pgdata"
)

// Kind is what is wrong with something in pg_replslot.
type Kind string

// The kinds of findings.
const (
	KindGhost      Kind = "ghost"         // the directory's name is not the slot's, and the slot has its own: the server makes two slots of one
	KindMisnamed   Kind = "misnamed"      // the directory's name is not the slot's, and no other has it: the server cannot save the slot
	KindDuplicate  Kind = "duplicate"     // several directories claim to be a slot that has none of its own name
	KindNoState    Kind = "missing state" // the server does not come up with it
	KindBadState   Kind = "damaged state" // magic, checksum or version: the same
	KindOwner      Kind = "owner or mode" // the server cannot read it, and does not come up
	KindUnfinished Kind = "unfinished"    // a creation or a drop of a slot that was killed; the server removes it when it starts
	KindForeign    Kind = "foreign file"  // no directory; the server leaves it alone
	KindQuarantine Kind = "quarantine"    // a quarantine was killed on its way
)

// Finding is one thing that is wrong.
type Finding struct {
	Kind   Kind   `json:"kind"`
	Path   string `json:"path"`
	Slot   string `json:"slot,omitempty"` // which slot it is or claims to be
	Detail string `json:"detail"`
	// Repair says in words what Repair does about it; empty if nothing safe can be done.
	Repair string `json:"repair,omitempty"`
	// Next is what a person can do where there is no repair.
	Next     string `json:"next,omitempty"`
	Harmless bool   `json:"harmless,omitempty"` // nothing has to be done
	Repaired bool   `json:"repaired,omitempty"`

	record *Record // of a quarantine that has a good copy of the state
}

// Examine looks through pg_replslot and the quarantines beside it, and changes
// nothing. Slots that are whole have no finding. While a server runs, what it is just
// making or dropping may be found.
func (p *Place) Examine(ctx context.Context, where Where) ([]Finding, error) {
	entries, err := p.FS.ReadDir(p.replslot())
	if err != nil {
		return nil, err
	}
	records, err := p.Records(ctx, where.Path(p.Dir))
	if err != nil {
		return nil, err
	}
	var findings []Finding
	claims := map[string][]string{} // directories by the slot that their state names
	for _, entry := range entries {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		path := filepath.Join(p.replslot(), entry.Name())
		if !entry.IsDir() {
			findings = append(findings, Finding{Kind: KindForeign, Path: path, Detail: "it is no directory", Harmless: true})
			continue
		}
		if strings.HasSuffix(entry.Name(), ".tmp") {
			findings = append(findings, Finding{Kind: KindUnfinished, Path: path, Detail: "the server removes it when it starts", Harmless: true})
			continue
		}
		state, found := p.examineDir(entry.Name(), records)
		findings = append(findings, found...)
		if state.Name != "" {
			claims[state.Name] = append(claims[state.Name], entry.Name())
		}
	}
	findings = append(findings, p.examineNames(claims)...)
	for i := range records {
		if records[i].Step == StepPrepared {
			findings = append(findings, Finding{
				Kind: KindQuarantine, Path: records[i].Path(), Slot: records[i].Slot, Detail: "a quarantine was killed on its way",
				Repair: "end it or take it back", record: &records[i],
			})
		}
	}
	return findings, nil
}

// examineDir looks at one directory for itself.
func (p *Place) examineDir(name string, records []Record) (pgdata.SlotState, []Finding) {
	dir := p.slotDir(name)
	path := filepath.Join(dir, stateFile)
	state, _, err := p.state(path)
	var findings []Finding
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrPermission):
		return state, []Finding{{Kind: KindOwner, Path: path, Slot: name, Detail: err.Error(), Next: "look again as root or as the owner of PGDATA"}}
	case errors.Is(err, fs.ErrNotExist):
		f := Finding{Kind: KindNoState, Path: dir, Slot: name, Detail: "it has no state file; the server does not come up with it"}
		p.fromQuarantine(&f, records)
		return state, []Finding{f}
	default:
		f := Finding{Kind: KindBadState, Path: path, Slot: name, Detail: err.Error()}
		p.fromQuarantine(&f, records)
		return pgdata.SlotState{}, []Finding{f}
	}
	for _, path := range []string{dir, path} {
		is, err := lookAt(path)
		if err != nil {
			continue // it is there; where owners are not known nothing is repaired
		}
		need := fs.FileMode(0o600)
		if is.dir {
			need = 0o700
		}
		if is.uid != p.UID || is.mode&need != need || is.mode&0o027 != 0 {
			findings = append(findings, Finding{
				Kind: KindOwner, Path: path, Slot: state.Name,
				Detail: fmt.Sprintf("it belongs to user %d with mode %04o, and PGDATA to user %d", is.uid, is.mode, p.UID),
				Repair: fmt.Sprintf("give it to user %d with mode %04o", p.UID, need),
			})
		}
	}
	return state, findings
}

// fromQuarantine offers the state that a quarantine kept. It is the slot's state of
// that moment: decoding from there repeats what came since, and loses nothing as long
// as the WAL is there.
func (p *Place) fromQuarantine(f *Finding, records []Record) {
	f.Next = "restore the state file from a backup of this moment; or, if the consumer can be set up anew, move the directory out of pg_replslot: the slot is then gone"
	for i := len(records) - 1; i >= 0; i-- {
		r := &records[i]
		if r.Slot != f.Slot || r.Step == StepPrepared {
			continue
		}
		state, _, err := p.state(filepath.Join(r.Path(), stateFile))
		if err != nil || state.Name != f.Slot {
			continue
		}
		if _, kept := p.walFile(pgdata.SegmentName(p.Timeline, state.RestartLSN, p.Segment)); !kept {
			continue
		}
		f.record, f.Next = r, ""
		f.Repair = fmt.Sprintf("put the state of %s back, with restart_lsn %s; what was decoded since is decoded again", r.Began.Format("2006-01-02 15:04:05Z"), state.RestartLSN)
		return
	}
}

// examineNames looks for states that do not belong where they are.
func (p *Place) examineNames(claims map[string][]string) []Finding {
	var findings []Finding
	for slot, dirs := range claims {
		own := false
		for _, dir := range dirs {
			own = own || dir == slot
		}
		for _, dir := range dirs {
			f := Finding{Path: p.slotDir(dir), Slot: slot, Detail: "its state file is that of slot " + slot}
			switch _, err := p.FS.Lstat(p.slotDir(slot)); {
			case dir == slot:
				continue
			case own:
				f.Kind, f.Repair = KindGhost, "move the directory out of pg_replslot, into the quarantine"
				f.Detail += ", which has a directory of its own: the server makes two slots of it, and the second holds WAL back for ever"
			case len(dirs) > 1:
				f.Kind, f.Next = KindDuplicate, "find out which is the right one by restart_lsn and age, and move the others out of pg_replslot"
				f.Detail += fmt.Sprintf(", and so are those of %d more", len(dirs)-1)
			case errors.Is(err, fs.ErrNotExist):
				f.Kind, f.Repair = KindMisnamed, "rename the directory to "+slot
				f.Detail += ": the server cannot save the slot"
			default:
				f.Kind, f.Next = KindMisnamed, "look at "+p.slotDir(slot)+" first"
			}
			findings = append(findings, f)
		}
	}
	return findings
}
