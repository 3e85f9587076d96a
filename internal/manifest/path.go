package manifest

import (
	"fmt"
	"strings"
)

// checkPath lets through relative, slash-separated paths without empty, "." or
// ".." components and without NUL: those that stay within a directory.
func checkPath(path string) error {
	start := 0
	for i := 0; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			if path[i] == 0 {
				return fmt.Errorf("path %q holds a NUL", path)
			}
			continue
		}
		switch path[start:i] {
		case "":
			return fmt.Errorf("path %q is not relative or has an empty component", path)
		case ".", "..":
			return fmt.Errorf("path %q has a component %q", path, path[start:i])
		}
		start = i + 1
	}
	return nil
}

// checkFileName lets through the name of a file within one directory. "-" is no
// name: stock tools take it for their standard input.
func checkFileName(name string) error {
	if name == "" || name == "-" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%q is no file name", name)
	}
	return nil
}
