// Package cli is the command line: it parses, calls what is below, and prints.
//
// Use: main calls Run once. Results go to stdout and are complete; progress and
// messages go to stderr, are dropped rather than waited for, and never hold the
// work up. Exit codes are those of the command contract.
package cli
