package pg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"capstan/internal/pgdata"
	"capstan/internal/process"
)

// clockTicks is the unit of start times in /proc, per second: USER_HZ, 100 on
// every architecture that PostgreSQL runs on.
const clockTicks = 100

// ownerOf gives whom a directory belongs to, with all his groups: the server may
// read its key through one of them.
func ownerOf(dir string) (process.Account, string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return process.Account{}, "", err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return process.Account{}, "", ErrPlatform
	}
	account := process.Account{UID: stat.Uid, GID: stat.Gid}
	name := strconv.Itoa(int(stat.Uid))
	known, err := user.LookupId(name)
	if err != nil {
		return account, name, nil //nolint:nilerr // a user without a name has no groups either
	}
	if gid, err := strconv.ParseUint(known.Gid, 10, 32); err == nil {
		account.GID = uint32(gid)
	}
	groups, err := known.GroupIds()
	if err != nil {
		return account, known.Username, nil //nolint:nilerr // his own group is enough for all but keys
	}
	for _, group := range groups {
		if gid, err := strconv.ParseUint(group, 10, 32); err == nil && uint32(gid) != account.GID {
			account.Groups = append(account.Groups, uint32(gid))
		}
	}
	return account, known.Username, nil
}

// look reads one process; ErrGone if there is none.
func (c *Cluster) look(pid int) (Process, error) {
	dir := filepath.Join(c.proc, strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return Process{}, ErrGone
	}
	if err != nil {
		return Process{}, err
	}
	p, err := parseStat(stat)
	if err != nil {
		return Process{}, fmt.Errorf("%s/stat: %w", dir, err)
	}
	title, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ESRCH) {
		return Process{}, err
	}
	p.Title = string(title)
	return p, nil
}

// all gives the processes that keep says yes to, by number.
func (c *Cluster) all(keep func(Process) bool) ([]Process, error) {
	names, err := os.ReadDir(c.proc)
	if err != nil {
		return nil, err
	}
	var found []Process
	for _, name := range names {
		pid, err := strconv.Atoi(name.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(c.proc, name.Name(), "stat"))
		if err != nil {
			continue // it ended meanwhile
		}
		p, err := parseStat(stat)
		if err != nil || !keep(p) {
			continue
		}
		if p, err = c.look(pid); err == nil && keep(p) {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b Process) int { return a.PID - b.PID })
	return found, nil
}

// Server finds out whether a server runs on the cluster.
func (c *Cluster) Server() (Server, error) {
	file, found, err := c.PIDFile()
	if err != nil || !found {
		return Server{Presence: Absent}, err
	}
	server := Server{File: file}
	p, err := c.look(file.PID)
	why := ""
	switch {
	case errors.Is(err, ErrGone) || (err == nil && p.Dead):
		server.Presence = Dead
	case err != nil:
		return Server{}, err
	default:
		why, err = c.foreign(p, file)
		if err != nil {
			return Server{}, err
		}
		if why == "" {
			server.Presence, server.Process = Alive, p
			return server, nil
		}
		server.Presence, server.Why = Foreign, why
	}
	// The number may be that of another PID namespace, below ours.
	inner, err := c.byInnerPID(file)
	if err != nil || inner == nil {
		return server, err
	}
	return Server{Presence: Alive, File: file, Process: *inner}, nil
}

// foreign says why a process is not the server that the pid file speaks of; empty
// if it is.
func (c *Cluster) foreign(p Process, file pgdata.PIDFile) (string, error) {
	works, err := c.worksHere(p.PID)
	switch {
	case errors.Is(err, ErrGone):
		return "it has just ended", nil
	case errors.Is(err, fs.ErrPermission):
		return "it may not be looked at except by " + c.OwnerName + " and root", nil
	case err != nil:
		return "", fmt.Errorf("look at the directory of process %d: %w", p.PID, err)
	case !works:
		return "it does not work in this directory", nil
	}
	if strings.HasPrefix(p.Title, "postgres: ") {
		return "it is no postmaster but a child of one", nil
	}
	if exe, err := os.Readlink(filepath.Join(c.proc, strconv.Itoa(p.PID), "exe")); err == nil && !isPostgres(exe) {
		return "it runs " + exe, nil
	}
	if file.Started.IsZero() {
		return "", nil // the line is just being written
	}
	started, err := c.startTime(p)
	if err != nil {
		return "", err
	}
	if off := started.Sub(file.Started).Abs(); off > startSlack {
		return fmt.Sprintf("it was started at %s, the server at %s", started.Local().Format(time.DateTime), file.Started.Local().Format(time.DateTime)), nil
	}
	return "", nil
}

// isPostgres reports whether a program may be the server; one that was replaced by
// an upgrade is marked by the system.
func isPostgres(exe string) bool {
	base := filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
	return base == "postgres" || base == "postmaster" || base == "edb-postgres"
}

// worksHere reports whether a process has PGDATA as its working directory, as
// every process of its server has and the commands that it starts. It compares
// the directory itself, not its name.
func (c *Cluster) worksHere(pid int) (bool, error) {
	theirs, err := os.Stat(filepath.Join(c.proc, strconv.Itoa(pid), "cwd"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return false, ErrGone
	}
	if err != nil {
		return false, err
	}
	ours, err := os.Stat(c.Dir)
	return err == nil && os.SameFile(ours, theirs), err
}

// startTime is when a process was started.
func (c *Cluster) startTime(p Process) (time.Time, error) {
	data, err := os.ReadFile(filepath.Join(c.proc, "stat"))
	if err != nil {
		return time.Time{}, err
	}
	for line := range strings.Lines(string(data)) {
		text, ok := strings.CutPrefix(line, "btime ")
		if !ok {
			continue
		}
		boot, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil {
			return time.Time{}, err
		}
		return time.Unix(boot, 0).Add(time.Duration(p.Start) * (time.Second / clockTicks)), nil //nolint:gosec // centuries
	}
	return time.Time{}, errors.New("/proc/stat has no btime")
}

// byInnerPID looks for the server among the processes of PID namespaces below
// ours: one that has the number of the pid file in its innermost namespace.
func (c *Cluster) byInnerPID(file pgdata.PIDFile) (*Process, error) {
	found, err := c.all(func(p Process) bool { return !p.Dead && p.PID != file.PID })
	if err != nil {
		return nil, err
	}
	for _, p := range found {
		// The directory first: it is cheap, and few processes work there.
		if works, err := c.worksHere(p.PID); err != nil || !works {
			continue
		}
		if c.innerPID(p.PID) != file.PID {
			continue
		}
		if why, err := c.foreign(p, file); err == nil && why == "" {
			return &p, nil
		}
	}
	return nil, nil
}

// innerPID is a process's number in its innermost namespace; 0 if that is ours or
// cannot be told.
func (c *Cluster) innerPID(pid int) int {
	data, err := os.ReadFile(filepath.Join(c.proc, strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "NSpid:"); ok {
			numbers := strings.Fields(rest)
			if len(numbers) < 2 {
				return 0
			}
			inner, err := strconv.Atoi(numbers[len(numbers)-1])
			if err != nil {
				return 0
			}
			return inner
		}
	}
	return 0
}

// Children are the processes that the postmaster has started, zombies left out.
func (c *Cluster) Children(server Server, clusterName string) ([]Child, error) {
	if server.Presence != Alive {
		return nil, nil
	}
	found, err := c.below(server.Process.PID)
	children := make([]Child, 0, len(found))
	for _, p := range found {
		children = append(children, Child{Process: p, Role: RoleOf(p.Title, clusterName)})
	}
	return children, err
}

// Descendants are the processes below a process: of an archiver, its command. Each
// stands behind the one that it was started by.
func (c *Cluster) Descendants(pid int) ([]Process, error) {
	var found []Process
	for next := -1; next < len(found); next++ {
		parent := pid
		if next >= 0 {
			parent = found[next].PID
		}
		children, err := c.below(parent)
		if err != nil {
			return nil, err
		}
		for _, p := range children {
			if !slices.ContainsFunc(found, p.same) {
				found = append(found, p)
			}
		}
	}
	return found, nil
}

// below are the living children of a process. The system keeps a list of them for
// each thread; where it does not show it, every process is asked for its parent.
func (c *Cluster) below(pid int) ([]Process, error) {
	threads := filepath.Join(c.proc, strconv.Itoa(pid), "task")
	names, err := os.ReadDir(threads)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil, nil // it has ended; its children are another's
	}
	var list []byte
	for _, name := range names {
		some, readErr := os.ReadFile(filepath.Join(threads, name.Name(), "children"))
		list, err = append(append(list, some...), ' '), errors.Join(err, readErr)
	}
	if err != nil {
		return c.all(func(p Process) bool { return p.PPID == pid && !p.Dead })
	}
	var found []Process
	for field := range strings.FieldsSeq(string(list)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("list of children of process %d: %w", pid, err)
		}
		p, err := c.look(child)
		if err == nil && p.PPID == pid && !p.Dead {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b Process) int { return a.PID - b.PID })
	return found, nil
}

// Strays are processes that work in PGDATA though no server does: archive commands
// whose archiver was killed, or children of a killed postmaster. A person's shell
// that stands in the directory has a terminal, and this program is none.
func (c *Cluster) Strays(server Server) ([]Process, error) {
	self := os.Getpid()
	found, err := c.all(func(p Process) bool {
		return !p.Dead && !p.Terminal && p.PID != self && p.PID != 1
	})
	if err != nil {
		return nil, err
	}
	var ours []int
	if server.Presence == Alive {
		ours = append(ours, server.Process.PID)
		below, err := c.Descendants(server.Process.PID)
		if err != nil {
			return nil, err
		}
		for _, p := range below {
			ours = append(ours, p.PID)
		}
	}
	return slices.DeleteFunc(found, func(p Process) bool {
		if slices.Contains(ours, p.PID) {
			return true
		}
		works, err := c.worksHere(p.PID)
		return err != nil || !works || !c.orphaned(p)
	}), nil
}

// orphaned reports whether the leader of a process's session is gone. Every child
// of a postmaster leads a session, and what it starts belongs to that one; the
// child itself is an orphan when its parent is no postmaster.
func (c *Cluster) orphaned(p Process) bool {
	if strings.HasPrefix(p.Title, "postgres: ") {
		return true // and no child of a living server: Strays has left those out
	}
	leader, err := c.look(p.Session)
	return err != nil || leader.Dead || strings.HasPrefix(leader.Title, "postgres: ")
}

// FromServer reports whether a process was started by a PostgreSQL server: its
// environment then has what the server sets for itself when it starts
// (set_pglocale_pgservice), and hands on to every command.
func (c *Cluster) FromServer(p Process) bool {
	environment, err := os.ReadFile(filepath.Join(c.proc, strconv.Itoa(p.PID), "environ"))
	if err != nil {
		return false
	}
	for variable := range strings.SplitSeq(string(environment), "\x00") {
		if strings.HasPrefix(variable, "PGSYSCONFDIR=") {
			return true
		}
	}
	return false
}

// OpenPaths are the files and directories that a process has open.
func (c *Cluster) OpenPaths(pid int) ([]string, error) {
	dir := filepath.Join(c.proc, strconv.Itoa(pid), "fd")
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, name := range names {
		if path, err := os.Readlink(filepath.Join(dir, name.Name())); err == nil && filepath.IsAbs(path) {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// commandOf is the program that a postmaster runs and its arguments. After an
// upgrade of the package it is the new program, which reads the same configuration.
func (c *Cluster) commandOf(pid int) (path string, args []string, err error) {
	dir := filepath.Join(c.proc, strconv.Itoa(pid))
	if path, err = os.Readlink(filepath.Join(dir, "exe")); err != nil {
		return "", nil, err
	}
	path = strings.TrimSuffix(path, " (deleted)")
	if _, err := os.Stat(path); err != nil {
		return "", nil, err
	}
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return "", nil, err
	}
	words := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
	return path, c.withData(words[1:]), nil
}

// withData completes a server's arguments by where its data or configuration is. A
// relative path was one from where the server was started, which nobody knows.
func (c *Cluster) withData(words []string) []string {
	args := []string{"-D", c.Dir}
	for i := 0; i < len(words); i++ {
		dir, ok := strings.CutPrefix(words[i], "-D")
		switch {
		case !ok:
			args = append(args, words[i])
			continue
		case dir == "" && i+1 < len(words):
			i++
			dir = words[i]
		}
		if filepath.IsAbs(dir) {
			args[1] = dir
		}
	}
	return args
}

// Gone waits until a process has ended, a zombie counts, or ctx ends.
func (c *Cluster) Gone(ctx context.Context, p Process, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		now, err := c.look(p.PID)
		if errors.Is(err, ErrGone) || (err == nil && (now.Dead || now.Start != p.Start)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
