package postgres_test

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/codec"
	"capstan/internal/pgdump"
	"capstan/internal/pgtoc"
	"capstan/internal/rowsum"
	"capstan/internal/source/postgres"
)

// The receipt's rows and hashes are those of the files beside it, for every kind of
// table, for one that was read in parts by two sessions, and for large objects.
func TestReceiptHashes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, major int) {
		f := newField(t, major)
		f.fill("app")
		f.sql("app", "create table large as select n, repeat(md5(n::text), 30) from generate_series(1, 60000) n")
		dir, summary := f.dump(f.options())
		raw, err := os.ReadFile(filepath.Join(dir, postgres.ReceiptName))
		var receipt postgres.Receipt
		if err == nil {
			err = json.Unmarshal(raw, &receipt)
		}
		if err != nil {
			t.Fatal(err)
		}
		toc, err := os.ReadFile(filepath.Join(dir, pgdump.TOC))
		if err != nil || receipt.Contents != postgres.ReceiptOf(toc) || receipt.HashMethod != rowsum.Method {
			t.Errorf("%+v, %v", receipt.Contents, err)
		}
		if len(receipt.Session) != 4 || receipt.Session["bytea_output"] != "hex" || receipt.Session["TimeZone"] == "" {
			t.Errorf("session %v", receipt.Session)
		}
		dump, err := pgdump.Open(os.DirFS(dir))
		if err != nil {
			t.Fatal(err)
		}
		said := map[string]postgres.TableReceipt{}
		for _, table := range receipt.Tables {
			if table.File != "" {
				said[table.File] = table
			}
		}
		if len(said) != summary.Tables || len(said) != len(dump.Tables()) {
			t.Errorf("%d tables have hashes, %d data", len(said), len(dump.Tables()))
		}
		for _, table := range dump.Tables() {
			in, err := dump.Rows(table)
			if err != nil {
				t.Fatal(err)
			}
			sum, rows, err := rowsum.Text(in)
			r := said[strings.TrimSuffix(strings.TrimSuffix(table.File, ".zst"), ".gz")]
			if err != nil || r.Hash == nil || *r.Hash != sum || r.Rows != rows || !strings.HasPrefix(r.Statement, "COPY ") {
				t.Errorf("%s: %d rows, %v, %v; the receipt says %+v", &table, rows, sum, err, r)
			}
			if table.Name == "large" && r.Parts < 2 {
				t.Errorf("large was read in %d parts", r.Parts)
			}
			in.Close()
		}
		if count, sum := largeIn(t, dir, dump); count != 3 || count != receipt.Large.Count || sum != receipt.Large.Hash {
			t.Errorf("%d large objects, %v; the receipt says %+v", count, sum, receipt.Large)
		}
	})
}

// largeIn hashes the large objects that lie in a dump.
func largeIn(t *testing.T, dir string, dump *pgdump.Dump) (count int64, sum rowsum.Sum) {
	t.Helper()
	for i := range dump.Entries {
		if dump.Entries[i].Desc.Value != pgtoc.DescLargeObjects {
			continue
		}
		list, err := os.ReadFile(filepath.Join(dir, dump.Entries[i].File.Value))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(list)) {
			oid, name, _ := strings.Cut(strings.TrimSpace(line), " ")
			found, err := filepath.Glob(filepath.Join(dir, name+".*"))
			if err != nil || len(found) != 1 {
				t.Fatal(name, found, err)
			}
			kind := capstan.CodecZstd
			if strings.HasSuffix(found[0], ".gz") {
				kind = capstan.CodecGzip
			}
			file, err := os.Open(found[0])
			if err != nil {
				t.Fatal(err)
			}
			stream, err := codec.NewStream(kind, file)
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(stream)
			if err != nil {
				t.Fatal(err)
			}
			sum.Row(append([]byte(oid+"\n"), content...))
			count++
			file.Close()
		}
	}
	return count, sum
}
