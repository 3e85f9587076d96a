//go:build cgo && ((linux && (amd64 || arm64)) || (darwin && (amd64 || arm64)) || (windows && amd64))

package codec

/*
#cgo noescape capstan_zstd_compress
#cgo nocallback capstan_zstd_compress
#include "zstd_libzstd.h"
*/
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/valyala/gozstd"
)

// Engine names the zstd implementation that encoders and decoders use.
const Engine = "libzstd"

// libCompressor is the reference implementation, linked statically by gozstd. The
// binding offers levels alone, so the library is called here, for its parameters.
// Its context lies outside Go's memory and is freed with the compressor.
type libCompressor struct{ context *C.capstan_zstd }

func newZstdCompressor(level int) (zstdCompressor, error) {
	c := &libCompressor{context: C.capstan_zstd_new(C.int(level))}
	if c.context == nil {
		return nil, fmt.Errorf("libzstd %s refuses its parameters, or memory is short", C.GoString(C.capstan_zstd_version()))
	}
	runtime.AddCleanup(c, func(context *C.capstan_zstd) { C.capstan_zstd_free(context) }, c.context)
	return c, nil
}

// compress relies on the room that the encoder makes: there is no other error.
func (c *libCompressor) compress(dst, src []byte) []byte {
	room := dst[len(dst):cap(dst)]
	n := C.capstan_zstd_compress(c.context, unsafe.Pointer(unsafe.SliceData(room)), C.size_t(len(room)), unsafe.Pointer(unsafe.SliceData(src)), C.size_t(len(src)))
	runtime.KeepAlive(c)
	if uint64(n) > uint64(len(room)) {
		panic(fmt.Sprintf("libzstd cannot compress %d bytes into %d: %s", len(src), len(room), C.GoString(C.capstan_zstd_error(n))))
	}
	return dst[:len(dst)+int(n)]
}

type libDecompressor struct{}

func newZstdDecompressor() (zstdDecompressor, error) { return libDecompressor{}, nil }

func (libDecompressor) decompress(dst, src []byte) ([]byte, error) {
	room := cap(dst) - len(dst)
	return gozstd.DecompressLimited(dst, src, max(room, 1))
}
