package pg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"capstan"
	"capstan/internal/process"
)

// Version is that of a server or of a program: 15.20 is major 15, minor 20.
type Version struct{ Major, Minor int }

// String gives "15.20".
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// versionPattern finds the number in "pg_dump (PostgreSQL) 15.20 (Debian …)" and in
// what a server reports; a test release ("19beta1") counts as minor 0.
var versionPattern = regexp.MustCompile(`(?:^|\s)(\d+)(?:\.(\d+))?(?:(?:beta|rc|devel)\d*)?(?:\s|$)`)

// ParseVersion reads a version as servers and programs write it, 10 and later.
func ParseVersion(text string) (Version, error) {
	found := versionPattern.FindStringSubmatch(text)
	if found == nil {
		return Version{}, fmt.Errorf("%q says no version of PostgreSQL", text)
	}
	major, err := strconv.Atoi(found[1])
	minor := 0
	if err == nil && found[2] != "" {
		minor, err = strconv.Atoi(found[2])
	}
	return Version{Major: major, Minor: minor}, err
}

// round is when a version was released, in quarters: minor releases of all majors
// come out together (https://www.postgresql.org/developer/roadmap/), so that 18.6,
// 17.12 and 15.20 are of one day. known is false for a major that is not counted yet.
func (v Version) round() (quarter int, known bool) {
	first, known := map[int]int{13: 22, 14: 19, 15: 14, 16: 10, 17: 6, 18: 0}[v.Major]
	return v.Minor - first, known
}

// OlderThan reports whether a program of version v came out before a server of
// another version: then it does not know what that server may have in its catalogs.
func (v Version) OlderThan(server Version) bool {
	if v.Major == server.Major {
		return v.Minor < server.Minor
	}
	mine, known := v.round()
	its, knownToo := server.round()
	return v.Major < server.Major || known && knownToo && mine < its
}

// Client is a client program that is installed on this machine.
type Client struct {
	Path    string
	Version Version
}

// clientDirs are where packages put programs of several majors beside each other.
var clientDirs = [...]string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql*/bin", "/opt/homebrew/opt/postgresql@*/bin", `C:\Program Files\PostgreSQL\*\bin`}

const versionPatience = 10 * time.Second

// ClientAt asks the program at path for its version.
func ClientAt(ctx context.Context, path string) (Client, error) {
	result, err := process.Run(ctx, process.Command{Path: path, Args: []string{"--version"}, Timeout: versionPatience})
	if err != nil {
		return Client{}, &capstan.Error{Op: "ask for the version of", Object: path, Err: err}
	}
	version, err := ParseVersion(string(result.Stdout))
	if err == nil && !strings.Contains(string(result.Stdout), "(PostgreSQL)") {
		err = fmt.Errorf("%q says no version of PostgreSQL", strings.TrimSpace(string(result.Stdout)))
	}
	if err != nil {
		return Client{}, &capstan.Error{Op: "ask for the version of", Object: path, Err: err}
	}
	return Client{Path: path, Version: version}, nil
}

// FindClient looks for a client program (pg_dump) that fits a server: of its major,
// the newest minor; else of the next newer major. One that is OlderThan the server
// does not fit. It looks in PATH and where packages put programs, and runs each that
// it finds for its version.
func FindClient(ctx context.Context, name string, server Version) (Client, error) {
	var found []Client
	for _, path := range clientPaths(name) {
		if ctx.Err() != nil {
			return Client{}, context.Cause(ctx)
		}
		if client, err := ClientAt(ctx, path); err == nil { // one that does not run is none
			found = append(found, client)
		}
	}
	return choose(name, server, found)
}

// choose takes the best of what was found.
func choose(name string, server Version, found []Client) (Client, error) {
	slices.SortStableFunc(found, func(a, b Client) int {
		if a.Version.Major != b.Version.Major {
			return a.Version.Major - b.Version.Major
		}
		return b.Version.Minor - a.Version.Minor
	})
	var older []string
	for _, client := range found {
		if !client.Version.OlderThan(server) {
			return client, nil
		}
		older = append(older, fmt.Sprintf("%s is %s", client.Path, client.Version))
	}
	reason := errors.New("none is installed")
	if len(older) > 0 {
		reason = fmt.Errorf("what is installed is older than the server: %s", strings.Join(older, ", "))
	}
	return Client{}, &capstan.Error{
		Op: "find", Object: fmt.Sprintf("%s for a server of version %s", name, server), Err: reason,
		Next: fmt.Sprintf("install the clients of PostgreSQL %d, up to date", server.Major),
	}
}

// clientPaths are the files of that name that may be programs, each once.
func clientPaths(name string) []string {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range clientDirs {
		matches, _ := filepath.Glob(pattern) // the patterns are right
		dirs = append(dirs, matches...)
	}
	var paths, seen []string
	for _, dir := range dirs {
		for _, suffix := range [...]string{"", ".exe"} {
			path := filepath.Join(dir, name+suffix)
			real, err := filepath.EvalSymlinks(path)
			if err == nil && !slices.Contains(seen, real) {
				paths, seen = append(paths, path), append(seen, real)
			}
		}
	}
	return paths
}
