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
	var failures []error
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
		var dead bool
		if waited, dead = p.end(exited); !dead {
			failures = append(failures, ErrImmortal)
		}
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
	p.conclude(waited, cause, failures)
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

// conclude sets the result and the error.
func (p *Process) conclude(waited, cause error, failures []error) {
	r := Result{ExitCode: -1, Elapsed: time.Since(p.started)}
	dead := !errors.Is(errors.Join(failures...), ErrImmortal)
	if dead {
		r.ExitCode, r.Signal = p.cmd.ProcessState.ExitCode(), endingSignal(p.cmd.ProcessState)
	}
	complete := true
	for _, s := range p.streams {
		select {
		case <-s.ended:
		default: // its goroutine may still write: what it kept is out of reach
			complete = false
			continue
		}
		r.Held = r.Held || s.held
		if s.err != nil && !errors.Is(cause, s.err) {
			failures = append(failures, s.err)
		}
		if s.held && s.vital && cause == nil {
			failures = append(failures, ErrHeld)
		}
	}
	if complete {
		if p.out != nil {
			r.Stdout, r.StdoutCut = p.out.last()
		}
		if p.err != nil {
			r.Stderr, r.StderrCut = p.err.last()
		}
	}
	var exit *exec.ExitError
	if waited != nil && !errors.As(waited, &exit) && !errors.Is(waited, exec.ErrWaitDelay) {
		failures = append(failures, waited) // Stdin could not be read
	}
	if cause != nil {
		failures = append([]error{cause}, failures...)
	}
	p.result = r
	p.failed = p.failure(r, errors.Join(failures...))
}
