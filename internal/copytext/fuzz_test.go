package copytext_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"strings"
	"testing"

	"capstan"
	"capstan/internal/copytext"
)

// Whatever a file holds: what is taken as rows, another reader of CSV sees as the same
// number of rows and columns; and the text of those rows is the file's own.
func FuzzCSV(f *testing.F) {
	for _, seed := range []string{"1\tx\n2\t\\N\n\\.\n\n\n", "\\.\n", "\t\n\\.", "\\101\\x41\t\"\n\\.\n", "a\t\\\\.\n\\.\n", "a"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		columns := []string{"a", "b"}
		var out bytes.Buffer
		rows, err := copytext.CSV(&out, bytes.NewReader(data), columns)
		var text bytes.Buffer
		textRows, textErr := copytext.Copy(&text, bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, capstan.ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		if textErr != nil || textRows != rows || !bytes.HasPrefix(data, text.Bytes()) {
			t.Fatalf("as text %d rows instead of %d, %v", textRows, rows, textErr)
		}
		// The other reader knows no NULL, and takes CR LF within quotes for LF.
		r := csv.NewReader(strings.NewReader(out.String()))
		r.FieldsPerRecord = len(columns)
		all, err := r.ReadAll()
		if err != nil || int64(len(all)) != rows+1 {
			t.Fatalf("%d rows instead of %d, %v\n%q", len(all), rows+1, err, out.String())
		}
	})
}
