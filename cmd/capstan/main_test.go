package main

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

// Where little is in use much garbage may come together, and where much is, no more
// than its share.
func TestGarbageIsTended(t *testing.T) {
	tendGarbage()
	waitForPercent(t, "little is in use", func(percent uint64) bool { return percent >= 4*garbage })
	buffers := make([]byte, 256<<20)
	waitForPercent(t, "much is in use", func(percent uint64) bool { return percent == garbage })
	runtime.KeepAlive(buffers)
	waitForPercent(t, "little is in use again", func(percent uint64) bool { return percent >= 4*garbage })
}

// waitForPercent collects until the share of garbage is what is wanted.
func waitForPercent(t *testing.T, when string, wanted func(percent uint64) bool) {
	t.Helper()
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	for deadline := time.Now().Add(time.Minute); ; {
		runtime.GC()
		metrics.Read(sample)
		if wanted(sample[0].Value.Uint64()) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d %%, when %s", sample[0].Value.Uint64(), when)
		}
		<-time.After(time.Millisecond)
	}
}
