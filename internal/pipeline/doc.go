// Package pipeline joins sources, archives, volumes and the catalog into what
// people ask for: a backup, a restore, a verification, a rebuilt catalog, and that
// sets are let go.
//
// Use: make one Engine per process and call its methods; each call is one run
// and blocks until it is over. Cancelling the context ends a run: what is
// sealed stays, what is not is discarded by the next run of the same job.
//
// Order of truth: bytes are durable on the volume, then the catalog says so.
// No step is reported before the medium has confirmed it.
package pipeline
