package pgdata_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"capstan/internal/pgdata"
)

func TestParsePIDFile(t *testing.T) {
	t.Parallel()
	for _, major := range []int{13, 14, 15, 16, 17, 18} {
		data := golden(t, "postmaster.pid-ready", major)
		p, err := pgdata.ParsePIDFile(data)
		if err != nil || p.PID <= 1 || p.Single || !strings.HasPrefix(p.Dir, "/tmp/") || p.Started.UTC().Format(time.DateOnly) != "2026-11-20" ||
			p.Port != 5432 || !strings.HasPrefix(p.Socket, "/tmp/pg") || p.Listen != "" || p.Status != pgdata.StatusReady {
			t.Errorf("%d: %+v, %v", major, p, err)
		}
		// A server that is starting has written a part only; never is a piece of a line taken for the whole.
		for n := range data {
			part, err := pgdata.ParsePIDFile(data[:n])
			if lines := bytes.Count(data[:n], []byte("\n")); lines == 0 {
				if err == nil {
					t.Fatalf("%d: %d bytes gave %+v", major, n, part)
				}
				continue
			}
			if err != nil || part.PID != p.PID || part.Status != "" || (part.Port != 0 && part.Port != p.Port) || (!part.Started.IsZero() && !part.Started.Equal(p.Started)) {
				t.Fatalf("%d: %d bytes gave %+v, %v", major, n, part, err)
			}
		}
	}
}

func TestPIDFileShapes(t *testing.T) {
	t.Parallel()
	single, err := pgdata.ParsePIDFile([]byte("-4711\n/data\n1795171722\n"))
	if err != nil || !single.Single || single.PID != 4711 {
		t.Errorf("%+v, %v", single, err)
	}
	for _, text := range []string{
		"", "\n", "0\n", "x\n", "99999999999\n", "-2147483648\n", "5000000\n", "1\n/d\nsoon\n", "1\n/d\n-5\n",
		"1\n/d\n1\n70000\n", "1\n/d\n1\n5432\n\n\n\nsleeping\n", "1\n" + strings.Repeat("x", pgdata.PIDFileLimit),
	} {
		if p, err := pgdata.ParsePIDFile([]byte(text)); !errors.Is(err, pgdata.ErrDamaged) {
			t.Errorf("%.40q gave %+v, %v", text, p, err)
		} else if len(err.Error()) > 200 {
			t.Errorf("%.40q: a message of %d bytes", text, len(err.Error()))
		}
	}
}

func FuzzParsePIDFile(f *testing.F) {
	f.Add(golden(f, "postmaster.pid-ready", 15))
	f.Add([]byte("-1\n/data\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := pgdata.ParsePIDFile(data); err == nil && (p.PID <= 0 || p.Port < 0 || p.Port > 65535) {
			t.Errorf("%+v", p)
		}
	})
}
