package pgdrill

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"capstan"
	"capstan/internal/rowsum"
	"capstan/internal/target/postgres"
)

// The outcomes of a drill.
const (
	Proven  = "proven"  // restored, and as the source was
	Differs = "differs" // something is named in Differences or Problems
	Partial = "partial" // nothing differs, but what is named in Unproven could not be restored here
	Failed  = "failed"  // nothing was proven
)

// severity orders outcomes: of several, the one that matters most.
func severity(status string) int {
	return slices.Index([]string{Proven, Partial, Failed, Differs}, status)
}

// What a dump is compared with.
const (
	AgainstSource = "source" // what the source had: the receipt says it
	AgainstFiles  = "files"  // the dump's own files: it has no receipt with hashes
)

// Difference is something that is not as it was when it was dumped.
type Difference struct {
	Object string `json:"object"` // "table public.orders", "sequence …", "large objects", "toc.dat"
	In     string `json:"in"`     // "files" of the dump, or the "restored" database
	// Rows, or objects, and hashes; of what could not be read Err says why.
	Expected     *int64      `json:"expected_rows,omitempty"`
	Got          *int64      `json:"got_rows,omitempty"`
	ExpectedHash *rowsum.Sum `json:"expected_hash,omitempty"`
	GotHash      *rowsum.Sum `json:"got_hash,omitempty"`
	Err          string      `json:"error,omitempty"`
}

// String is a difference for people.
func (d Difference) String() string {
	where := map[string]string{inFiles: "in the dump's files", inRestored: "restored"}[d.In]
	switch {
	case d.Err != "":
		return fmt.Sprintf("%s, %s: %s", d.Object, where, d.Err)
	case d.Expected != nil && d.Got != nil && *d.Expected != *d.Got:
		return fmt.Sprintf("%s, %s: %d rows, expected %d", d.Object, where, *d.Got, *d.Expected)
	case d.ExpectedHash != nil && d.GotHash != nil:
		return fmt.Sprintf("%s, %s: other content, hash %s, expected %s", d.Object, where, d.GotHash, d.ExpectedHash)
	}
	return d.Object + ", " + where
}

// The values of Difference.In.
const (
	inFiles    = "files"
	inRestored = "restored"
)

// Summary is what became of a drill.
type Summary struct {
	Type     string    `json:"type"` // "summary"
	Status   string    `json:"status"`
	Dump     string    `json:"dump"`
	Database string    `json:"database"`
	Snapshot time.Time `json:"snapshot,omitzero"` // of the dump; zero where there is no receipt
	Against  string    `json:"against"`
	// DumpServer and Server are versions: of the dumped server, and of the one that it
	// was restored into.
	DumpServer string `json:"dump_server_version"`
	Server     string `json:"server_version"`
	Scratch    bool   `json:"scratch"` // the server was made for it
	// What was compared, and found to be the same.
	Tables    int64         `json:"tables"`
	Rows      int64         `json:"rows"`
	Bytes     capstan.Bytes `json:"bytes"` // of COPY text
	Sequences int64         `json:"sequences"`
	Large     int64         `json:"large_objects"`
	// Roles says where the roles came from. Owners counts what belongs to whom it should,
	// Grants the entries with rights that were carried out without an error.
	Roles  string `json:"roles,omitempty"`
	Owners int64  `json:"owners"`
	Grants int64  `json:"grants"`
	// Unproven names what could not be restored on this machine.
	Unproven []Unproven `json:"unproven,omitempty"`
	// NotCompared names what is restored and not compared.
	NotCompared []string     `json:"not_compared,omitempty"`
	Differences []Difference `json:"differences"`
	// Unnamed counts differences beyond those that are kept one by one.
	Unnamed  int64              `json:"unnamed_differences,omitempty"`
	Problems []postgres.Problem `json:"problems"` // of pg_restore
	Seconds  float64            `json:"seconds"`
}

// NewSummary is that of a drill that has not found anything out yet.
func NewSummary(dump string) Summary {
	return Summary{Type: "summary", Status: Failed, Dump: dump, Against: AgainstFiles, Differences: []Difference{}, Problems: []postgres.Problem{}}
}

// Damaged says of a drill that could not begin what kept it from that.
func (s *Summary) Damaged(object string, err error) {
	s.Status = Differs
	s.Differences = append(s.Differences, Difference{Object: object, In: inFiles, Err: err.Error()})
}

// Brief is the summary with no more than n differences, and n problems, that are named.
func (s Summary) Brief(n int) Summary {
	more := max(len(s.Differences)-n, 0) + max(len(s.Problems)-n, 0)
	s.Unnamed += int64(more)
	s.Unproven, s.NotCompared = s.Unproven[:min(n, len(s.Unproven))], s.NotCompared[:min(n, len(s.NotCompared))]
	s.Differences, s.Problems = s.Differences[:min(n, len(s.Differences))], s.Problems[:min(n, len(s.Problems))]
	return s
}

// Together makes one summary of those of several dumps, of which there should be so
// many: it is proven if each is.
func Together(dump string, wanted int, each []Summary) Summary {
	all := NewSummary(dump)
	all.Status, all.Against = Proven, AgainstSource
	if len(each) < wanted {
		all.Status = Failed
	}
	for _, s := range each {
		if severity(s.Status) > severity(all.Status) {
			all.Status = s.Status
		}
		if s.Against != AgainstSource {
			all.Against = s.Against
		}
		all.DumpServer, all.Server, all.Scratch = s.DumpServer, s.Server, s.Scratch
		all.Tables, all.Rows, all.Bytes = all.Tables+s.Tables, all.Rows+s.Rows, all.Bytes+s.Bytes
		all.Roles, all.Owners, all.Grants = s.Roles, all.Owners+s.Owners, all.Grants+s.Grants
		all.Sequences, all.Large, all.Seconds, all.Unnamed = all.Sequences+s.Sequences, all.Large+s.Large, all.Seconds+s.Seconds, all.Unnamed+s.Unnamed
		for _, d := range s.Differences {
			d.Object = s.Dump + ": " + d.Object
			all.Differences = append(all.Differences, d)
		}
		for _, p := range s.Problems {
			p.Object = s.Dump + ": " + p.Object
			all.Problems = append(all.Problems, p)
		}
		for _, u := range s.Unproven {
			u.Object = s.Dump + ": " + u.Object
			all.Unproven = append(all.Unproven, u)
		}
		for _, name := range s.NotCompared {
			all.NotCompared = append(all.NotCompared, s.Dump+": "+name)
		}
	}
	return all
}

// maxDifferences bounds the differences that are kept one by one.
const maxDifferences = 10_000

// findings collects what comparing finds. It is safe for concurrent use.
type findings struct {
	mu      sync.Mutex
	summary *Summary
	more    int64 // differences beyond those that are kept
}

func (f *findings) differs(d Difference) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.summary.Differences) >= maxDifferences {
		f.more++
		return
	}
	f.summary.Differences = append(f.summary.Differences, d)
}

// same counts what was compared and is as it was.
func (f *findings) same(count func(s *Summary)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	count(f.summary)
}

// verdict is what the findings make of a drill that came to its end, or to the end of
// the files.
func (f *findings) verdict() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.summary
	slices.SortStableFunc(s.Differences, func(a, b Difference) int { return cmp.Compare(a.Object, b.Object) })
	s.Unnamed = f.more
	n := int64(len(s.Differences)) + f.more
	if n == 0 && len(s.Problems) == 0 {
		return f.whole()
	}
	s.Status = Differs
	what := fmt.Errorf("%d differences, %d objects that could not be restored", n, len(s.Problems))
	if len(s.Differences) > 0 {
		what = fmt.Errorf("%w; %s", what, s.Differences[0])
	} else {
		what = fmt.Errorf("%w; %s: %s", what, s.Problems[0].Object, s.Problems[0].Err)
	}
	return &capstan.Error{Class: capstan.ErrIncomplete, Op: "drill", Object: s.Dump, Err: what, Safe: "the dump was not changed", Next: "drill an older one, and dump the database again"}
}

// whole is the verdict where nothing differs. f.mu is held.
func (f *findings) whole() error {
	s := f.summary
	if len(s.Unproven) == 0 {
		s.Status = Proven
		return nil
	}
	s.Status = Partial
	return &capstan.Error{
		Class: capstan.ErrIncomplete, Op: "drill", Object: s.Dump, Err: fmt.Errorf("%d objects are not proven; %s: %s", len(s.Unproven), s.Unproven[0].Object, s.Unproven[0].Why),
		Safe: "all others are as they were dumped", Next: "install what is missing, or name a server that has it with --server",
	}
}

// clear reports whether nothing differs so far.
func (f *findings) clear() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.summary.Differences) == 0
}
