package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"capstan"
	"capstan/internal/policy"
)

// File is what a configuration file says. The zero value is that of no file.
type File struct {
	Path string // absolute; empty if there is none

	// Settings of every command; empty and 0: the file says nothing of them.
	Home    string // absolute
	Catalog string // absolute
	LogFile string // absolute
	Memory  capstan.Bytes

	Volumes []Volume // in the order of the file, as all lists here
	Pools   []Pool
	Jobs    []Job
}

// Volume is a volume with a name of its own.
type Volume struct {
	Name     string
	Location string // an absolute path, or a URL
}

// Pool is a group of volumes.
type Pool struct {
	Name    string
	Volumes []string     // names of volumes
	Keep    policy.Rules // which sets retention keeps on them; empty: all
}

// Job is a named plan. Every field has its value: the job's own, else that of
// defaults, else the program's.
type Job struct {
	Name          string
	Sources       []string // absolute paths, or URLs
	To            []string // locations of volumes; a pool is replaced by its volumes
	Exclude       []string // gitignore patterns
	ExcludeFrom   []string // absolute paths of files with such patterns
	OneFileSystem bool
	ExcludeCaches bool
	Compress      capstan.Codec
	Level         int
	ArchiveSize   capstan.Bytes
	EncryptTo     []string // age public keys, absolute paths of files with such, or "passphrase"; empty: not encrypted
	Passphrase    Secret
	Memory        capstan.Bytes // 0: as for every command
	Timeout       time.Duration // 0: none
	Stage         string        // absolute path; empty: the home's, where one is needed
	StageSize     capstan.Bytes // 0: by what is free there
	Direct        bool
	LimitRate     capstan.Bytes // a second; 0: none
	Attempts      int           // of a copy, before it waits for a person
	StallWarn     time.Duration // 0: never
	StallFail     time.Duration // 0: never
	Pre, Post     []Hook
	Keep          policy.Rules // which sets retention keeps; empty: all
	ForgetAfter   bool         // let the others go after a complete backup
	Database      Database

	at map[string]Position // of the keys that the file gives, for later checks
}

// The program's defaults of a job.
const (
	DefaultCompress    = capstan.CodecZstd
	DefaultLevel       = 1
	DefaultArchiveSize = 4 * capstan.GiB
	DefaultAttempts    = 5
	DefaultStallWarn   = time.Minute
	DefaultStallFail   = 15 * time.Minute
)

// LeastMemory is the smallest budget that a run can work with.
const LeastMemory = 8 * capstan.MiB

// leastRate is the lowest limit of bytes a second that makes sense.
const leastRate = capstan.KiB

// leastArchive is the smallest archive size that makes sense.
const leastArchive = capstan.MiB

// maxFile bounds how much of a file is read.
const maxFile = 1 << 20

// Job finds a job by its name; capstan.ErrNotFound, with the names that there
// are, if there is none.
func (f *File) Job(name string) (Job, error) {
	known := make([]string, 0, len(f.Jobs))
	for _, job := range f.Jobs {
		if job.Name == name {
			return job, nil
		}
		known = append(known, job.Name)
	}
	return Job{}, f.missing("job", name, known)
}

// Pool finds a pool by its name and gives the locations of its volumes;
// capstan.ErrNotFound, with the names that there are, if there is none.
func (f *File) Pool(name string) ([]string, error) {
	known := make([]string, 0, len(f.Pools))
	for _, pool := range f.Pools {
		if pool.Name == name {
			return f.locations(pool), nil
		}
		known = append(known, pool.Name)
	}
	return nil, f.missing("pool", name, known)
}

// locations gives where the volumes of a pool are.
func (f *File) locations(pool Pool) []string {
	var all []string
	for _, name := range pool.Volumes {
		if volume, ok := f.volume(name); ok {
			all = append(all, volume.Location)
		}
	}
	return all
}

func (f *File) volume(name string) (Volume, bool) {
	for _, volume := range f.Volumes {
		if volume.Name == name {
			return volume, true
		}
	}
	return Volume{}, false
}

func (f *File) missing(what, name string, known []string) error {
	err := &capstan.Error{Class: capstan.ErrNotFound, Op: what, Object: name}
	switch {
	case f.Path == "":
		err.Err = errors.New("there is no configuration file")
		err.Next = "capstan init writes one to start from"
	case len(known) == 0:
		err.Err = fmt.Errorf("%s has no %ss", f.Path, what)
	default:
		err.Err = fmt.Errorf("%s has only: %s", f.Path, join(known))
		if near := nearest(name, known); near != "" {
			err.Next = fmt.Sprintf("did you mean %s?", near)
		}
	}
	return err
}

// Load reads a configuration file. What is wrong in it is told with its place:
// the error is then a *capstan.Error of class ErrUsage around Problems. A file
// with hooks that everybody may write is refused with ErrRefused.
func Load(path string) (*File, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	data, mode, err := readFile(abs)
	if err != nil {
		return nil, &capstan.Error{Class: capstan.ErrUsage, Op: "read the configuration", Object: path, Err: reason(err)}
	}
	file, err := Parse(abs, data)
	if err != nil {
		return nil, err
	}
	if file.hooks() && mode&0o002 != 0 && runtime.GOOS != "windows" { // Windows has no such bits
		return nil, &capstan.Error{
			Class: capstan.ErrRefused, Op: "configuration", Object: abs,
			Err:  errors.New("it has commands to run, and everybody may write it"),
			Next: "chmod o-w " + abs,
		}
	}
	return file, nil
}

// readFile reads a whole file and gives its mode.
func readFile(path string) (data []byte, mode fs.FileMode, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	data, err = io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it is longer than %s", capstan.Bytes(maxFile))
	}
	return data, info.Mode(), err
}

// reason is an error of the operating system without the path, which the message
// names already.
func reason(err error) error {
	if wrapped, ok := errors.AsType[*fs.PathError](err); ok {
		return wrapped.Err
	}
	return err
}

// Parse is Load for a file that was read. path is absolute: it is for messages,
// and relative paths in the file are meant from its directory.
func Parse(path string, data []byte) (*File, error) {
	r := &reader{path: path, dir: filepath.Dir(path), file: &File{Path: path}, defaults: builtIn()}
	if root, ok := r.parse(data); ok {
		fields(root, fileKeys[:], r.file)
	}
	if len(r.problems) > 0 {
		return nil, &capstan.Error{Class: capstan.ErrUsage, Err: r.problems.sorted()}
	}
	return r.file, nil
}

// hooks reports whether the file has commands to run.
func (f *File) hooks() bool {
	for _, job := range f.Jobs {
		if len(job.Pre)+len(job.Post) > 0 {
			return true
		}
	}
	return false
}
