package slowfs

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Served reports whether this process is a server; it has served then, and the
// process shall end. TestMain asks before anything else.
func Served() bool {
	text := os.Getenv(environment)
	if text == "" {
		return false
	}
	// What ends the test's whole process group (Ctrl-C, a time limit) shall not end
	// the server before it has unmounted; that the test is gone it learns by its socket.
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	control, err := newLine(os.NewFile(controlFD, "control"))
	if err != nil {
		return true // nobody is there who could be told
	}
	if err := serve(text, control); err != nil {
		_ = control.out.Encode(report{Error: err.Error()}) // who does not listen knows already
	}
	return true
}

// server is the process's state.
type server struct {
	mu      sync.Mutex
	rules   []*force
	counts  map[Op]int
	outMu   sync.Mutex
	control *line
	record  *recorder // nil: nothing is recorded
}

// serve mounts, answers the test and unmounts when it has gone.
func serve(text string, control *line) error {
	var what setup
	if err := json.Unmarshal([]byte(text), &what); err != nil {
		return err
	}
	s := &server{counts: map[Op]int{}, control: control}
	root, err := s.root(what.Below)
	if err == nil && what.Log != "" {
		s.record, err = newRecorder(what.Log)
	}
	if err != nil {
		return err
	}
	mount, err := fs.Mount(what.Dir, root, &fs.Options{
		NullPermissions: true,
		MountOptions: fuse.MountOptions{
			AllowOther: true, FsName: what.Below, Name: "slowfs", DirectMountStrict: true,
			MaxWrite: 1 << 20, DisableReadDirPlus: true,
			// Else the kernel reads and writes below by itself, past all rules.
			DisabledCapabilities: fuse.CAP_PASSTHROUGH,
		},
	})
	if err != nil {
		return err
	}
	if err := s.say(report{}); err != nil {
		return errors.Join(err, unix.Unmount(what.Dir, unix.MNT_DETACH))
	}
	s.converse()
	s.endAll()
	err = unix.Unmount(what.Dir, unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // the test has done it
		return nil
	}
	_ = mount // its loops end with the process
	return err
}

// converse does what the test asks for until it ends.
func (s *server) converse() {
	for {
		var r request
		if err := s.control.in.Decode(&r); err != nil {
			return
		}
		answer := report{Answer: r.ID}
		switch {
		case r.Add != nil:
			s.mu.Lock()
			s.rules = append(s.rules, &force{Rule: *r.Add, id: r.ID, ended: make(chan struct{})})
			s.mu.Unlock()
		case r.End != 0:
			s.end(r.End)
		case r.Counts:
			s.mu.Lock()
			answer.Counts = maps.Clone(s.counts)
			s.mu.Unlock()
		}
		if s.say(answer) != nil {
			return
		}
	}
}

func (s *server) end(id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = slices.DeleteFunc(s.rules, func(f *force) bool {
		if f.id == id {
			close(f.ended)
		}
		return f.id == id
	})
}

func (s *server) endAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.rules {
		close(f.ended)
	}
	s.rules = nil
}

func (s *server) say(r report) error {
	s.outMu.Lock()
	defer s.outMu.Unlock()
	return s.control.out.Encode(r)
}

// do carries out an operation that moves no bytes, as the rules have it.
func (s *server) do(op Op, name string, work func() syscall.Errno) syscall.Errno {
	return s.move(op, name, 0, func(int) syscall.Errno { return work() })
}

// move carries one operation out as the rules have it. n is the number of bytes
// that it moves; work may be told to move fewer.
func (s *server) move(op Op, name string, n int, work func(n int) syscall.Errno) syscall.Errno {
	s.mu.Lock()
	s.counts[op]++
	var met []*force
	var hits []report
	for _, f := range s.rules {
		if seen, ok := f.meets(op, name); ok {
			met = append(met, f)
			hits = append(hits, report{Rule: f.id, Hit: &Hit{Op: op, Path: name, N: seen}})
		}
	}
	s.mu.Unlock()
	late := slices.ContainsFunc(met, func(f *force) bool { return f.Late })
	var errno syscall.Errno
	if late {
		errno = work(n)
	}
	for i, f := range met {
		_ = s.say(hits[i]) // the test has gone, then
		f.wait(n)
		var failed syscall.Errno
		if n, failed = f.answer(op, n); failed != 0 {
			return failed
		}
	}
	if !late {
		errno = work(n)
	}
	return errno
}
