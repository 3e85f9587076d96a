package archive

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"

	"capstan"
)

// This file is a reader of archives written from docs/format.md alone. It uses
// nothing of the product but the words of the root package, and takes no care of
// speed or damage.

var le = binary.LittleEndian

// referenceRead gives all entries of an archive.
func referenceRead(file []byte, c capstan.Codec) ([]thing, error) {
	sizes, err := referenceIndex(file, c)
	if err != nil {
		return nil, err
	}
	var tar []byte
	off := 0
	for i, s := range sizes {
		content, err := referenceFrame(file[off:off+s[0]], c)
		if err != nil || len(content) != s[1] {
			return nil, fmt.Errorf("frame %d: %d bytes, %w", i, len(content), err)
		}
		tar, off = append(tar, content...), off+s[0]
	}
	return referenceTar(tar)
}

// referenceIndex gives size and content length of all frames (section 2).
func referenceIndex(file []byte, c capstan.Codec) (sizes [][2]int, err error) {
	entries := func(b []byte) (list [][2]int) {
		for ; len(b) > 0; b = b[8:] {
			list = append(list, [2]int{int(le.Uint32(b)), int(le.Uint32(b[4:]))})
		}
		return list
	}
	end := len(file)
	switch c {
	case capstan.CodecNone:
		return [][2]int{{end, end}}, nil
	case capstan.CodecZstd:
		n := int(le.Uint32(file[end-9:]))
		table := file[end-17-8*n:]
		check := file[end-17-8*n-34 : end-17-8*n]
		if le.Uint32(table) != 0x184D2A5E || le.Uint32(file[end-4:]) != 0x8F92EAB1 || le.Uint32(check) != 0x184D2A5D {
			return nil, errors.New("no index")
		}
		if string(check[8:26]) != "capstan archive 1\n" || le.Uint64(check[26:]) != xxhash.Sum64(table) {
			return nil, errors.New("the index is damaged")
		}
		return entries(table[8 : 8+8*n]), nil
	case capstan.CodecGzip:
	}
	for first := -1; first != 0; {
		length := int(le.Uint32(file[end-14:]))
		payload := file[end-length+16 : end-10]
		n := int(le.Uint32(payload[9:]))
		if payload[0] != 1 || string(file[end-length+12:end-length+14]) != "CP" {
			return nil, errors.New("no index")
		}
		if le.Uint64(payload[13+8*n:]) != xxhash.Sum64(payload[:13+8*n]) {
			return nil, errors.New("the index is damaged")
		}
		sizes = append(entries(payload[13:13+8*n]), sizes...)
		first, end = int(le.Uint32(payload[5:])), end-length
	}
	return sizes, nil
}

func referenceFrame(b []byte, c capstan.Codec) ([]byte, error) {
	switch c {
	case capstan.CodecZstd:
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer d.Close()
		return d.DecodeAll(b, nil)
	case capstan.CodecGzip:
		r, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	case capstan.CodecNone:
	}
	return b, nil
}

// referenceTar takes a tar stream apart (section 3).
func referenceTar(tar []byte) (things []thing, err error) {
	records, long := map[string]string{}, map[byte]string{}
	var xattrs []capstan.Xattr
	for off := 0; ; {
		h := tar[off : off+512]
		off += 512
		if h[0] == 0 && len(bytes.Trim(tar[off-512:], "\x00")) == 0 {
			return things, nil
		}
		text := func(at, n int) string { s, _, _ := strings.Cut(string(h[at:at+n]), "\x00"); return s }
		number := func(key string, at, n int) int64 {
			if s, ok := records[key]; ok {
				v, _ := strconv.ParseInt(s, 10, 64)
				return v
			}
			if h[at] == 0x80 {
				return int64(binary.BigEndian.Uint32(h[at+4:]))
			}
			v, e := strconv.ParseInt(strings.Trim(text(at, n), " "), 8, 64)
			if e != nil && text(at, n) != "" {
				err = e
			}
			return v
		}
		size := int(number("size", 124, 12))
		content := tar[off : off+size]
		off += (size + 511) / 512 * 512
		switch flag := h[156]; flag {
		case 'L', 'K':
			long[flag] = strings.TrimSuffix(string(content), "\x00")
			continue
		case 'x':
			xattrs = referenceRecords(content, records)
			continue
		}
		first := func(texts ...string) string {
			for _, s := range texts {
				if s != "" {
					return s
				}
			}
			return ""
		}
		name := text(0, 100)
		if prefix := text(345, 155); prefix != "" {
			name = prefix + "/" + name
		}
		e := capstan.Entry{
			Path: strings.TrimSuffix(first(records["GNU.sparse.name"], records["path"], long['L'], name), "/"),
			Link: first(records["linkpath"], long['K'], text(157, 100)),
			Kind: map[byte]capstan.EntryKind{
				'0': capstan.KindFile, '1': capstan.KindHardlink, '2': capstan.KindSymlink, '3': capstan.KindCharDevice,
				'4': capstan.KindBlkDevice, '5': capstan.KindDir, '6': capstan.KindFifo,
			}[h[156]],
			Mode: uint32(number("", 100, 8)), UID: uint32(number("uid", 108, 8)), GID: uint32(number("gid", 116, 8)),
			User: first(records["uname"], text(265, 32)), Group: first(records["gname"], text(297, 32)),
			ModTime: referenceTime(records["mtime"], number("", 136, 12)),
			Major:   uint32(number("", 329, 8)), Minor: uint32(number("", 337, 8)),
			Size: int64(size), Xattrs: xattrs, ACL: records["SCHILY.acl.access"], DefaultACL: records["SCHILY.acl.default"],
		}
		if records["GNU.sparse.major"] == "1" {
			content = referenceMap(&e, content, records["GNU.sparse.realsize"])
		}
		things = append(things, thing{entry: e, data: content})
		if err != nil {
			return nil, err
		}
		clear(records)
		clear(long)
		xattrs = nil
	}
}

// referenceRecords reads a PAX extended header (sections 3.2, 4.4).
func referenceRecords(b []byte, records map[string]string) (xattrs []capstan.Xattr) {
	for len(b) > 0 {
		length, _, _ := strings.Cut(string(b), " ")
		n, _ := strconv.Atoi(length)
		key, value, _ := strings.Cut(string(b[len(length)+1:n-1]), "=")
		b = b[n:]
		if name, found := strings.CutPrefix(key, "SCHILY.xattr."); found {
			name = strings.NewReplacer("%25", "%", "%3D", "=").Replace(name)
			xattrs = append(xattrs, capstan.Xattr{Name: name, Value: []byte(value)})
			continue
		}
		records[key] = value
	}
	return xattrs
}

// referenceTime reads a time (section 4.2).
func referenceTime(record string, seconds int64) time.Time {
	if record == "" {
		return time.Unix(seconds, 0)
	}
	text, negative := strings.CutPrefix(record, "-")
	whole, fraction, _ := strings.Cut(text, ".")
	sec, _ := strconv.ParseInt(whole, 10, 64)
	nsec, _ := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if negative {
		return time.Unix(-sec, -nsec)
	}
	return time.Unix(sec, nsec)
}

// referenceMap reads the map of a sparse file and gives the content behind it
// (section 4.5).
func referenceMap(e *capstan.Entry, content []byte, realSize string) []byte {
	at := 0
	number := func() int64 {
		line, _, _ := strings.Cut(string(content[at:min(len(content), at+30)]), "\n")
		at += len(line) + 1
		n, _ := strconv.ParseInt(line, 10, 64)
		return n
	}
	for range number() {
		if x := (capstan.Extent{Offset: number(), Length: number()}); x.Length > 0 {
			e.Data = append(e.Data, x)
		}
	}
	e.Sparse = true
	e.Size, _ = strconv.ParseInt(realSize, 10, 64)
	return content[(at+511)/512*512:]
}
