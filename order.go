package capstan

import "strings"

// ComparePaths orders paths component by component, so that "/" sorts below
// every other byte: a directory stands directly before all that lies in it.
// This is the order of scans, archives and manifests. It returns a negative
// number, zero, or a positive number.
func ComparePaths(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		case a[i] < b[i]:
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}

// SplitPath cuts a path at its last slash; dir is empty for a single component.
func SplitPath(path string) (dir, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

// JoinPath joins two relative paths with a slash; an empty one is left out.
func JoinPath(dir, name string) string {
	switch {
	case dir == "":
		return name
	case name == "":
		return dir
	}
	return dir + "/" + name
}

// Within reports whether path is dir or lies below it; everything lies within
// the empty path.
func Within(path, dir string) bool {
	return dir == "" || path == dir || (len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir)
}
