package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"capstan"
)

// treeRoots are directories that a Debian machine with Go has: text, sources, zip
// files that are compressed already, and shared libraries. The last is the largest,
// and makes up for what the others lack.
func treeRoots(ctx context.Context) []string {
	roots := []string{"/usr/share"}
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOMODCACHE").Output()
	if err == nil {
		roots = append(roots, strings.Fields(string(out))...)
	}
	return append(roots, "/usr/lib")
}

// collectTree copies files, directories and symbolic links from each root to
// dir until it holds about limit bytes. Each root gets an equal share of what
// the ones before it left, so that no kind of file crowds out the others. What
// cannot be read is left out.
func collectTree(ctx context.Context, dir string, roots []string, limit capstan.Bytes) error {
	left := int64(limit)
	for i, root := range roots {
		share := left / int64(len(roots)-i)
		copied, err := copyTree(ctx, filepath.Join(dir, strconv.Itoa(i)+"-"+filepath.Base(root)), root, share)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("copy %s: %w", root, err)
		}
		left -= copied
	}
	return nil
}

func copyTree(ctx context.Context, to, from string, limit int64) (copied int64, err error) {
	err = filepath.WalkDir(from, func(name string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil { // unreadable: leave it out, but do not go without the root
			if name == from {
				return err
			}
			return nil
		}
		below, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		target := filepath.Join(to, below)
		switch {
		case entry.IsDir():
			return os.MkdirAll(target, 0o755)
		case entry.Type()&fs.ModeSymlink != 0:
			if link, err := os.Readlink(name); err == nil {
				return os.Symlink(link, target)
			}
		case entry.Type().IsRegular():
			n, err := copyFile(target, name)
			copied += n
			if err != nil {
				return err
			}
			if copied >= limit {
				return fs.SkipAll
			}
		}
		return nil
	})
	return copied, err
}

// copyFile keeps permissions and time, as a backup of the original would see them.
func copyFile(to, from string) (n int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, nil // unreadable: left out for everybody
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	info, err := in.Stat()
	if err != nil {
		return 0, err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm()|0o200)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return n, err
	}
	return n, os.Chtimes(to, info.ModTime(), info.ModTime())
}

// writeLog writes lines that compress as logs do, and of which no two are
// alike: a tool that stores equal blocks once gains nothing here.
func writeLog(ctx context.Context, name string, size capstan.Bytes) error {
	words := strings.Fields("accepted archive backup bucket closed connection drive entry failed frame from host index job label loaded opened path query read request retry sealed session set source stage tape timeout volume waited written")
	random := rand.New(rand.NewPCG(1, 2))
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var line []byte
	return writeFile(ctx, name, size, func() []byte {
		clock = clock.Add(time.Duration(random.IntN(5_000_000)) * time.Microsecond)
		line = clock.AppendFormat(line[:0], time.RFC3339Nano)
		line = append(line, " host-"...)
		line = strconv.AppendInt(line, int64(random.IntN(40)), 10)
		for range 6 + random.IntN(8) {
			line = append(append(line, ' '), words[random.IntN(len(words))]...)
		}
		line = append(line, " id="...)
		line = strconv.AppendUint(line, random.Uint64(), 16)
		return append(line, '\n')
	})
}

// writeRandom writes bytes that no compressor makes smaller.
func writeRandom(ctx context.Context, name string, size capstan.Bytes) error {
	return writeSeeded(ctx, name, size, 1)
}

// writeSeeded writes random bytes, the same for the same seed of at most 32 bytes.
func writeSeeded(ctx context.Context, name string, size capstan.Bytes, seed ...byte) error {
	var key [32]byte
	copy(key[:], seed)
	random := rand.NewChaCha8(key)
	block := make([]byte, capstan.MiB)
	return writeFile(ctx, name, size, func() []byte {
		_, _ = random.Read(block) // ChaCha8.Read never fails
		return block
	})
}

// writeFile writes what next gives until the file has its size.
func writeFile(ctx context.Context, name string, size capstan.Bytes, next func() []byte) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, int(capstan.MiB))
	for left := int64(size); left > 0; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		piece := next()
		piece = piece[:min(int64(len(piece)), left)]
		if _, err := w.Write(piece); err != nil {
			return err
		}
		left -= int64(len(piece))
	}
	return w.Flush()
}

// writeTiny writes count files of 50 to 350 bytes.
func writeTiny(ctx context.Context, dir string, count int) error {
	const perDir = 1000
	random := rand.New(rand.NewPCG(3, 4))
	var content []byte
	for i := range count {
		sub := filepath.Join(dir, fmt.Sprintf("d%04d", i/perDir))
		if i%perDir == 0 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := os.Mkdir(sub, 0o755); err != nil {
				return err
			}
		}
		content = content[:0]
		for size := 50 + random.IntN(300); len(content) < size; {
			content = strconv.AppendUint(content, random.Uint64(), 36)
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("file-%07d.txt", i)), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// take counts what dir holds, and reads it all if it is told to.
func take(ctx context.Context, dir string, read bool) (census, error) {
	var c census
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		switch {
		case entry.IsDir():
			c.dirs++
		case entry.Type()&fs.ModeSymlink != 0:
			c.links++
		case entry.Type().IsRegular():
			info, err := entry.Info()
			if err != nil {
				return err
			}
			c.files++
			c.bytes += capstan.Bytes(info.Size())
			if read {
				return readAll(name)
			}
		}
		return nil
	})
	return c, err
}

func readAll(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, f)
	return errors.Join(err, f.Close())
}
