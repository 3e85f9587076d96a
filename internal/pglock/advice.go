package pglock

import (
	"fmt"
	"slices"
	"time"

	"capstan/internal/output"
)

// Advice is one thing to know, and what can be done.
type Advice struct {
	PID  int    `json:"pid"`   // of the session that it is about; 0: a prepared transaction
	Says string `json:"says"`  // what is so
	Next string `json:"next"`  // what can be done
	Held int    `json:"holds"` // how many sessions wait behind it, also through others
}

// advise says of every session in the way, that of most waiters first: one that
// waits itself makes others wait that could go on, and one that does not wait is
// where it all begins.
func advise(waits []Wait) []Advice {
	waiting := map[int]*Wait{}
	behind := map[int][]int{} // those who wait directly, by whom they wait for
	blockers := map[int]Blocker{}
	for i := range waits {
		w := &waits[i]
		waiting[w.PID] = w
		for _, b := range w.Behind {
			behind[b.PID] = append(behind[b.PID], w.PID)
			if known, ok := blockers[b.PID]; !ok || known.Queued && !b.Queued {
				blockers[b.PID] = b
			}
		}
	}
	advice := []Advice{}
	for pid, blocker := range blockers {
		held := len(reach(behind, pid))
		wait := waiting[pid]
		switch {
		case wait == nil:
			advice = append(advice, root(blocker, held))
		case blocker.Queued:
			advice = append(advice, Advice{
				PID: pid, Held: held,
				Says: fmt.Sprintf("session %d has waited %s for %s on %s, and holds up %s that came after it", pid, since(wait.Seconds), wait.Mode, wait.Object, sessions(held)),
				Next: fmt.Sprintf("give DDL a limit, so that others need not wait as long: SET lock_timeout = '2s', and try again; to end this one: SELECT pg_cancel_backend(%d)", pid),
			})
		}
	}
	slices.SortFunc(advice, func(a, b Advice) int {
		if a.Held != b.Held {
			return b.Held - a.Held
		}
		return a.PID - b.PID
	})
	return advice
}

// root is about a session that waits for no lock and holds up others.
func root(b Blocker, held int) Advice {
	a := Advice{PID: b.PID, Held: held}
	who := fmt.Sprintf("session %d", b.PID)
	if b.Application != "" {
		who += fmt.Sprintf(" (%s)", b.Application)
	}
	switch {
	case b.PID == 0:
		a.Says = fmt.Sprintf("a prepared transaction holds up %s", sessions(held))
		a.Next = "see pg_prepared_xacts; it ends with COMMIT PREPARED or ROLLBACK PREPARED"
		return a
	case b.State == "idle in transaction" || b.State == "idle in transaction (aborted)":
		a.Says = fmt.Sprintf("%s has been idle for %s in a transaction of %s, and holds up %s", who, since(b.QuerySecs), since(b.XactSecs), sessions(held))
		a.Next = fmt.Sprintf("it has to commit or roll back; to end it: SELECT pg_terminate_backend(%d)", b.PID)
	default:
		a.Says = fmt.Sprintf("%s has worked for %s in a transaction of %s, and holds up %s", who, since(b.QuerySecs), since(b.XactSecs), sessions(held))
		a.Next = fmt.Sprintf("wait for its end; to end its statement: SELECT pg_cancel_backend(%d)", b.PID)
	}
	return a
}

// reach are those who wait behind a session, also through others.
func reach(behind map[int][]int, from int) map[int]bool {
	reached := map[int]bool{}
	next := []int{from}
	for len(next) > 0 {
		pid := next[0]
		next = next[1:]
		for _, waiter := range behind[pid] {
			if waiter != from && !reached[waiter] {
				reached[waiter] = true
				next = append(next, waiter)
			}
		}
	}
	return reached
}

func sessions(n int) string {
	if n == 1 {
		return "1 session"
	}
	return fmt.Sprintf("%d sessions", n)
}

func since(seconds float64) string {
	return output.Duration(time.Duration(seconds * float64(time.Second)))
}
