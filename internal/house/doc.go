// Package house holds no code, only the rules of the house as tests: which
// package may import which (the ranks), and what no file of the repository may
// hold. Run them alone with
//
//	go test -count=1 ./internal/house
//
// (-count=1, since the cache of go test does not know which files git lists).
// The rules are stated once, as tables at the head of their files. Every rule
// is a function from facts to breaches and is itself tested with facts that
// break it, so that a rule which has gone blind fails too.
package house
