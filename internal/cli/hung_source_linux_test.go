package cli_test

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHungSource ends runs whose source does not answer any more: by --timeout,
// and by one signal. Neither may wait for the source.
func TestHungSource(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"timeout": {"--timeout", "3s"}, "signal": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			garden(t, f.data, 31)
			huge := (&hugeFile{size: 12 << 20, stall: 4 << 20}).mount(t, filepath.Join(f.data, "zzz"))
			backup := append([]string{"backup", f.data, "--to", f.vol, "--archive-size", "1MiB"}, flags...)
			p := f.start(backup...)
			until(t, "the source to hang", func() bool {
				select {
				case <-huge.stalled:
					return true
				default:
					return !p.running()
				}
			})
			if name == "signal" {
				p.signal(unix.SIGINT)
			}
			if p.within(verdict / 2) {
				t.Error("it waits for a source that does not answer")
				huge.goOn()
			}
			f.check(p.end(), 130, backup)
			f.stopped(f.onlySet(), false)
			huge.goOn()
			f.run("backup", f.data, "--to", f.vol, "--archive-size", "1MiB")
			f.whole(f.onlySet().Set)
		})
	}
}
