// Package config finds out with what settings Capstan was called: flags, the
// environment, the configuration file, secrets, and the home where the state is.
//
// Use: Resolve once per process, with the flags. The file it gives has the jobs,
// volumes and pools; Load and Parse read a file alone. A Secret is only a
// reference: Reveal reads it, when it is needed.
//
// Nothing that a file says is left out in silence: what is not understood is an
// error with its line and column. A key is one line in the tables of keys.go.
//
// Blocking: files are read, nothing else is waited for. The environment is read
// when asked and never changed.
package config
