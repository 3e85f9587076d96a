package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"capstan"
)

const (
	defaultMemory = 16 * capstan.MiB
	minReaders    = 2
)

// Options are the choices of a source; the zero value reads everything.
type Options struct {
	// Name is the first component of every emitted path; empty means the base
	// name of the absolute path ("root" for the root directory).
	Name string
	// Excludes are patterns with the meaning of lines in a .gitignore file that
	// lies in the source's root; the last one that matches decides. The source
	// itself cannot be excluded.
	Excludes []string
	// OneFileSystem keeps the scan on the source's filesystem: the directory of a
	// mount point is stored empty, with a reason, and not descended. A single file
	// that is mounted over another is stored.
	OneFileSystem bool
	// IgnoreCacheDirs excludes what lies in a directory that is tagged as a cache
	// (https://bford.info/cachedir/), other than the tag.
	IgnoreCacheDirs bool
	// Readers is the number of goroutines that read files, and of those that list
	// directories; 0 means GOMAXPROCS, at least 2.
	Readers int
	// Memory bounds the data that was read ahead and not yet emitted; 0 means 16 MiB.
	Memory capstan.Bytes
	Hooks  Hooks
}

// Hooks tell what a scan does. Each may be nil; they are called from several
// goroutines at once and must return without blocking.
type Hooks struct {
	// Entries is called when a listing has found n more entries.
	Entries func(n int)
	// Bytes is called when n more bytes of content were read, by the scan or
	// through a Content.
	Bytes func(n int)
	// Waiting is called by the goroutine of Scan, with true when it begins to wait
	// for the source to be read and with false when it goes on.
	Waiting func(waiting bool)
}

// Source is a file tree. It is made for one run: Scan may be called again only
// after it has returned.
type Source struct {
	host  string // absolute and clean, symbolic links kept
	name  string
	rules *rules
	opt   Options

	mu       sync.Mutex // guards stations
	stations []*station
}

var _ capstan.Source = (*Source)(nil)

// New makes a source of what lies at path, which may be relative. A path that
// is a symbolic link means what the link points to; it keeps the link's own
// name and spec. It fails with a *capstan.Error that names the path when nothing
// is there, and one of class ErrUsage for bad options.
func New(path string, opt Options) (*Source, error) {
	host, err := locate(path)
	if err != nil {
		return nil, err
	}
	rules, err := parseRules(opt.Excludes)
	if err != nil {
		return nil, &capstan.Error{Class: capstan.ErrUsage, Op: "exclude", Err: err}
	}
	if opt.Name == "" {
		opt.Name = baseName(host)
	}
	if opt.Name == "." || opt.Name == ".." || strings.ContainsAny(opt.Name, "/\x00") {
		return nil, &capstan.Error{
			Class: capstan.ErrUsage, Op: "name source", Object: path,
			Err: fmt.Errorf("%q cannot be the name of a file", opt.Name),
		}
	}
	if opt.Readers <= 0 {
		opt.Readers = max(minReaders, runtime.GOMAXPROCS(0))
	}
	if opt.Memory <= 0 {
		opt.Memory = defaultMemory
	}
	return &Source{host: host, name: opt.Name, rules: rules, opt: opt}, nil
}

// locate gives the absolute path and checks that something is there.
func locate(path string) (string, error) {
	if path == "" {
		return "", &capstan.Error{Class: capstan.ErrUsage, Op: "read source", Err: errors.New("its path is empty")}
	}
	host, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(host)
	}
	if err == nil {
		return host, nil
	}
	if target, linkErr := os.Readlink(host); linkErr == nil && errors.Is(err, fs.ErrNotExist) {
		return "", &capstan.Error{
			Op: "read source", Object: path,
			Err:  fmt.Errorf("it is a symbolic link to %s, which does not exist", target),
			Next: "name the directory that holds the link to keep the link itself",
		}
	}
	return "", unreadable(path, err)
}

// unreadable is the error for a source that cannot be reached at all.
func unreadable(path string, err error) error {
	if wrapped := (*fs.PathError)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return &capstan.Error{Op: "read source", Object: path, Err: err}
}

// baseName is the last component of an absolute path, and for the root of a
// filesystem a name that can be a directory's.
func baseName(host string) string {
	if base := filepath.Base(host); !strings.ContainsAny(base, `/\:`) || !isRoot(host) {
		return base
	}
	if volume := strings.Trim(filepath.VolumeName(host), `\/:`); volume != "" {
		return strings.NewReplacer(`\`, "_", "/", "_", ":", "_").Replace(volume)
	}
	return "root"
}

func isRoot(host string) bool { return filepath.Dir(host) == host }

// Spec is the absolute path as it was named, symbolic links kept.
func (s *Source) Spec() string { return s.host }

// Name is the first component of every path that the source emits.
func (s *Source) Name() string { return s.name }

// Busy names the object that some goroutine of the running scan has been
// working on for the longest time, and since when: what it hangs on, if it
// hangs. host is empty when none is at work.
func (s *Source) Busy() (host string, since time.Time) {
	s.mu.Lock()
	stations := s.stations
	s.mu.Unlock()
	for _, station := range stations {
		h, t := station.get()
		if h != "" && (host == "" || t.Before(since)) {
			host, since = h, t
		}
	}
	return host, since
}

// station is where one goroutine says what it works on.
type station struct {
	mu    sync.Mutex
	host  string
	since time.Time
}

// at says that work on host begins now; an empty host means idle.
func (s *station) at(host string) {
	now := time.Now()
	s.mu.Lock()
	s.host, s.since = host, now
	s.mu.Unlock()
}

func (s *station) get() (string, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.host, s.since
}
