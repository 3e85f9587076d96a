package progress

import (
	"fmt"
	"runtime"
	"time"

	"capstan"
)

// stackLimit bounds the dump of goroutine stacks in a Stall.
const stackLimit = 256 << 10

// Stall is a stage that has been still for too long. As an error it is the cause
// with which a run is cancelled: it names the stage, the object and the last progress.
type Stall struct {
	Stage   string
	Object  string   // what it worked on
	Waiting Resource // what it waits for; empty if it neither moves nor declares a wait
	Detail  string   // of the wait
	For     time.Duration
	Bytes   capstan.Bytes // done by the stage so far
	Ops     int64
	Moved   time.Time // of the last heartbeat; zero if there was none
	Stacks  string    // of all goroutines, at most 256 KiB; only for Actions.Fail
}

// Error gives one line for people.
func (s *Stall) Error() string {
	text := "stage " + s.Stage
	if s.Waiting == "" {
		text += fmt.Sprintf(" has made no progress for %v", s.For.Round(time.Second))
	} else {
		text += fmt.Sprintf(" has been waiting for %s", s.Waiting)
		if s.Detail != "" {
			text += " (" + s.Detail + ")"
		}
		text += fmt.Sprintf(" for %v", s.For.Round(time.Second))
	}
	if s.Object != "" {
		text += " at " + s.Object
	}
	text += fmt.Sprintf("; %v and %d operations were done", s.Bytes, s.Ops)
	if s.Moved.IsZero() {
		return text
	}
	return text + ", the last at " + s.Moved.Format(time.RFC3339)
}

// stacks is the dump of all goroutines, cut at stackLimit. It stops the whole
// program for a moment; where that would be for good, there is no dump.
func stacks() string {
	if faulting() {
		return "a thread waits for a page of a mapped file that its filesystem does not give: no stacks can be taken\n"
	}
	buf := make([]byte, stackLimit)
	return string(buf[:runtime.Stack(buf, true)])
}
