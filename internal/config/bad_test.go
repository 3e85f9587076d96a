package config

import (
	"errors"
	"strings"
	"testing"

	"capstan"
)

// Each file has one problem, which is told with its line, column and text.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	const job = "jobs:\n  j:\n    sources: [/s]\n    to: [/v]\n"
	for _, test := range []struct{ name, text, want string }{
		{"unknown key", "memroy: 64MiB\n", `1:1: unknown key "memroy"; did you mean "memory"?`},
		{"unknown key, none near", "schedule: daily\n", `1:1: unknown key "schedule"; known here: catalog, defaults, home, jobs, log_file, memory, pools, volumes`},
		{"unknown key of a job", job + "    excludes: [a]\n", `5:5: unknown key "excludes" in jobs.j; did you mean "exclude"?`},
		{"feature to come", job + "    schedule: 7\n", `5:5: unknown key "schedule" in jobs.j; known here:`},
		{"keep is a number", job + "    keep: 7\n", `5:11: jobs.j.keep: must be a mapping of keys to values; this is "7"`},
		{"keep of nothing", job + "    keep: {}\n", `5:11: jobs.j.keep: give at least one rule, such as last: 7`},
		{"keep none", job + "    keep: {last: 0, daily: 3}\n", `5:18: jobs.j.keep.last: give a number from 1, or leave the key out`},
		{"keep with a unit", job + "    keep: {daily: 3d}\n", `5:19: jobs.j.keep.daily: must be a whole number`},
		{"keep within a number", job + "    keep: {within: 30}\n", `5:20: jobs.j.keep.within: "30" is no span of time`},
		{"keep misspelt", job + "    keep: {dayly: 3}\n", `5:12: unknown key "dayly" in jobs.j.keep; did you mean "daily"?`},
		{"forget without keep", job + "    forget_after: true\n", `5:5: jobs.j.forget_after: it needs keep, which says what stays`},
		{"key of another level", "sources: [/x]\n", `1:1: unknown key "sources"`},
		{"sources in defaults", "defaults:\n  sources: [/x]\n", `2:3: unknown key "sources" in defaults`},
		{"duplicate key", job + "    to: [/w]\n", `5:5: jobs.j: key "to" stands here a second time; the first is in line 4`},
		{"duplicate job", job + "  j: {sources: [/t], to: [/v]}\n", `5:3: jobs: key "j" stands here a second time; the first is in line 2`},
		{"merge key", "volumes: &x {a: {location: /a}}\npools:\n  <<: *x\n", `3:3: "<<" cannot be the name of a pool`},
		{"key that is a list", "? [a]\n: b\n", `1:3: a key must be a word; this is a list`},
		{"whole is a list", "- jobs\n", `1:1: must be a mapping of keys to values; this is a list`},
		{"whole is a text", "jobs\n", `1:1: must be a mapping of keys to values; this is "jobs"`},
		{"job is a text", "jobs:\n  j: /srv\n", `2:6: jobs.j: must be a mapping of keys to values; this is "/srv"`},
		{"sources is a text", "jobs:\n  j:\n    sources: /s\n    to: [/v]\n", `3:14: jobs.j.sources: must be a list, such as [one, two]; this is "/s"`},
		{"sources is a mapping", "jobs:\n  j:\n    sources: {a: b}\n    to: [/v]\n", `3:14: jobs.j.sources: must be a list`},
		{"source is a list", "jobs:\n  j:\n    sources: [/s, [/t]]\n    to: [/v]\n", `3:19: jobs.j.sources: must be a text; this is a list`},
		{"source is a truth", "jobs:\n  j:\n    sources: [yes, true]\n    to: [/v]\n", `3:20: jobs.j.sources: must be a text; this is "true" (put it in quotes if it is one)`},
		{"source is empty", "jobs:\n  j:\n    sources: ['']\n    to: [/v]\n", `3:15: jobs.j.sources: must not be empty`},
		{"source with NUL", "jobs:\n  j:\n    sources: [\"/a\\0b\"]\n    to: [/v]\n", `3:15: jobs.j.sources: must not hold a NUL character`},
		{"source with tilde", "jobs:\n  j:\n    sources: [~/x]\n    to: [/v]\n", `3:15: jobs.j.sources: ~ is not replaced here`},
		{"no sources", "jobs:\n  j:\n    to: [/v]\n", `3:5: jobs.j: a job needs sources`},
		{"empty sources", "jobs:\n  j:\n    sources: []\n    to: [/v]\n", `3:5: jobs.j: a job needs sources`},
		{"null sources", "jobs:\n  j:\n    sources:\n    to: [/v]\n", `3:5: jobs.j: a job needs sources`},
		{"no volume", "jobs:\n  j:\n    sources: [/s]\n", `3:5: jobs.j: a job needs a volume`},
		{"unknown volume", "volumes: {disk: {location: /d}}\njobs:\n  j:\n    sources: [/s]\n    to: [dsik]\n", `5:10: jobs.j.to: there is no volume "dsik"; did you mean "disk"? (a directory is written with a slash: ./dsik)`},
		{"volume twice", "volumes: {disk: {location: /d}}\npools: {p: {volumes: [disk]}}\njobs:\n  j:\n    sources: [/s]\n    to: ['pool:p', disk]\n", `6:20: jobs.j.to: /d is written to already`},
		{"unknown pool", "jobs:\n  j:\n    sources: [/s]\n    to: ['pool:p']\n", `4:10: jobs.j.to: there is no pool "p" in this file`},
		{"pool of an unknown volume", "volumes:\n  disk: {location: /d}\npools:\n  p: {volumes: [tape]}\n", `4:17: pools.p.volumes: there is no volume "tape"; there are only: disk`},
		{"pool of no volume", "pools:\n  p: {}\n", `2:6: pools.p: a pool needs volumes`},
		{"pool with one twice", "volumes: {a: {location: /a}}\npools:\n  p: {volumes: [a, a]}\n", `3:20: pools.p.volumes: volume "a" stands here twice`},
		{"volume without location", "volumes:\n  a: {}\n", `2:6: volumes.a: a volume needs its location`},
		{"name of a job", "jobs:\n  'a b': {sources: [/s], to: [/v]}\n", `2:3: "a b" cannot be the name of a job`},
		{"name of an ad hoc job", "jobs:\n  adhoc-1: {sources: [/s], to: [/v]}\n", `2:3: "adhoc-1" cannot be the name of a job`},
		{"long name", "jobs:\n  " + strings.Repeat("n", 65) + ": {sources: [/s], to: [/v]}\n", `2:3: "nnn`},
		{"size", job + "    archive_size: 4 gigs\n", `5:19: jobs.j.archive_size: must be a size, such as 512MiB or 4GiB; this is "4 gigs"`},
		{"negative size", job + "    archive_size: -4\n", `5:19: jobs.j.archive_size: must be a size`},
		{"little size", job + "    archive_size: 3\n", `5:19: jobs.j.archive_size: 3 is too little; give at least 1.0 MiB`},
		{"little memory", "memory: 1MiB\n", `1:9: memory: 1MiB is too little; give at least 8.0 MiB`},
		{"size is a list", "memory: [1]\n", `1:9: memory: must be a size`},
		{"size is nothing", "memory:\n", `1:8: memory: must be a size, such as 512MiB or 4GiB; this is nothing`},
		{"duration", job + "    timeout: 10\n", `5:14: jobs.j.timeout: must be a time span, such as 90s, 10m or 2h30m; this is "10"`},
		{"negative duration", job + "    timeout: -1h\n", `5:14: jobs.j.timeout: -1h is too short; give at least 0s`},
		{"codec", job + "    compress: lzma\n", `5:15: jobs.j.compress: must be zstd, gzip or none; this is "lzma"`},
		{"level", job + "    level: fast\n", `5:12: jobs.j.level: must be a whole number; this is "fast"`},
		{"level of the codec", job + "    compress: gzip\n    level: 12\n", `6:5: jobs.j.level: gzip has no level 12 (1 to 9)`},
		{"level of defaults for the codec of a job", "defaults: {level: 12}\n" + job + "    compress: gzip\n", `1:12: jobs.j.level: gzip has no level 12`},
		{"level 0", job + "    level: 0\n", `5:5: jobs.j.level: levels begin with 1`},
		{"truth", job + "    one_file_system: yes\n", `5:22: jobs.j.one_file_system: must be true or false; this is "yes"`},
		{"truth in quotes", job + "    exclude_caches: 'true'\n", `5:21: jobs.j.exclude_caches: must be true or false`},
		{"tag", "memory: !!str 64MiB\n", `1:9: memory: tags such as !!str have no use here`},
		{"command is missing", job + "    pre: [{timeout: 3s}]\n", `5:11: jobs.j.pre: a command is missing`},
		{"command is empty", job + "    pre: [{command: []}]\n", `5:21: jobs.j.pre.command: the command is empty`},
		{"command is blank", job + "    pre: [' ']\n", `5:11: jobs.j.pre: the command is empty`},
		{"command is a truth", job + "    pre: [true]\n", `5:11: jobs.j.pre: must be a text; this is "true"`},
		{"hook timeout", job + "    pre: [{command: x, timeout: 0s}]\n", `5:33: jobs.j.pre.timeout: 0s is too short; give at least 1s`},
		{"policy", job + "    pre: [{command: x, on_failure: ignore}]\n", `5:36: jobs.j.pre.on_failure: must be fail or warn; this is "ignore"`},
		{"when before", job + "    pre: [{command: x, when: always}]\n", `5:24: unknown key "when" in jobs.j.pre; known here: command, env, on_failure, timeout`},
		{"when after", job + "    post: [{command: x, when: never}]\n", `5:31: jobs.j.post.when: must be always, success or failure; this is "never"`},
		{"variable", job + "    pre: [{command: x, env: {A-B: c}}]\n", `5:30: jobs.j.pre.env: a variable's name has letters, digits and '_' only`},
		{"variable of the run", job + "    pre: [{command: x, env: {CAPSTAN_JOB: c}}]\n", `5:30: jobs.j.pre.env: variables that begin with CAPSTAN_ are set by the run`},
		{"secret of two places", job + "    pre: [{command: x, env: {A: {file: f, env: E}}}]\n", `5:33: jobs.j.pre.env.A: say where the secret is: file, env or credential`},
		{"secret of no place", job + "    pre: [{command: x, env: {A: {}}}]\n", `5:33: jobs.j.pre.env.A: say where the secret is`},
		{"credential", job + "    pre: [{command: x, env: {A: {credential: a/b}}}]\n", `5:46: jobs.j.pre.env.A.credential: a credential's name is that of a file`},
		{"two documents", "memory: 64MiB\n---\nmemory: 64MiB\n", `2:1: a second document begins here`},
		{"no YAML", "jobs:\n\tj: 1\n", `2: this is no YAML: found character that cannot start any token`},
		{"no YAML in line 3", "jobs:\n  j: 1\n   k: 2\n", `3: this is no YAML: mapping values are not allowed in this context`},
		{"no UTF-8", "memory: \xff\n", `: this is no YAML: invalid leading UTF-8 octet`},
		{"alias of itself", "jobs:\n  j: &j\n    sources: [/s]\n    to: *j\n", `2:6: jobs.j.to: must be a list`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("/etc/c.yaml", []byte(test.text))
			problems, ok := errors.AsType[Problems](err)
			if !ok || !errors.Is(err, capstan.ErrUsage) {
				t.Fatalf("got %v", err)
			}
			if len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), strings.Replace("/etc/c.yaml:"+test.want, ":: ", ": ", 1)) {
				t.Errorf("got\n%v\nwant\n/etc/c.yaml:%s", err, test.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add(Starter())
	for _, seed := range []string{"", "a", "jobs: {a: {sources: [/s], to: [/v]}}", "jobs: &a {b: *a}", "a: 1\n---\n", "\t", "? [a]\n: b", "x: !!binary ="} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("/etc/c.yaml", data)
		if err != nil {
			problems, ok := errors.AsType[Problems](err)
			if !ok || len(problems) == 0 || !errors.Is(err, capstan.ErrUsage) {
				t.Errorf("refused without a problem: %v", err)
			}
			return
		}
		for _, job := range file.Jobs {
			if job.Name == "" || len(job.Sources) == 0 || len(job.To) == 0 || job.Level < 1 || job.ArchiveSize < leastArchive || job.Timeout < 0 {
				t.Errorf("accepted %+v", job)
			}
			for _, hook := range append(job.Pre, job.Post...) {
				if (len(hook.Args) == 0) == (hook.Script == "") || hook.Timeout < leastTimeout {
					t.Errorf("accepted %+v", hook)
				}
			}
		}
	})
}
