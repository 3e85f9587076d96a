package daemon

import (
	"os"
	"path/filepath"
	"time"
)

// dumpTime bounds how long keeping stacks may hold up the end of a run: it may be the
// home that does not answer.
const dumpTime = 5 * time.Second

// dump keeps goroutine stacks in the home, and says where; empty: they could not be kept.
func (d *Daemon) dump(stacks string) (where string) {
	path := filepath.Join(d.Home.Log(), "stall-"+time.Now().UTC().Format("20060102T150405.000")+".txt")
	kept := make(chan error, 1)
	go func() {
		err := os.MkdirAll(d.Home.Log(), 0o700)
		if err == nil {
			err = os.WriteFile(path, []byte(stacks), 0o600)
		}
		kept <- err
	}()
	timer := time.NewTimer(dumpTime)
	defer timer.Stop()
	select {
	case err := <-kept:
		if err != nil {
			d.say("%v", err)
			return ""
		}
		return path
	case <-timer.C:
		d.say("%s: its disk does not answer", path)
		return ""
	}
}
