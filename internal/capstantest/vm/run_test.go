package vm

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// TestConsole: only the line of the guest says how the program ended.
func TestConsole(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ printed, console, code string }{
		{"--- PASS\r\n" + exitLine + "0\r\n[ 9.0] reboot: Restarting system\r\n", "--- PASS\n[ 9.0] reboot: Restarting system\n", "0"},
		{"--- FAIL\n" + exitLine + "1\n", "--- FAIL\n", "1"},
		{"PASS\nKernel panic - not syncing\n", "PASS\nKernel panic - not syncing\n", ""},
		{"", "", ""},
	} {
		console, code := read(strings.NewReader(test.printed))
		if console != test.console || code != test.code {
			t.Errorf("%q gave %q and code %q", test.printed, console, code)
		}
	}
	long := strings.Repeat("a line that is long\n", keep)
	if console, code := read(strings.NewReader(long + exitLine + "2\n")); code != "2" || len(console) > 2*keep {
		t.Errorf("behind %d bytes the code is %q, and %d bytes were kept", len(long), code, len(console))
	}
}

// TestArchive: each part begins at a multiple of four, and lengths are those of names
// and contents.
func TestArchive(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	a := &archive{w: &b}
	a.add("init", modeProgram, []byte("12345"))
	a.add("dev/console", modeCharacter, nil, 5, 1)
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for p := b.Bytes(); len(p) > 0; {
		if len(p) < 110 || string(p[:6]) != "070701" {
			t.Fatalf("no header: %q", p)
		}
		var size, name int
		if _, err := fmt.Sscanf(string(p[54:62])+" "+string(p[94:102]), "%x %x", &size, &name); err != nil {
			t.Fatal(err)
		}
		names = append(names, string(p[110:110+name-1]))
		p = p[(110+name+3)/4*4+(size+3)/4*4:]
	}
	if got := strings.Join(names, " "); got != "init dev/console TRAILER!!!" {
		t.Errorf("the archive holds %s", got)
	}
}
