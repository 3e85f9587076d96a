package manifest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"capstan"
)

// Sum is the SHA-256 of one file of a set, as it lies on the volume.
type Sum struct {
	Name string
	Hash capstan.Hash
}

// WriteSums writes the content of SHA256SUMS: one line a file, in the given
// order, in the form that `sha256sum -c` reads. Names must be file names, each
// once, else nothing is written.
func WriteSums(w io.Writer, sums []Sum) error {
	var out []byte
	seen := make(map[string]bool, len(sums))
	for _, sum := range sums {
		if err := checkFileName(sum.Name); err != nil {
			return err
		}
		if seen[sum.Name] {
			return fmt.Errorf("%q has two sums", sum.Name)
		}
		seen[sum.Name] = true
		name := escapeName(sum.Name)
		if name != sum.Name {
			out = append(out, '\\')
		}
		out = hex.AppendEncode(out, sum.Hash[:])
		out = append(out, "  "+name+"\n"...)
	}
	_, err := w.Write(out)
	return err
}

// escapeName escapes, as GNU coreutils do, what would break a line.
func escapeName(name string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(name)
}

func unescapeName(name string) string {
	return strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r").Replace(name)
}

// ParseSums reads SHA256SUMS, also one that sha256sum wrote. It gives
// capstan.ErrDamaged for what is none, or what names a file outside of the
// directory or twice.
func ParseSums(data []byte) ([]Sum, error) {
	var sums []Sum
	seen := map[string]bool{}
	number := 0
	for line := range bytes.Lines(data) {
		number++
		sum, err := parseSum(line)
		if err == nil && seen[sum.Name] {
			err = fmt.Errorf("%q has two sums", sum.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s line %d: %w: %w", SumsName, number, capstan.ErrDamaged, err)
		}
		seen[sum.Name] = true
		sums = append(sums, sum)
	}
	return sums, nil
}

func parseSum(line []byte) (Sum, error) {
	line, whole := bytes.CutSuffix(line, []byte("\n"))
	if !whole {
		return Sum{}, errors.New("it is cut off")
	}
	line, escaped := bytes.CutPrefix(line, []byte(`\`))
	const digits = 64
	// A second space marks a text file, a star a binary one; they are the same.
	if len(line) < digits+3 || line[digits] != ' ' || (line[digits+1] != ' ' && line[digits+1] != '*') {
		return Sum{}, errors.New("it is not a sum and a name")
	}
	hash, err := parseHash(line[:digits])
	if err != nil {
		return Sum{}, err
	}
	name := string(line[digits+2:])
	if escaped {
		name = unescapeName(name)
	}
	return Sum{Name: name, Hash: hash}, checkFileName(name)
}
