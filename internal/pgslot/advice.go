package pgslot

import (
	"fmt"

	"capstan"
)

// Rate is how fast a slot spills, from two looks at pg_stat_replication_slots (14 and
// later). The counters move while a transaction is still open.
type Rate struct {
	Seconds float64 `json:"seconds"` // between the two looks
	// Transactions counts subtransactions too, and one again each time it spills.
	Transactions float64 `json:"transactions_a_second"`
	Times        float64 `json:"times_a_second"`
	Bytes        float64 `json:"bytes_a_second"`
}

// Settings are what the advice depends on; empty where it is not known.
type Settings struct {
	WorkMem string `json:"logical_decoding_work_mem,omitempty"`
	// Streams says whether the slot has ever streamed a transaction in progress.
	Streams bool `json:"streams"`
}

// Advice says what would keep a slot from spilling, for this version and with what
// the next one adds. It is empty for a slot that has not spilled and is healthy.
func Advice(major int, r *SlotSpill, s Settings) []string {
	var advice []string
	add := func(format string, args ...any) { advice = append(advice, fmt.Sprintf(format, args...)) }
	if r.Damage != "" {
		add("the slot's state cannot be read (%s): see capstan pg slot-doctor", r.Damage)
	}
	if r.Invalidated {
		add("the server gave this slot up; its consumer needs a new slot and a new copy of its data")
	}
	if r.Files == 0 {
		return advice
	}
	if r.Storm != nil {
		add("%d files of %s on average for one WAL segment: one transaction with very many subtransactions, or very many "+
			"transactions at once. Each savepoint, and each block with an exception handler, is a subtransaction with files of its own: "+
			"commit in batches of at most some thousand rows, and catch errors around a batch instead of around a row",
			r.Storm.Files, capstan.Bytes(r.Storm.Bytes/r.Storm.Files))
	} else if len(r.Top) > 0 && r.Top[0].Bytes*2 > r.Bytes {
		add("transaction %d alone spilled %s: split what it does into batches that are committed", r.Top[0].XID, capstan.Bytes(r.Top[0].Bytes))
	}
	now := "unknown here"
	if s.WorkMem != "" {
		now = "now " + s.WorkMem
	}
	add("logical_decoding_work_mem (%s) is how much a walsender holds before it spills: raise it, by a reload; each walsender may use that much", now)
	if !s.Streams {
		advice = append(advice, streaming(major)...)
	}
	return append(advice, next(major)...)
}

// streaming is how a transaction is sent while it is in progress, so that it need
// not be kept.
func streaming(major int) []string {
	switch {
	case major < 14:
		return []string{"this version cannot stream transactions in progress; 14 can"}
	case major < 16:
		return []string{"let the subscriber take transactions in progress: ALTER SUBSCRIPTION ... SET (streaming = on); an output plugin other than pgoutput must support it"}
	}
	return []string{"let the subscriber take and apply transactions in progress: ALTER SUBSCRIPTION ... SET (streaming = parallel)"}
}

// next is what later versions change about spilling, from their release notes.
func next(major int) []string {
	var later []string
	for _, change := range []struct {
		major int
		text  string
	}{
		{14, "14 streams transactions in progress (streaming = on) and counts spills in pg_stat_replication_slots"},
		{15, "15 has pg_ls_replslotdir, by which a role in pg_monitor can watch a slot's files"},
		{16, "16 can apply streamed transactions in parallel (streaming = parallel)"},
		{17, "17 decodes transactions with many subtransactions faster"},
		{18, "18 stops decoding, and spilling, transactions that it finds aborted; new subscriptions there stream in parallel by default"},
	} {
		if change.major > major {
			later = append(later, "later versions: "+change.text)
		}
	}
	return later[:min(len(later), 2)]
}
