package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"capstan"
)

// command is a program to run. Its standard input is the previous command's
// output, or nothing at all.
type command struct {
	args []string
	dir  string   // empty: the bench's own
	env  []string // added to the bench's own
}

// pipeline is commands joined by kernel pipes, as a shell would join them.
type pipeline struct {
	commands []command
	stdout   string // file for the last one's output; empty: dropped
	// tree says that the one command has children that work beside it: memory is the
	// largest sum of all their peaks, not the largest of one of them.
	tree bool
}

func single(c command) pipeline { return pipeline{commands: []command{c}} }

// usage is what one run took.
type usage struct {
	wall time.Duration
	cpu  time.Duration // user and system, of all processes
	rss  capstan.Bytes // sum of the processes' peaks
	read capstan.Bytes // by all processes, from files and pipes; 0: not known
	out  capstan.Bytes // bytes made; set by the caller
}

// run starts the commands together and waits for all. It fails if one of them
// fails, with what that one said last.
func (p pipeline) run(ctx context.Context) (_ usage, err error) {
	running := make([]*exec.Cmd, 0, len(p.commands))
	messages := make([]bytes.Buffer, len(p.commands))
	var ours []*os.File // ends of pipes that belong to children once those run
	closeOurs := func() (err error) {
		for _, f := range ours {
			err = errors.Join(err, f.Close())
		}
		ours = nil
		return err
	}
	defer func() { err = errors.Join(err, closeOurs()) }()

	for i, c := range p.commands {
		cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
		cmd.Dir, cmd.Stderr = c.dir, &messages[i]
		cmd.Env = append(os.Environ(), c.env...)
		running = append(running, cmd)
		if i == 0 {
			continue
		}
		r, w, err := os.Pipe()
		if err != nil {
			return usage{}, err
		}
		ours = append(ours, r, w)
		running[i-1].Stdout, cmd.Stdin = w, r
	}
	if p.stdout != "" {
		f, err := os.Create(p.stdout)
		if err != nil {
			return usage{}, err
		}
		ours = append(ours, f)
		running[len(running)-1].Stdout = f
	}

	begin := time.Now()
	started := 0
	for _, cmd := range running {
		if err = cmd.Start(); err != nil {
			break
		}
		started++
	}
	// Without this, a reader would wait for an end that the bench itself holds open.
	err = errors.Join(err, closeOurs())
	var total usage
	for i, cmd := range running[:started] {
		watched := func() capstan.Bytes { return 0 }
		if p.tree {
			watched = watchTree(cmd.Process.Pid)
		}
		total.read += bytesRead(cmd.Process.Pid)
		if waitErr := cmd.Wait(); waitErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), waitErr, tail(&messages[i])))
		}
		total.cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		total.rss += max(peakRSS(cmd.ProcessState), watched())
	}
	total.wall = time.Since(begin)
	if ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return total, err
}

// tail gives the last of what a command said.
func tail(message *bytes.Buffer) string {
	const most = 2000
	text := strings.TrimSpace(message.String())
	return text[max(0, len(text)-most):]
}

// floor is the smallest peak that this program can see in a child: Linux counts
// the moment between fork and exec, when the child still is this program.
func floor(ctx context.Context) (capstan.Bytes, error) {
	u, err := single(command{args: []string{"true"}}).run(ctx)
	return u.rss, err
}
