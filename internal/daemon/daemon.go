// Package daemon constructs what a command or a server works with, in the
// right order, and closes it in reverse: the home, the catalog, the signing
// key, sources, volumes and the engine that joins them.
//
// Use: Open once per process, Close at the end. Nothing here is global.
package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"capstan"
	"capstan/internal/catalog"
	"capstan/internal/config"
	"capstan/internal/copier"
	"capstan/internal/manifest"
	"capstan/internal/pipeline"
	"capstan/internal/progress"
	"capstan/internal/rotation"
	"capstan/internal/stage"
	"capstan/internal/volume/dir"
)

// Options say where the state is and how much may be used.
type Options struct {
	Home    string        // --home; empty: the default
	Catalog string        // --catalog: path of a SQLite catalog; empty: in the home
	Memory  capstan.Bytes // --memory; 0: the default
	Say     func(format string, args ...any)
	Warn    func(format string, args ...any) // nil: Say
}

// Daemon owns what it opened.
type Daemon struct {
	Home    config.Home
	Catalog *catalog.Catalog
	Engine  *pipeline.Engine
	Tracker *progress.Tracker
	stage   *stage.Stage // nil until it was asked for
	found   []string     // lines that were said of stages
	say     func(format string, args ...any)
	warn    func(format string, args ...any)
}

// Open creates the home if need be, opens and migrates the catalog, and loads
// or makes the signing key.
func Open(ctx context.Context, options Options) (*Daemon, error) {
	home, err := config.FindHome(options.Home)
	if err != nil {
		return nil, err
	}
	if err := home.Create(); err != nil {
		return nil, err
	}
	if options.Say == nil {
		options.Say = func(string, ...any) {}
	}
	if options.Warn == nil {
		options.Warn = options.Say
	}
	tracker := progress.New(time.Now)
	waits := &waits{tracker: tracker, say: options.Say, after: sayAfter}
	path := home.Catalog()
	if options.Catalog != "" {
		path = options.Catalog
	}
	records, err := catalog.Open(ctx, path, catalog.Options{Wait: waits.begin})
	if err != nil {
		return nil, err
	}
	key, err := manifest.LoadOrCreateKey(home.Key())
	if err != nil {
		return nil, errors.Join(err, records.Close())
	}
	if options.Memory == 0 {
		options.Memory = config.DefaultMemory()
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	d := &Daemon{Home: home, Catalog: records, Tracker: tracker, say: options.Say, warn: options.Warn}
	d.Engine = &pipeline.Engine{
		Catalog: records, Tracker: tracker, Key: key, Host: host, Now: time.Now,
		Open: d.reopen, Say: options.Say, Warn: options.Warn, Memory: options.Memory, Dump: d.dump,
		Staged: d.staged,
	}
	return d, nil
}

// Close closes the stage and the catalog. A stage that cannot be closed is told: what it
// has of this process is nobody's any more, and whoever opens it next clears it.
func (d *Daemon) Close() error {
	if d.stage != nil {
		if err := d.stage.Close(); err != nil {
			d.warn("stage %s could not be closed: %v; safe: what is in it; next: look at its disk", d.stage.Path(), err)
		}
	}
	return d.Catalog.Close()
}

// Rotation gives sets other recipients, opened with the engine's identities.
func (d *Daemon) Rotation() *rotation.Runner {
	e := d.Engine
	return &rotation.Runner{
		Catalog: d.Catalog, Tracker: d.Tracker, Key: e.Key, Identities: e.Identities, Now: e.Now, Open: e.Open, Say: e.Say,
	}
}

// VolumePath is the location of the volume that the user named, whether or not it
// is there already.
func VolumePath(spec string) (string, error) {
	if err := onlyFiles("volume", spec); err != nil {
		return "", err
	}
	return answering(spec)
}

// Volume opens the volume that the user named, for writing: a directory, which
// is made if the catalog does not know it and it is not there.
func (d *Daemon) Volume(ctx context.Context, spec string) (capstan.Volume, error) {
	path, err := VolumePath(spec)
	if err != nil {
		return nil, err
	}
	known, found, err := d.Catalog.VolumeByLocation(ctx, path)
	if err != nil {
		return nil, err
	}
	options := dir.Options{Create: !found, Catalog: d.Engine.Key.ID()}
	if found {
		options.Known = known.ID
	}
	return dir.Open(path, options)
}

// Existing opens a volume only to read what it holds; it creates nothing.
func (d *Daemon) Existing(spec string) (capstan.Volume, error) {
	path, err := VolumePath(spec)
	if err != nil {
		return nil, err
	}
	return dir.Open(path, dir.Options{Catalog: d.Engine.Key.ID()})
}

// reopen opens a volume that the catalog knows.
func (d *Daemon) reopen(_ context.Context, info capstan.VolumeInfo) (capstan.Volume, error) {
	return dir.Open(info.Location, dir.Options{Known: info.ID, Catalog: d.Engine.Key.ID()})
}

// AdHocJob is the key of the unnamed job of these sources and volumes.
func AdHocJob(sources []capstan.Source, volumes []copier.Volume) capstan.JobKey {
	specs := make([]string, len(sources))
	for i, source := range sources {
		specs[i] = source.Spec()
	}
	locations := make([]string, len(volumes))
	for i, volume := range volumes {
		locations[i] = volume.Info.Location
	}
	slices.Sort(specs)
	slices.Sort(locations)
	sum := sha256.Sum256([]byte(strings.Join(specs, "\x00") + "\x00\x00" + strings.Join(locations, "\x00")))
	return capstan.JobKey("adhoc-" + hex.EncodeToString(sum[:6]))
}
