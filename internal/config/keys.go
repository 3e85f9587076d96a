package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"capstan"
	"capstan/internal/codec"
)

// The keys of a file. Their order is that of reading, not of the file: volumes
// come before the pools that name them, pools and defaults before the jobs.
var fileKeys = [...]key[File]{
	{"home", func(v value, f *File) { f.Home, _ = v.path() }},
	{"catalog", func(v value, f *File) { f.Catalog, _ = v.path() }},
	{"log_file", func(v value, f *File) { f.LogFile, _ = v.path() }},
	{"memory", func(v value, f *File) { f.Memory = v.size(LeastMemory) }},
	{"volumes", readVolumes},
	{"pools", readPools},
	{"defaults", func(v value, _ *File) { v.r.readDefaults(v) }},
	{"jobs", readJobs},
}

// The keys of a volume.
var volumeKeys = [...]key[Volume]{
	{"location", func(v value, volume *Volume) { volume.Location, _ = v.place() }},
}

// The keys of a pool.
var poolKeys = [...]key[Pool]{
	{"volumes", readMembers},
	{"keep", func(v value, p *Pool) { readKeep(v, &p.Keep) }},
}

// The keys of a job that defaults has as well. A flag of backup has the same
// name, with hyphens.
var sharedKeys = [...]key[Job]{
	{"to", func(v value, j *Job) { j.To = v.volumes() }},
	{"exclude", func(v value, j *Job) { j.Exclude = v.texts() }},
	{"exclude_from", func(v value, j *Job) { j.ExcludeFrom = v.paths() }},
	{"one_file_system", func(v value, j *Job) { j.OneFileSystem = v.truth() }},
	{"exclude_caches", func(v value, j *Job) { j.ExcludeCaches = v.truth() }},
	{"compress", func(v value, j *Job) {
		j.Compress = choice(v, capstan.CodecZstd, capstan.CodecGzip, capstan.CodecNone)
	}},
	{"level", func(v value, j *Job) {
		if n, ok := v.whole(); ok {
			j.Level = n
		}
	}},
	{"archive_size", func(v value, j *Job) { j.ArchiveSize = v.size(leastArchive) }},
	{"encrypt_to", func(v value, j *Job) { j.EncryptTo = v.each(value.recipient) }},
	{"passphrase", func(v value, j *Job) { j.Passphrase = v.secret() }},
	{"memory", func(v value, j *Job) { j.Memory = v.size(LeastMemory) }},
	{"timeout", func(v value, j *Job) { j.Timeout, _ = v.duration(0) }},
	{"stage", func(v value, j *Job) { j.Stage, _ = v.path() }},
	{"stage_size", func(v value, j *Job) { j.StageSize = v.size(leastArchive) }},
	{"direct", func(v value, j *Job) { j.Direct = v.truth() }},
	{"limit_rate", func(v value, j *Job) { j.LimitRate = v.size(leastRate) }},
	{"attempts", func(v value, j *Job) {
		if n, ok := v.whole(); ok && n < 1 {
			v.wrong("a copy is tried at least once")
		} else if ok {
			j.Attempts = n
		}
	}},
	{"stall_warn", func(v value, j *Job) { j.StallWarn, _ = v.duration(0) }},
	{"stall_fail", func(v value, j *Job) { j.StallFail, _ = v.duration(0) }},
	{"pre", func(v value, j *Job) { j.Pre = v.hooks(PreHook, preKeys[:]) }},
	{"post", func(v value, j *Job) { j.Post = v.hooks(PostHook, postKeys[:]) }},
	{"keep", func(v value, j *Job) { readKeep(v, &j.Keep) }},
	{"forget_after", func(v value, j *Job) { j.ForgetAfter = v.truth() }},
}

// The keys that only a job has.
var ownKeys = [...]key[Job]{
	{"sources", func(v value, j *Job) { j.Sources = v.places() }},
}

// word is a name that can stand in a file's name, a URL and an environment.
var word = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N}._-]*$`)

const maxWord = 64

// named reads a mapping of names to things.
func (v value) named(what string, read func(name string, v value)) {
	for _, p := range v.pairs() {
		if !word.MatchString(p.key) || len(p.key) > maxWord || strings.HasPrefix(p.key, "adhoc-") {
			v.r.problems = append(v.r.problems, Problem{v.r.path, p.at, fmt.Sprintf(
				"%q cannot be the name of a %s: it takes letters, digits, '.', '_' and '-', begins with a letter or digit but not with adhoc-, and has at most %d bytes",
				shorten(p.key), what, maxWord)})
			continue
		}
		read(p.key, p.value)
	}
}

func readVolumes(v value, f *File) {
	v.named("volume", func(name string, v value) {
		volume := Volume{Name: name}
		if found := fields(v, volumeKeys[:], &volume); len(found) == 0 {
			v.wrong("a volume needs its location, such as location: /mnt/disk")
		}
		f.Volumes = append(f.Volumes, volume)
	})
}

func readPools(v value, f *File) {
	v.named("pool", func(name string, v value) {
		pool := Pool{Name: name}
		fields(v, poolKeys[:], &pool)
		if len(pool.Volumes) == 0 {
			v.wrong("a pool needs volumes, such as volumes: [disk]")
		}
		f.Pools = append(f.Pools, pool)
	})
}

// readMembers reads the volumes of a pool.
func readMembers(v value, pool *Pool) {
	for _, element := range v.list() {
		name, ok := element.text()
		if !ok {
			continue
		}
		if slices.Contains(pool.Volumes, name) {
			element.wrong("volume %q stands here twice", name)
			continue
		}
		if _, ok := v.r.file.volume(name); !ok {
			element.unknownVolume(name)
		}
		pool.Volumes = append(pool.Volumes, name)
	}
}

func (v value) unknownVolume(name string) {
	var known []string
	for _, volume := range v.r.file.Volumes {
		known = append(known, volume.Name)
	}
	text := fmt.Sprintf("there is no volume %q", shorten(name))
	if near := nearest(name, known); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	} else if len(known) > 0 {
		text += "; there are only: " + join(known)
	} else {
		text += " in this file"
	}
	v.wrong("%s", text)
}

// volumes reads what a job writes to: names of volumes, pool:NAME, paths, URLs.
// A path has a slash in it, so that a mistyped name is not taken for one.
func (v value) volumes() []string {
	var all []string
	for _, element := range v.list() {
		for _, location := range element.locations() {
			if slices.Contains(all, location) {
				element.wrong("%s is written to already", location)
				continue
			}
			all = append(all, location)
		}
	}
	return all
}

func (v value) locations() []string {
	text, ok := v.text()
	if !ok {
		return nil
	}
	if name, ok := strings.CutPrefix(text, "pool:"); ok {
		for _, pool := range v.r.file.Pools {
			if pool.Name == name {
				return v.r.file.locations(pool)
			}
		}
		v.wrong("there is no pool %q in this file", shorten(name))
		return nil
	}
	if volume, ok := v.r.file.volume(text); ok {
		return []string{volume.Location}
	}
	if !strings.ContainsAny(text, `/\:`) && text != "." && text != ".." {
		v.unknownVolume(text)
		v.r.problems[len(v.r.problems)-1].Text += " (a directory is written with a slash: ./" + shorten(text) + ")"
		return nil
	}
	place, ok := v.place()
	if !ok {
		return nil
	}
	return []string{place}
}

func (r *reader) readDefaults(v value) {
	r.defaults.at = fields(v, jobKeys(), &r.defaults)
	r.defaults.check(v, "defaults")
}

func readJobs(v value, f *File) {
	v.named("job", func(name string, v value) {
		job := v.r.defaults.clone()
		job.Name = name
		before := len(v.r.problems)
		maps.Copy(job.at, fields(v, slices.Concat(ownKeys[:], jobKeys()), &job))
		// One problem is enough: a value that could not be read is not called missing.
		whole := len(v.r.problems) == before
		if _, given := job.at["sources"]; len(job.Sources) == 0 && (whole || (v.isMapping() && !given)) {
			v.missing(job.at, "sources", "a job needs sources, such as sources: [/srv/data]")
		}
		if _, given := job.at["to"]; len(job.To) == 0 && (whole || (v.isMapping() && !given)) {
			v.missing(job.at, "to", "a job needs a volume to write to, such as to: [/mnt/disk]")
		}
		job.check(v, "jobs."+name)
		f.Jobs = append(f.Jobs, job)
	})
}

// missing notes that a value is needed, at its key where that stands there.
func (v value) missing(at map[string]Position, key, text string) {
	place, ok := at[key]
	if !ok {
		place = v.position()
	}
	v.r.problems = append(v.r.problems, Problem{v.r.path, place, v.name + ": " + text})
}

// check looks at values that depend on each other.
func (j *Job) check(v value, name string) {
	if place, both := j.at["direct"]; both && j.Direct && (j.Stage != "" || len(j.To) > 1) {
		v.r.problems = append(v.r.problems, Problem{v.r.path, place, name + ".direct: it goes with one volume and without a stage"})
	}
	if place, given := j.at["forget_after"]; given && j.ForgetAfter && j.Keep.Empty() && j.Name != "" {
		v.r.problems = append(v.r.problems, Problem{v.r.path, place, name + ".forget_after: it needs keep, which says what stays"})
	}
	at, ok := j.at["level"]
	if !ok {
		return // the default suits every codec
	}
	if j.Level == 0 {
		v.r.problems = append(v.r.problems, Problem{v.r.path, at, name + ".level: levels begin with 1"})
	} else if _, err := codec.CheckLevel(j.Compress, j.Level); err != nil {
		v.r.problems = append(v.r.problems, Problem{v.r.path, at, name + ".level: " + err.Error()})
	}
}

// builtIn is a job before any file said something.
func builtIn() Job {
	return Job{
		Compress: DefaultCompress, Level: DefaultLevel, ArchiveSize: DefaultArchiveSize,
		Attempts: DefaultAttempts, StallWarn: DefaultStallWarn, StallFail: DefaultStallFail, at: map[string]Position{},
	}
}

// clone copies a job; its lists are replaced, never changed, so they are shared.
func (j Job) clone() Job {
	j.at = maps.Clone(j.at)
	return j
}

func join(names []string) string { return strings.Join(names, ", ") }

// leastTimeout is the shortest life of a command.
const leastTimeout = time.Second
