package cli_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// hugeFile is a regular file of any size, full of data, that takes no disk: a
// FUSE filesystem whose root is this one file, mounted on a file's name. Its
// content repeats a block of text; the block is longer than what compressors
// look back and no multiple of what readers ask for.
//
// The protocol is that of linux/fuse.h, version 7.31. Only what a reader of one
// file needs is answered.
type hugeFile struct {
	device int
	size   int64
	block  []byte // twice, so that a piece that wraps around is in one piece
	period int64

	// stall, when not 0, is the offset behind which nothing is answered any more,
	// as on a network filesystem whose server is gone. stalled is closed when
	// somebody waits for an answer; closing proceed lets it go on.
	stall            int64
	stalled, proceed chan struct{}
}

const (
	fuseGetattr = 3
	fuseOpen    = 14
	fuseRead    = 15
	fuseStatfs  = 17
	fuseRelease = 18
	fuseFlush   = 25
	fuseInit    = 26

	fuseMaxRead = 1 << 20
)

// mountHugeFile makes a file of the given size at path; the directory is made.
func mountHugeFile(t *testing.T, path string, size int64) *hugeFile {
	t.Helper()
	return (&hugeFile{size: size}).mount(t, path)
}

func (h *hugeFile) mount(t *testing.T, path string) *hugeFile {
	t.Helper()
	write(t, path, nil)
	device, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open /dev/fuse: %v", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=0,group_id=0,allow_other,max_read=%d", device, unix.S_IFREG|0o644, fuseMaxRead)
	if err := unix.Mount("huge", path, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		t.Fatalf("mount a FUSE filesystem (needs root): %v", errors.Join(err, unix.Close(device)))
	}
	text := log(80, 9_000_011)
	h.device, h.block, h.period = device, append(text, text...), int64(len(text))
	h.stalled, h.proceed = make(chan struct{}), make(chan struct{})
	servers, n := sync.WaitGroup{}, 2
	if h.stall > 0 {
		n = 1 // what it does not take, nobody takes
	}
	for range n {
		servers.Go(func() {
			if err := h.serve(); err != nil {
				t.Errorf("FUSE server: %v", err)
				_ = unix.Unmount(path, unix.MNT_FORCE) // whoever waits for an answer gets an error
			}
		})
	}
	t.Cleanup(func() {
		h.goOn()
		// Unmounting ends the servers; closing the device sets free whoever waits.
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", path, err)
		}
		servers.Wait()
		if err := unix.Close(device); err != nil {
			t.Error(err)
		}
	})
	return h
}

// log gives text of n bytes that compresses as well as that of a server's log.
func log(seed uint64, n int) []byte {
	text := make([]byte, 0, n+1000)
	for line := 0; len(text) < n; line++ {
		sentence := prose(seed+uint64(line), 80)
		for i := range 16 {
			text = fmt.Appendf(text, "%06d.%02d ", line, i)
			text = append(append(text, sentence...), '\n')
		}
	}
	return text[:n]
}

// sum is the SHA-256 of the whole content.
func (h *hugeFile) sum() (sum [32]byte) {
	hash := sha256.New()
	for at := int64(0); at < h.size; at += fuseMaxRead {
		hash.Write(h.piece(at, fuseMaxRead))
	}
	return [32]byte(hash.Sum(nil))
}

// piece is the content from an offset on, at most n bytes.
func (h *hugeFile) piece(at, n int64) []byte {
	n = max(min(n, h.size-at), 0)
	begin := at % h.period
	return h.block[begin : begin+n]
}

// serve answers requests until the filesystem is unmounted.
func (h *hugeFile) serve() error {
	request := make([]byte, 64<<10)
	for {
		n, err := unix.Read(h.device, request)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EAGAIN):
			continue
		case errors.Is(err, unix.ENODEV):
			return nil
		case err != nil:
			return fmt.Errorf("read: %w", err)
		}
		reply, errno, silent := h.answer(request[:n])
		if silent {
			continue
		}
		header := binary.LittleEndian.AppendUint32(nil, uint32(16+len(reply)))
		header = binary.LittleEndian.AppendUint32(header, uint32(-int32(errno)))
		header = append(header, request[8:16]...)
		if _, err := unix.Writev(h.device, [][]byte{header, reply}); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("write: %w", err)
		}
		if order := binary.LittleEndian; h.stall > 0 && order.Uint32(request[4:]) == fuseRead && int64(order.Uint64(request[48:])) >= h.stall {
			h.stall = 0
			if err := h.hang(); err != nil {
				return err
			}
		}
	}
}

// hang takes no request until it may proceed.
func (h *hugeFile) hang() error {
	for {
		select {
		case <-h.proceed: // given up before anybody asked
			return nil
		default:
		}
		waiting := []unix.PollFd{{Fd: int32(h.device), Events: unix.POLLIN}}
		n, err := unix.Poll(waiting, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("poll: %w", err)
		}
		if n > 0 {
			close(h.stalled)
			<-h.proceed
			return nil
		}
	}
}

// goOn ends a stall; it may be called again.
func (h *hugeFile) goOn() {
	select {
	case <-h.proceed:
	default:
		close(h.proceed)
	}
}

// answer gives the body of the reply to a request; silent ones have none.
func (h *hugeFile) answer(request []byte) (reply []byte, errno unix.Errno, silent bool) {
	body := request[40:]
	order := binary.LittleEndian
	switch order.Uint32(request[4:]) {
	case fuseInit:
		reply = make([]byte, 64)
		order.PutUint32(reply[0:], 7)
		order.PutUint32(reply[4:], 31)
		order.PutUint32(reply[8:], fuseMaxRead) // read-ahead
		order.PutUint32(reply[12:], 1<<22)      // FUSE_MAX_PAGES
		order.PutUint16(reply[16:], 16)
		order.PutUint32(reply[20:], 4096) // nobody writes
		order.PutUint32(reply[24:], 1)
		order.PutUint16(reply[28:], fuseMaxRead/4096)
	case fuseGetattr:
		reply = make([]byte, 16+88)
		order.PutUint64(reply[0:], 3600) // seconds that it may be kept
		attr := reply[16:]
		order.PutUint64(attr[0:], 1)
		order.PutUint64(attr[8:], uint64(h.size))
		order.PutUint64(attr[16:], uint64(h.size+511)/512)
		for _, second := range []int{24, 32, 40} {
			order.PutUint64(attr[second:], 1_600_000_000)
		}
		order.PutUint32(attr[60:], unix.S_IFREG|0o644)
		order.PutUint32(attr[64:], 1)
		order.PutUint32(attr[80:], 4096)
	case fuseOpen:
		reply = make([]byte, 16)
		// FOPEN_DIRECT_IO: 20 GiB need not go through the page cache. FOPEN_NOFLUSH: the
		// kernel would wait for the answer even at the end of a process that is killed.
		order.PutUint32(reply[8:], 1<<0|1<<5)
	case fuseRead:
		reply = h.piece(int64(order.Uint64(body[8:])), int64(order.Uint32(body[16:])))
	case fuseStatfs:
		reply = make([]byte, 80)
	case fuseRelease, fuseFlush:
	case 2, 36, 42: // forget, interrupt, forget several
		silent = true
	default:
		errno = unix.ENOSYS // the kernel does without, and does not ask again
	}
	return reply, errno, silent
}

// TestHugeFile proves the stand-in: it is what the tests with it say it is.
func TestHugeFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "dir", "huge")
	h := mountHugeFile(t, path, 20<<20+12345)
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil || st.Mode != unix.S_IFREG|0o644 || st.Size != h.size {
		t.Fatalf("mode %o, size %d, %v", st.Mode, st.Size, err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	if hole, err := unix.Seek(fd, 0, unix.SEEK_HOLE); err != nil || hole != h.size {
		t.Errorf("a hole at %d of %d: %v", hole, h.size, err)
	}
	hash := sha256.New()
	if n, err := io.Copy(hash, io.NewSectionReader(file, 0, h.size+1)); err != nil || n != h.size {
		t.Fatalf("%d bytes of %d: %v", n, h.size, err)
	}
	if sum := h.sum(); !bytes.Equal(hash.Sum(nil), sum[:]) {
		t.Error("what is read is not what is served")
	}
}
