package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"capstan"
)

// pgDatabase is what the cases dump.
const pgDatabase = "app"

// fill makes the database: script writes statements, and data of COPY.
func (s *pgServer) fill(ctx context.Context, script func(w *bufio.Writer)) error {
	if err := s.psql(ctx, "postgres", strings.NewReader("create database "+pgDatabase+";")); err != nil {
		return err
	}
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		buffered := bufio.NewWriterSize(w, int(capstan.MiB))
		script(buffered)
		err := buffered.Flush()
		_ = w.Close() // of a pipe in memory
		written <- err
	}()
	err := s.psql(ctx, pgDatabase, r)
	_ = r.Close() // should psql have ended before the script
	return errors.Join(err, <-written)
}

// fillTables makes tables of the sizes, in COPY's format: rows as applications have
// them, of some 190 bytes. Beside them is a small one, which comes last in the dump.
func fillTables(sizes ...capstan.Bytes) func(w *bufio.Writer) {
	return func(w *bufio.Writer) {
		for i, size := range sizes {
			// In one transaction with COPY, the rows need no log and are frozen at once.
			fmt.Fprintf(w, "begin; create table events%[1]d (id bigint, at timestamptz, customer integer, amount numeric(12,2), done boolean, who text, note text);\n"+
				"copy events%[1]d from stdin (freeze);\n", i)
			writeRows(w, size, uint64(i))
			_, _ = w.WriteString("\\.\ncommit;\n") // an error stays with w, as with all that is written here
		}
		_, _ = w.WriteString("create table small (n integer, t text); insert into small select n, 'row ' || n from generate_series(1, 1000) n;\nvacuum analyze;\ncheckpoint;\n")
	}
}

func writeRows(w *bufio.Writer, size capstan.Bytes, seed uint64) {
	words := strings.Fields("account address after amount balance because before between blue card case change charge city client close contact country credit customer date day delivery discount email first found from green house invoice item last letter line message money month name never note number offer open order other paid payment phone please price product question reason received refund region reply request returned road sent service shipped some status store street system tax thank ticket time today total town under unit update value very week what when where with without word year yellow")
	random := rand.New(rand.NewPCG(5, seed))
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var row []byte
	for id, written := int64(1), 0; written < int(size); id++ {
		clock = clock.Add(time.Duration(random.IntN(5_000_000)) * time.Microsecond)
		row = append(strconv.AppendInt(row[:0], id, 10), '\t')
		row = append(clock.AppendFormat(row, "2006-01-02 15:04:05.999999+00"), '\t')
		row = append(strconv.AppendInt(row, int64(random.IntN(1_000_000)), 10), '\t')
		row = append(strconv.AppendFloat(row, float64(random.IntN(10_000_000))/100, 'f', 2, 64), '\t')
		row = append(row, "ft"[random.IntN(2)], '\t')
		row = append(append(row, words[random.IntN(len(words))]...), '.')
		row = append(append(row, words[random.IntN(len(words))]...), "@example.org\t"...)
		for range 8 + random.IntN(16) {
			row = append(append(row, words[random.IntN(len(words))]...), ' ')
		}
		row[len(row)-1] = '\n'
		_, _ = w.Write(row)
		written += len(row)
	}
}

// fillMany makes many tables of a few rows each, some hundred in a transaction: each
// wants a lock.
func fillMany(tables int) func(w *bufio.Writer) {
	return func(w *bufio.Writer) {
		const batch = 500
		for from := 0; from < tables; from += batch {
			fmt.Fprintf(w, "do $$ begin for n in %d..%d loop execute format('create table t%%s (id integer primary key, note text);"+
				" insert into t%%1$s select i, ''row '' || i from generate_series(1, 20) i', n); end loop; end $$;\n", from, min(from+batch, tables)-1)
		}
		_, _ = w.WriteString("vacuum analyze;\ncheckpoint;\n")
	}
}
