//go:build !linux

package capstantest

import "testing"

// Option makes a comparison forgive something.
type Option func()

// HostileTree skips the test: it needs Linux.
func HostileTree(tb testing.TB, _ string) { needLinux(tb) }

// RealTree skips the test: it needs Linux.
func RealTree(tb testing.TB, _ int) string { return needLinux(tb) }

// CompareTrees skips the test: it needs Linux.
func CompareTrees(tb testing.TB, _, _ string, _ ...Option) { needLinux(tb) }

// RemoveAll skips the test: it needs Linux.
func RemoveAll(tb testing.TB, _ string) { needLinux(tb) }

func needLinux(tb testing.TB) string {
	tb.Helper()
	tb.Skip("needs Linux")
	return ""
}
