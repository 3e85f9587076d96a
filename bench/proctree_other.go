//go:build !linux

package main

import "capstan"

// watchTree does nothing here.
func watchTree(int) (end func() capstan.Bytes) { return func() capstan.Bytes { return 0 } }
