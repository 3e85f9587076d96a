package copytext_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"capstan/internal/capstantest/pgtest"
	"capstan/internal/copytext"
)

// What a server gives as text comes back to it as CSV: every character, NULL and the
// empty string, arrays and bytes.
func TestServerTakesTheCSV(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t, pgtest.Options{Major: 18, Memory: true})
	s.Start()
	s.Exec(`CREATE TABLE a (n int, "odd ""name" text, b bytea, l text[], j jsonb)`, "CREATE TABLE b (LIKE a)",
		`INSERT INTO a SELECT n, chr(n), decode(lpad(to_hex(n), 8, '0'), 'hex'), ARRAY[chr(n), NULL, ''], to_jsonb(chr(n)) FROM generate_series(1, 55295) n`,
		`INSERT INTO a VALUES (NULL, NULL, NULL, NULL, NULL), (0, '', '', '{}', '""'), (1, '\N', '\\', ARRAY['\.', E'\t\n\r\\'], 'null'), (2, '\.', NULL, NULL, NULL)`)
	conn := s.Conn("postgres").PgConn()
	var text, csv, again bytes.Buffer
	if _, err := conn.CopyTo(t.Context(), &text, "COPY a TO STDOUT"); err != nil {
		t.Fatal(err)
	}
	rows, err := copytext.CSV(&csv, strings.NewReader(text.String()+"\\.\n\n\n"), []string{"n", `odd "name`, "b", "l", "j"})
	if err != nil || fmt.Sprint(rows) != s.Text("SELECT count(*) FROM a") {
		t.Fatalf("%d rows, %v", rows, err)
	}
	if _, err := conn.CopyFrom(t.Context(), &csv, "COPY b FROM STDIN (FORMAT csv, HEADER match)"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.CopyTo(t.Context(), &again, "COPY b TO STDOUT"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text.Bytes(), again.Bytes()) {
		t.Errorf("the rows came back as others, %d and %d bytes", text.Len(), again.Len())
	}
}
