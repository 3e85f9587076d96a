// Package archive writes entries into archives and reads them back: tar streams
// in independently readable frames, as docs/format.md describes them.
//
// # Packing
//
// A Packer is used by one goroutine: NewPacker, Add for every item in order,
// then exactly one of Close and Abort. What happens to an item:
//
//  1. Add lays it out: it writes the header and small content into the frame
//     that is being filled, and reserves ranges of frames for larger content
//     without reading it. It blocks while all frames are in use.
//  2. Workers take frames in order. They read contents into the reserved ranges
//     (the ranges of one content one after another, whichever worker has them),
//     and compress.
//  3. What came of a frame and the contents in it are hashed together, frame
//     after frame, in both lanes of package digest.
//  4. One goroutine writes the frames in order meanwhile, and calls every method
//     of the Sink.
//
// Frames come from a fixed pool, so memory is bounded whatever comes in. Nothing
// deadlocks as long as a Content and the Sink do not wait for Add: frames are
// worked on and written in the order in which they were laid out.
//
// Size, order and headers alone decide where an archive is cut; the compression
// does not. A file that no archive has room for becomes several entries in
// several archives (see tarfile.PartName), delivered as one.
//
// # Reading
//
// A Reader finds frames through the archive's index, or by a scan where the
// index is damaged. Extract reads wanted entries in parallel, Open a single one,
// Walk all of them without knowing any. Everything is checked: frames by their
// checksums, headers against the entries, contents against their hashes.
//
// # Blocking
//
// Both directions block only on the io.Reader, io.Writer, io.ReaderAt and
// callbacks that they are given, and declare it through Hooks. They end when their
// context ends, as soon as a call in progress returns: whoever implements these
// must wake them then.
package archive
