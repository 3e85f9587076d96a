package pgserver

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"capstan/internal/pg"
)

// Level says what a finding means for a stop.
type Level string

// The levels of findings.
const (
	Blocks Level = "blocks" // the stop waits for it, perhaps for good
	Slows  Level = "slows"  // the stop or the next start takes longer
	Notes  Level = "notes"  // to be known before a long maintenance
)

// Finding is one thing that a stop will meet.
type Finding struct {
	Level  Level  `json:"level"`
	What   string `json:"what"`
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"`
}

// Sender is a walsender with its consumer.
type Sender struct {
	PID         int     `json:"pid"`
	Role        string  `json:"role"`
	Application string  `json:"application"` // of a subscription its name
	Client      string  `json:"client"`
	State       string  `json:"state"`
	Slot        string  `json:"slot,omitempty"`
	Logical     bool    `json:"logical"`
	LagBytes    int64   `json:"lag_bytes"`     // WAL that it has not confirmed
	ReplySecs   float64 `json:"reply_seconds"` // since it last said something; negative: never
}

// holds says that a stop waits for the consumer: a base backup is ended, and a
// standby that has everything has nothing to confirm.
func (s *Sender) holds() bool {
	return s.Logical || (s.State != "backup" && (s.LagBytes > 0 || s.ReplySecs < 0))
}

// Estimate is how long something will take, in seconds. Max is nil where nothing
// bounds it.
type Estimate struct {
	Min  float64  `json:"min"`
	Max  *float64 `json:"max"`
	Says []string `json:"says"` // what it is made of
}

// CheckReport is what will block or slow a stop.
type CheckReport struct {
	Data      string           `json:"data"`
	SystemID  string           `json:"system_id"`
	Major     int              `json:"major"`
	Phase     Phase            `json:"phase"`
	Connected bool             `json:"connected"`
	Findings  []Finding        `json:"findings"`
	Senders   []Sender         `json:"senders"`
	Archive   ArchiveBacklog   `json:"archive"`
	Spill     map[string]int64 `json:"spill_files"` // by slot
	Stop      Estimate         `json:"stop"`
	Start     Estimate         `json:"start"`       // after a clean stop
	Crash     Estimate         `json:"start_crash"` // after a kill at this moment
}

// The speeds that estimates assume where nothing is measured: of spill files
// removed and synced they are what a start of PostgreSQL 15 did with 300,000 files
// on one disk; the others are modest for today's.
const (
	cleanedPerSecond  = 10_000 // spill files
	syncedPerSecond   = 11_000 // files of the data directory
	replayedPerSecond = 30 << 20
	flushedPerSecond  = 50 << 20
)

// Check looks at a running server and says what its stop will meet. It changes
// nothing. url is as in StopOptions; where no connection can be made, the report
// holds what can be seen from outside, and says so.
func Check(ctx context.Context, env Env, cluster *pg.Cluster, url, name string) (CheckReport, error) {
	env = env.filled()
	observer, err := NewObserver(ctx, cluster, name)
	if err != nil {
		return CheckReport{}, err
	}
	look, err := observer.Look(ctx)
	if err != nil {
		return CheckReport{}, err
	}
	verdict := look.Judge()
	c := &check{report: CheckReport{
		Data: cluster.Dir, SystemID: fmt.Sprint(look.Control.SystemID), Major: cluster.Major, Phase: verdict.Phase,
		Findings: []Finding{}, Senders: []Sender{}, Spill: map[string]int64{},
	}}
	if verdict.Phase != PhaseRunning {
		c.find(level(verdict.Phase), string(verdict.Phase), verdict.Why, verdict.Safe)
	}
	if c.report.Archive, err = archiveBacklog(ctx, cluster); err != nil {
		return c.report, err
	}
	if c.files, c.report.Spill, err = countFiles(ctx, cluster); err != nil {
		return c.report, err
	}
	if pending, err := Pending(ctx, env, cluster); err == nil {
		for _, change := range pending {
			c.find(Notes, "left from an earlier stop", change.String(), "capstan pg stop --undo -D "+cluster.Dir)
		}
	}
	if verdict.Phase == PhaseRunning {
		if err := c.ask(ctx, cluster, look.Server, url); err != nil {
			if ctx.Err() != nil {
				return c.report, context.Cause(ctx)
			}
			env.Warn("only what can be seen from outside: %v", err)
		}
	}
	c.judgeFiles()
	c.estimate(&look)
	return c.report, nil
}

// level is that of a phase in which a server is met: one that stops already may wait
// for somebody.
func level(phase Phase) Level {
	switch phase {
	case PhaseBackends, PhaseWalsender, PhaseStandby, PhaseUnknown:
		return Blocks
	case PhaseArchiver, PhaseCheckpoint, PhaseOrphans:
		return Slows
	default:
		return Notes
	}
}

// check collects a report.
type check struct {
	report   CheckReport
	files    int64 // in the data directory
	settings map[string]setting
	walBytes int64 // since the redo point; 0 if it is not known
	buffers  int64 // shared_buffers in bytes
}

func (c *check) find(level Level, what, detail, advice string) {
	c.report.Findings = append(c.report.Findings, Finding{level, what, detail, advice})
}

// ask asks the server itself.
func (c *check) ask(ctx context.Context, cluster *pg.Cluster, server pg.Server, url string) error {
	conn, err := cluster.Connect(ctx, server, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is left to be written
	// What is asked for must not wait for anybody.
	if _, err := conn.Exec(ctx, "SET statement_timeout = '30s'; SET lock_timeout = '5s'"); err != nil {
		return err
	}
	c.report.Connected = true
	for _, question := range []func(context.Context, *pgx.Conn) error{
		c.askSettings, c.askSenders, c.askArchiver, c.askBackups, c.askTransactions, c.askWAL,
	} {
		if err := question(ctx, conn); err != nil {
			return err
		}
	}
	return nil
}

// judgeFiles is about what was counted.
func (c *check) judgeFiles() {
	archive := c.report.Archive
	if archive.Ready > 0 {
		detail := fmt.Sprintf("%d WAL files are ready and not archived", archive.Ready)
		if archive.SecondsPerFile > 0 {
			detail += fmt.Sprintf(", at %.2f s a file", archive.SecondsPerFile)
		}
		c.find(Slows, "archive backlog", detail, "let it drain before, or stop with --archiver=finish-current or pause")
	}
	var total int64
	for _, files := range c.report.Spill {
		total += files
	}
	const many = 1000
	if total >= many {
		detail := fmt.Sprintf("%d spill files: the next start removes them, and after a crash syncs them before", total)
		c.find(Slows, "spill files", detail, "capstan pg spill report; after a crash capstan pg start --unstick")
	}
}

// estimate adds up.
func (c *check) estimate(look *Look) {
	var spill int64
	for _, files := range c.report.Spill {
		spill += files
	}
	dirty := min(c.walBytes, c.buffers)
	checkpoint := float64(dirty) / flushedPerSecond
	archive := float64(c.report.Archive.Ready) * c.report.Archive.SecondsPerFile
	stop := Estimate{Min: archive, Says: []string{
		fmt.Sprintf("checkpoint: at most %.1f s, %d MiB at %d MiB/s (assumed)", checkpoint, dirty>>20, flushedPerSecond>>20),
		fmt.Sprintf("archiving: %.1f s, %d files", archive, c.report.Archive.Ready),
	}}
	highest := archive + checkpoint
	bounded := true
	if c.report.Archive.Ready > 0 && c.report.Archive.SecondsPerFile == 0 {
		bounded = false
		stop.Says = append(stop.Says, "how long a file takes could not be measured")
	}
	for _, sender := range c.report.Senders {
		timeout := c.senderTimeout()
		switch {
		case timeout <= 0:
			bounded = false
			stop.Says = append(stop.Says, fmt.Sprintf("walsender %d: without bound if its consumer hangs", sender.PID))
		case sender.holds():
			highest = max(highest, archive+checkpoint+timeout.Seconds())
			stop.Says = append(stop.Says, fmt.Sprintf("walsender %d: up to wal_sender_timeout (%s) after its consumer's last reply; a slow one that replies has no bound", sender.PID, timeout))
		}
	}
	if bounded {
		stop.Max = &highest
	}
	if !c.report.Connected && look.Server.Presence == pg.Alive {
		stop.Max = nil
		stop.Says = append(stop.Says, "walsenders and the checkpoint are not counted: there was no connection")
	}
	c.report.Stop = stop

	cleanup := float64(spill) / cleanedPerSecond
	c.report.Start = Estimate{Min: 0, Max: &cleanup, Says: []string{fmt.Sprintf("%d spill files are removed at %d a second", spill, cleanedPerSecond)}}
	sync, replay := float64(c.files)/syncedPerSecond, float64(c.walBytes)/replayedPerSecond
	crash := cleanup + sync + replay
	c.report.Crash = Estimate{Min: cleanup, Max: &crash, Says: []string{
		fmt.Sprintf("%d files are synced: up to %.1f s", c.files, sync),
		fmt.Sprintf("%d spill files are removed: %.1f s", spill, cleanup),
		fmt.Sprintf("%d MiB of WAL are replayed: about %.1f s at %d MiB/s (assumed)", c.walBytes>>20, replay, replayedPerSecond>>20),
	}}
}

// senderTimeout is wal_sender_timeout; 0 if it is off or not known.
func (c *check) senderTimeout() time.Duration {
	return c.settings["wal_sender_timeout"].duration()
}
