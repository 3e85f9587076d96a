package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"capstan"
	"capstan/internal/policy"
)

const good = `
home: state
catalog: /var/lib/c.db
log_file: logs/c.log
memory: 64MiB
volumes:
  disk: {location: /mnt/disk}
  nas: {location: nas/backup}
  cloud: {location: "s3://bucket/prefix?region=x"}
pools:
  both: {volumes: [disk, nas]}
defaults:
  to: [disk]
  compress: gzip
  level: 9
  exclude: ['*.tmp']
  timeout: 1h
  post: [sync]
  keep: {last: 3, within: 1y6m}
  forget_after: true
jobs:
  all-defaults:
    sources: [data]
  own:
    sources: [/srv/a, ./b, 'postgres://u@h/db', 'C:x']
    to: ['pool:both', ./here]
    compress: zstd
    level: 12
    exclude: []
    exclude_from: [ex/cludes]
    one_file_system: true
    exclude_caches: false
    archive_size: 512MiB
    memory: 16777216
    stage: staged
    stage_size: 50GiB
    limit_rate: 20MiB
    attempts: 2
    stall_warn: 30s
    stall_fail: 0s
    timeout: 0s
    keep: {daily: 14, weekly: 8, monthly: 12, yearly: 5}
    forget_after: false
    pre:
      - echo text
      - command: [./bin/prepare, 3, '', "a b"]
        timeout: 1m30s
        on_failure: warn
        env: {PLAIN: 2, EMPTY: '', FILE: {file: pw}, VAR: {env: X}, CRED: {credential: c}}
    post:
      - command: [notify]
        when: failure
        on_failure: fail
`

func parseGood(t *testing.T, text string) *File {
	t.Helper()
	file, err := Parse("/etc/capstan/capstan.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestParse(t *testing.T) {
	t.Parallel()
	file := parseGood(t, good)
	for i := range file.Jobs {
		file.Jobs[i].at = nil
	}
	post := NewHook(PostHook, "sync")
	post.Dir = "/etc/capstan"
	pre := NewHook(PreHook, "echo text")
	pre.Dir = "/etc/capstan"
	want := &File{
		Path: "/etc/capstan/capstan.yaml", Home: "/etc/capstan/state", Catalog: "/var/lib/c.db", LogFile: "/etc/capstan/logs/c.log",
		Memory: 64 * capstan.MiB,
		Volumes: []Volume{
			{"disk", "/mnt/disk"},
			{"nas", "/etc/capstan/nas/backup"},
			{"cloud", "s3://bucket/prefix?region=x"},
		},
		Pools: []Pool{{Name: "both", Volumes: []string{"disk", "nas"}}},
		Jobs: []Job{
			{
				Name: "all-defaults", Sources: []string{"/etc/capstan/data"}, To: []string{"/mnt/disk"}, Exclude: []string{"*.tmp"},
				Compress: capstan.CodecGzip, Level: 9, ArchiveSize: DefaultArchiveSize, Timeout: time.Hour,
				Attempts: 5, StallWarn: time.Minute, StallFail: 15 * time.Minute, Post: []Hook{post},
				Keep: policy.Rules{Last: 3, Within: policy.Span{Years: 1, Months: 6}}, ForgetAfter: true,
			},
			{
				Name:    "own",
				Sources: []string{"/srv/a", "/etc/capstan/b", "postgres://u@h/db", "/etc/capstan/C:x"},
				To:      []string{"/mnt/disk", "/etc/capstan/nas/backup", "/etc/capstan/here"}, ExcludeFrom: []string{"/etc/capstan/ex/cludes"},
				OneFileSystem: true, Compress: capstan.CodecZstd, Level: 12, ArchiveSize: 512 * capstan.MiB, Memory: 16 * capstan.MiB,
				Stage: "/etc/capstan/staged", StageSize: 50 * capstan.GiB, LimitRate: 20 * capstan.MiB,
				Attempts: 2, StallWarn: 30 * time.Second, StallFail: 0,
				Keep: policy.Rules{Daily: 14, Weekly: 8, Monthly: 12, Yearly: 5},
				Pre: []Hook{pre, {
					Phase: PreHook, Args: []string{"/etc/capstan/bin/prepare", "3", "", "a b"}, Dir: "/etc/capstan", Timeout: 90 * time.Second,
					OnFailure: PolicyWarn, When: WhenAlways,
					Env: []Variable{
						{Name: "PLAIN", Value: "2"},
						{Name: "EMPTY"},
						{Name: "FILE", Secret: FileSecret("/etc/capstan/pw")},
						{Name: "VAR", Secret: EnvSecret("X")},
						{Name: "CRED", Secret: CredentialSecret("c")},
					},
				}},
				Post: []Hook{{
					Phase: PostHook, Args: []string{"notify"}, Dir: "/etc/capstan", Timeout: DefaultHookTimeout,
					OnFailure: PolicyFail, When: WhenFailure,
				}},
			},
		},
	}
	if !reflect.DeepEqual(file, want) {
		t.Errorf("got\n%+v\nwant\n%+v", file, want)
	}
}

func TestParseNothing(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n", "# a comment\n", "jobs:\n", "jobs: {}\nvolumes: ~\n", "---\n", "{}"} {
		file, err := Parse("/c.yaml", []byte(text))
		if err != nil || len(file.Jobs) != 0 {
			t.Errorf("%q: %+v, %v", text, file, err)
		}
	}
}

func TestAliasesRepeat(t *testing.T) {
	t.Parallel()
	file := parseGood(t, "jobs:\n  a: {sources: &s [/x], to: [/v]}\n  b: {sources: *s, to: [/w]}\n")
	if len(file.Jobs) != 2 || file.Jobs[1].Sources[0] != "/x" || file.Jobs[1].To[0] != "/w" {
		t.Errorf("got %+v", file.Jobs)
	}
}

func TestAliasBombIsBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("defaults:\n  exclude: &x [" + strings.TrimSuffix(strings.Repeat("a,", 20_000), ",") + "]\njobs:\n")
	for i := range 20_000 {
		fmt.Fprintf(&b, "  j%d: {sources: [/s], to: [/t], exclude: *x}\n", i)
	}
	_, err := Parse("/c.yaml", []byte(b.String()))
	if err == nil || !strings.Contains(err.Error(), "more than 200000 values") {
		t.Errorf("got %.200v", err)
	}
}

func TestManyProblemsAreToldInOrder(t *testing.T) {
	t.Parallel()
	_, err := Parse("/c.yaml", []byte("nonsense: 1\njobs:\n  b: {to: [/v]}\n  a: {sources: [/s], to: [/v], level: x}\nmemory: 1\n"))
	problems, ok := errors.AsType[Problems](err)
	if !ok || len(problems) != 4 {
		t.Fatalf("got %v", err)
	}
	for i, line := range []int{1, 3, 4, 5} {
		if problems[i].Line != line {
			t.Errorf("problem %d is in line %d, want %d: %v", i, problems[i].Line, line, problems[i])
		}
	}
	many := "jobs:\n" + strings.Repeat("  - x\n", 3) + strings.Repeat("a: 1\n", 30)
	_, err = Parse("/c.yaml", []byte(many))
	problems, _ = errors.AsType[Problems](err)
	lines := problems.Lines()
	if len(lines) != maxShown+1 || !strings.Contains(lines[maxShown], "more problems") {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
}

func TestFindJobAndPool(t *testing.T) {
	t.Parallel()
	file := parseGood(t, good)
	if job, err := file.Job("own"); err != nil || job.Name != "own" {
		t.Errorf("job: %+v, %v", job, err)
	}
	if volumes, err := file.Pool("both"); err != nil || len(volumes) != 2 {
		t.Errorf("pool: %v, %v", volumes, err)
	}
	for _, test := range []struct {
		file *File
		want string
	}{
		{file, "has only: all-defaults, own; did you mean own?"},
		{&File{Path: "/c.yaml"}, "/c.yaml has no jobs"},
		{&File{}, "capstan init"},
	} {
		_, err := test.file.Job("onw")
		if !errors.Is(err, capstan.ErrNotFound) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %q", err, test.want)
		}
	}
	if _, err := file.Pool("none"); !errors.Is(err, capstan.ErrNotFound) {
		t.Errorf("unknown pool: %v", err)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "capstan.yaml")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("jobs: {a: {sources: [s], to: [./v]}}\n", 0o666)
	file, err := Load(path)
	if err != nil || file.Path != path || file.Jobs[0].Sources[0] != filepath.Join(dir, "s") {
		t.Errorf("got %+v, %v", file, err)
	}
	write("jobs: {a: {sources: [s], to: [./v], pre: [sync]}}\n", 0o666)
	if _, err := Load(path); !errors.Is(err, capstan.ErrRefused) {
		t.Errorf("commands that everybody may write: %v", err)
	}
	write("jobs: {a: {sources: [s], to: [./v], pre: [sync]}}\n", 0o664)
	if _, err := Load(path); err != nil {
		t.Errorf("commands that a group may write: %v", err)
	}
	write("x: "+strings.Repeat("y", maxFile), 0o600)
	if _, err := Load(path); !errors.Is(err, capstan.ErrUsage) || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("too long: %v", err)
	}
	for _, bad := range []string{filepath.Join(dir, "none.yaml"), dir} {
		if _, err := Load(bad); !errors.Is(err, capstan.ErrUsage) || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
