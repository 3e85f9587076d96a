//go:build !linux && !darwin

package main

import (
	"os"

	"capstan"
)

// peakRSS is not known here.
func peakRSS(*os.ProcessState) capstan.Bytes { return 0 }

// settle does nothing here.
func settle() {}

// room is not known here.
func room(string) (capstan.Bytes, bool) { return 0, false }
