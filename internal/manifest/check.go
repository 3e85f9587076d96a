package manifest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"capstan"
)

// Finding is a file of a set that is not as its sum says.
type Finding struct {
	Name  string
	State capstan.CopyState // CopyMissing or CopyDamaged
	Err   error             // why; wraps fs.ErrNotExist or capstan.ErrDamaged, or is the failure to read
}

// Opener opens a file of a set; fs.ErrNotExist means that it is missing.
type Opener func(ctx context.Context, name string) (capstan.VolumeReader, error)

// Check reads every file that has a sum, whole, and compares. It gives the
// files that are missing, different or unreadable; an empty result means that
// every byte is right. read is told after each piece how many bytes it had, and
// may be nil. The error is the cause of ctx, nothing else.
func Check(ctx context.Context, sums []Sum, open Opener, read func(n int)) ([]Finding, error) {
	var findings []Finding
	buf := make([]byte, 1<<20)
	for _, sum := range sums {
		err := checkFile(ctx, sum, open, read, buf)
		if cause := context.Cause(ctx); cause != nil {
			return findings, cause
		}
		if err == nil {
			continue
		}
		finding := Finding{Name: sum.Name, State: capstan.CopyDamaged, Err: err}
		if errors.Is(err, fs.ErrNotExist) {
			finding.State = capstan.CopyMissing
		}
		findings = append(findings, finding)
	}
	return findings, nil
}

func checkFile(ctx context.Context, sum Sum, open Opener, read func(n int), buf []byte) (err error) {
	file, err := open(ctx, sum.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	hash := sha256.New()
	for offset := int64(0); offset < file.Size(); {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		piece := buf[:min(int64(len(buf)), file.Size()-offset)]
		n, err := file.ReadAt(piece, offset)
		hash.Write(piece[:n])
		offset += int64(n)
		if read != nil {
			read(n)
		}
		if n == len(piece) {
			continue
		}
		if err == nil || errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: it ends after %d of %d bytes", capstan.ErrDamaged, offset, file.Size())
		}
		return err
	}
	if capstan.Hash(hash.Sum(nil)) != sum.Hash {
		return fmt.Errorf("%w: its SHA-256 is not the one in %s", capstan.ErrDamaged, SumsName)
	}
	return nil
}
