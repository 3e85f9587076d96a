package pgtoc

import "strconv"

// Version is that of a file, not that of pg_dump.
type Version struct{ Major, Minor, Revision byte }

// String gives "1.16.0".
func (v Version) String() string {
	return strconv.Itoa(int(v.Major)) + "." + strconv.Itoa(int(v.Minor)) + "." + strconv.Itoa(int(v.Revision))
}

// Compression is what the header says of the data files. pg_restore does not rely on
// it: it looks for N.dat, N.dat.gz, N.dat.lz4 and N.dat.zst.
type Compression int32

// The values since 1.15. Before, it is a level of gzip: 0 none, -1 the default.
const (
	CompressionNone Compression = 0
	CompressionGzip Compression = 1
	CompressionLZ4  Compression = 2
	CompressionZstd Compression = 3
	// GzipDefault is the level that 1.14 has for gzip at its default.
	GzipDefault Compression = -1
)

// Text is a string that may be absent, which is not the same as empty.
type Text struct {
	Value string
	Valid bool
}

// Some is a text that is there.
func Some(value string) Text { return Text{Value: value, Valid: true} }

// Section is the part of a restore that an entry belongs to.
type Section int32

// The sections.
const (
	SectionNone Section = 1 + iota
	SectionPreData
	SectionData
	SectionPostData
)

// What is put in Entry.Desc for entries with data files.
const (
	DescTableData    = "TABLE DATA"
	DescLargeObjects = "BLOBS"
)

// Entry is one object, or the data of one.
type Entry struct {
	DumpID     int32
	Data       bool // a file holds it
	CatalogOID Text // of the catalog that the object is listed in, decimal
	OID        Text // decimal
	Tag        Text // its name
	Desc       Text // what it is: "TABLE", "TABLE DATA"
	Section    Section
	Definition Text
	Drop       Text
	Copy       Text // "COPY public.t (a, b) FROM stdin;\n"
	Namespace  Text
	Tablespace Text
	Method     Text  // table access method
	Kind       int32 // pg_class.relkind as a number; since 1.16, else 0
	Owner      Text
	WithOIDs   Text    // "false" in all versions that are read here
	DependsOn  []int32 // dump ids
	File       Text    // of the data, without the suffix of its compression; empty without data
}

// Archive is a whole table of contents.
type Archive struct {
	Version       Version
	Format        byte // 3 also in a directory, where it says "tar"
	Compression   Compression
	Created       [7]int32 // struct tm: seconds, minutes, hours, day, month from 0, year from 1900, daylight saving
	Database      Text
	ServerVersion Text // "15.20 (Debian 15.20-0+deb12u1)"
	DumpVersion   Text
	Entries       []Entry
}

// Compress sets what the header says of the compression, in the words of its version.
func (a *Archive) Compress(c Compression) {
	if !a.Version.hasAlgorithm() && c == CompressionGzip {
		c = GzipDefault
	}
	a.Compression = c
}

// ByFile gives the entries with data, by the name of their file.
func (a *Archive) ByFile() map[string]*Entry {
	files := map[string]*Entry{}
	for i := range a.Entries {
		if e := &a.Entries[i]; e.Data && e.File.Value != "" {
			files[e.File.Value] = e
		}
	}
	return files
}

const (
	magic   = "PGDMP"
	intSize = 4
	offSize = 8
)

func (v Version) known() bool { return v.Major == 1 && v.Minor >= 14 && v.Minor <= 16 }

func (v Version) hasAlgorithm() bool { return v.Minor >= 15 }

func (v Version) hasKind() bool { return v.Minor >= 16 }
