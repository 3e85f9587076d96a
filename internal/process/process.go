package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"capstan"
)

// lastPatience is how long a child may outlive SIGKILL, and a blocked writer the end
// of its command, before they are left behind.
const lastPatience = 5 * time.Second

// Process is a running child. It must be waited for, by Wait or Stop, which may be
// called from several goroutines and more than once.
type Process struct {
	command Command
	cmd     *exec.Cmd
	group   *group
	started time.Time
	input   *input // nil if stdin is a file or null
	streams []*stream
	out     *tail // nil if stdout is streamed
	err     *tail
	broken  chan error // failures of streams; has room for all of them

	stopOnce sync.Once
	stop     chan struct{} // closed by Stop
	done     chan struct{} // closed when result and failed are set
	result   Result
	failed   error
}

// Run runs a command to its end. The error is a *capstan.Error if it could not be
// started, else an *ExitError if it failed, was ended, or left its output open.
func Run(ctx context.Context, c Command) (Result, error) {
	p, err := Start(ctx, c)
	if err != nil {
		return Result{ExitCode: -1}, err
	}
	<-p.done // bounded: supervise ends the child when ctx ends
	return p.result, p.failed
}

// Start starts a command that goes on until it ends by itself, ctx ends, its Timeout
// passes, or Stop is called.
func Start(ctx context.Context, c Command) (*Process, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	path, err := c.find()
	if err != nil {
		return nil, err
	}
	if c.Grace <= 0 {
		c.Grace = defaultGrace
	}
	if c.Keep <= 0 {
		c.Keep = defaultKeep
	}
	p := &Process{command: c, broken: make(chan error, 3), stop: make(chan struct{}), done: make(chan struct{})}
	p.cmd = exec.Command(path, c.Args...) //nolint:noctx // supervise ends it: a context could kill the child only, not its group
	p.cmd.Dir, p.cmd.Env = c.Dir, c.Env
	if p.group, err = newGroup(p.cmd, c.As); err != nil {
		return nil, p.startError(err)
	}
	theirs, err := p.connect()
	if err != nil {
		p.group.close()
		return nil, p.startError(err)
	}
	exited, began := make(chan error, 1), make(chan error, 1)
	go p.live(theirs, began, exited)
	left, err := p.begin(ctx, began, exited)
	if err != nil {
		p.disconnect()
		if !left {
			p.group.close()
		}
		return nil, p.startError(err)
	}
	if p.input != nil {
		go p.input.copy()
	}
	for _, s := range p.streams {
		go s.copy()
	}
	go p.supervise(ctx, exited)
	return p, nil
}

// begin waits until the child has become its program. That is short, but for one
// case: before it does, the child closes its copies of this program's files, and
// where one lies on a filesystem that does not answer (FUSE, NFS), it waits there and
// cannot be killed. When ctx or the Timeout ends first, left is true: the child is
// left behind, and ended should it ever begin. No other can begin before.
func (p *Process) begin(ctx context.Context, began, exited <-chan error) (left bool, err error) {
	var timeout <-chan time.Time
	if p.command.Timeout > 0 {
		timer := time.NewTimer(p.command.Timeout)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case err := <-began:
		return false, err
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timeout:
		err = ErrTimeout
	}
	go func() {
		defer p.group.close()
		if <-began == nil {
			p.group.kill()
			<-exited //nolint:errcheck // how a child ends that was left behind is for nobody
		}
	}()
	return true, fmt.Errorf("%w: a file that is open lies on a filesystem that does not answer", errors.Join(ErrNotBegun, err))
}

// connect sets the child's streams and gives the files that are its own.
func (p *Process) connect() (theirs []*os.File, err error) {
	defer func() {
		if err != nil {
			p.disconnect()
			closeAll(theirs)
		}
	}()
	switch file, ok := p.command.Stdin.(*os.File); {
	case ok:
		p.cmd.Stdin = file
	case p.command.Stdin != nil:
		in, child, err := newInput(p.command.Stdin, p.broken)
		if err != nil {
			return theirs, err
		}
		p.input, p.cmd.Stdin, theirs = in, child, append(theirs, child)
	}
	open := func(w io.Writer, kept **tail, vital bool) (io.Writer, error) {
		switch file, ok := w.(*os.File); {
		case ok:
			return file, nil
		case w == nil:
			*kept = &tail{limit: int(p.command.Keep)}
			w = *kept
		}
		s, child, err := newStream(w, vital, p.broken)
		if err != nil {
			return nil, err
		}
		p.streams, theirs = append(p.streams, s), append(theirs, child)
		return child, nil
	}
	if p.cmd.Stdout, err = open(p.command.Stdout, &p.out, p.command.Stdout != nil); err != nil {
		return theirs, err
	}
	p.cmd.Stderr, err = open(p.command.Stderr, &p.err, false)
	return theirs, err
}

// disconnect closes this program's ends of the pipes of a child that did not start.
func (p *Process) disconnect() {
	if p.input != nil {
		p.input.finish()
	}
	for _, s := range p.streams {
		s.abandon()
	}
}

// closeAll closes the child's ends of the pipes, to which this program writes nothing.
func closeAll(files []*os.File) {
	for _, file := range files {
		_ = file.Close()
	}
}

// live starts the child and waits for it. Linux sends the death signal when the
// thread ends that started the child; hence the thread is kept.
func (p *Process) live(theirs []*os.File, began, exited chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p.started = time.Now()
	err := p.cmd.Start()
	closeAll(theirs) // the child has its own
	if err == nil {
		p.group.adopt(p.cmd.Process)
	}
	began <- err // room for one, as in exited
	if err == nil {
		exited <- p.cmd.Wait()
	}
}

// startError makes an error that names the tool and the likely reason.
func (p *Process) startError(err error) error {
	if p.command.Dir != "" && errors.Is(err, fs.ErrNotExist) {
		if _, statErr := os.Stat(p.command.Dir); statErr != nil {
			err = fmt.Errorf("in its directory: %w", statErr)
		}
	}
	return &capstan.Error{Op: "start", Object: p.command.name(), Err: err}
}

// PID is the child's process id, which is its process group's too.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended and its output is read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the child, and returns as Run does. When ctx ends before
// it returns the cause, and the child goes on.
func (p *Process) Wait(ctx context.Context) (Result, error) {
	select {
	case <-p.done:
		return p.result, p.failed
	case <-ctx.Done():
		return Result{ExitCode: -1}, context.Cause(ctx)
	}
}

// Stop ends the child and waits for its end. It returns nil if the child ended
// because of it, whatever its exit code; else what Wait returns. ctx ends the
// waiting, not the stopping.
func (p *Process) Stop(ctx context.Context) (Result, error) {
	p.stopOnce.Do(func() { close(p.stop) })
	result, err := p.Wait(ctx)
	if errors.Is(err, ErrStopped) && !errors.Is(err, ErrImmortal) {
		err = nil
	}
	return result, err
}
