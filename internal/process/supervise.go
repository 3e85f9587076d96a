package process

import (
	"context"
	"errors"
	"os/exec"
	"time"
)

// supervise waits for the child, ends it when it must, and makes the result.
func (p *Process) supervise(ctx context.Context, exited <-chan error) {
	defer close(p.done)
	defer p.group.close()
	var timeout <-chan time.Time
	if p.command.Timeout > 0 {
		timer := time.NewTimer(p.command.Timeout)
		defer timer.Stop()
		timeout = timer.C
	}
	var waited, cause error
	dead := true
	select {
	case waited = <-exited:
	default:
		select {
		case waited = <-exited:
		case <-ctx.Done():
			cause = context.Cause(ctx)
		case <-timeout:
			cause = ErrTimeout
		case <-p.stop:
			cause = ErrStopped
		case cause = <-p.broken:
		}
	}
	if cause != nil {
		waited, dead = p.end(exited)
	}
	if p.input != nil {
		p.input.finish()
	}
	for _, s := range p.streams {
		s.finish()
	}
	for _, s := range p.streams {
		if cause != nil {
			break
		}
		select {
		case <-s.ended:
		case <-ctx.Done():
			cause = context.Cause(ctx)
		case <-timeout:
			cause = ErrTimeout
		case <-p.stop:
			cause = ErrStopped
		}
	}
	if cause != nil {
		p.hurry()
	}
	p.conclude(waited, cause, dead)
}

// end terminates the group, then kills it. dead is false if that was of no use.
func (p *Process) end(exited <-chan error) (waited error, dead bool) {
	p.group.terminate()
	grace := time.NewTimer(p.command.Grace)
	defer grace.Stop()
	select {
	case waited = <-exited:
		p.group.kill() // what the child left behind was to end too
		return waited, true
	case <-grace.C:
	}
	p.group.kill()
	last := time.NewTimer(lastPatience)
	defer last.Stop()
	select {
	case waited = <-exited:
		return waited, true
	case <-last.C:
		return nil, false
	}
}

// hurry waits for the streams of a command that was ended, then leaves them behind.
func (p *Process) hurry() {
	last := time.NewTimer(lastPatience)
	defer last.Stop()
	for _, s := range p.streams {
		select {
		case <-s.ended:
			continue
		case <-last.C:
		}
		break
	}
	for _, s := range p.streams {
		s.abandon()
	}
}

// conclude sets the result and the error. dead says whether the child is gone, and
// waited is what waiting for it gave.
func (p *Process) conclude(waited, cause error, dead bool) {
	r := Result{ExitCode: -1, Elapsed: time.Since(p.started)}
	failures := []error{cause}
	if dead {
		r.ExitCode, r.Signal = p.cmd.ProcessState.ExitCode(), endingSignal(p.cmd.ProcessState)
	} else {
		failures = append(failures, ErrImmortal)
	}
	for _, s := range p.streams {
		select {
		case <-s.ended:
		default: // it was left behind and may still write
			continue
		}
		switch s.w {
		case p.out:
			r.Stdout, r.StdoutCut = p.out.last()
		case p.err:
			r.Stderr, r.StderrCut = p.err.last()
		}
		r.Held = r.Held || s.held
		if s.held && s.vital && cause == nil {
			failures = append(failures, ErrHeld)
		}
	}
	for more := true; more; {
		select {
		case err := <-p.broken:
			failures = append(failures, err)
		default:
			more = false
		}
	}
	var exit *exec.ExitError
	if waited != nil && !errors.As(waited, &exit) {
		failures = append(failures, waited)
	}
	p.result = r
	p.failed = p.failure(r, errors.Join(failures...))
}
