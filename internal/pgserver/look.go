package pgserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"capstan/internal/pg"
	"capstan/internal/pgdata"
)

// Look is what could be seen of a cluster at one moment.
type Look struct {
	Server   pg.Server
	Control  pgdata.Control
	Children []pg.Child   // of the postmaster
	Commands []pg.Process // what the archiver has started
	Strays   []pg.Process // what a server that is gone has left behind
	Startup  StartupFiles // of the startup process, if there is one
	Stopping time.Time    // when postmaster.pid was last written: since then it has its present status
}

// StartupFiles says what the startup process has open.
type StartupFiles struct {
	Spill   bool // a spill file in a slot's directory
	SlotDir bool // a directory of a slot, to list or empty it
	WAL     bool // a WAL segment
}

// Observer looks at one cluster again and again.
type Observer struct {
	Cluster *pg.Cluster
	// ClusterName is cluster_name, which stands in every process's title. NewObserver
	// asks the server's program for it.
	ClusterName string
}

// NewObserver finds out what the titles of the cluster's processes look like. name
// replaces what the configuration says, where that is not what the server was
// started with; empty asks.
func NewObserver(ctx context.Context, cluster *pg.Cluster, name string) (*Observer, error) {
	o := &Observer{Cluster: cluster, ClusterName: name}
	server, err := cluster.Server()
	if err != nil || name != "" || server.Presence != pg.Alive {
		return o, err
	}
	values, err := cluster.Settings(ctx, server, "cluster_name")
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause // a time that is over is no refusal
	}
	if err != nil {
		return nil, refused("find the cluster_name of", cluster.Dir, err, "give the one that the server was started with: --cluster-name NAME")
	}
	o.ClusterName = values["cluster_name"]
	return o, nil
}

// Look looks now. postmaster.pid is read before and after the rest: when it changed
// meanwhile, all is looked at again.
func (o *Observer) Look(ctx context.Context) (Look, error) {
	const tries = 5
	for try := 1; ; try++ {
		look, err := o.look(ctx)
		if err != nil {
			return Look{}, err
		}
		after, err := o.Cluster.Server()
		if err != nil {
			return Look{}, err
		}
		before := look.Server
		if try == tries || (before.Presence == after.Presence && before.File == after.File && before.Process.Start == after.Process.Start) {
			return look, nil
		}
	}
}

func (o *Observer) look(ctx context.Context) (Look, error) {
	server, err := o.Cluster.Server()
	if err != nil {
		return Look{}, err
	}
	look := Look{Server: server}
	if info, err := os.Stat(filepath.Join(o.Cluster.Dir, "postmaster.pid")); err == nil {
		look.Stopping = info.ModTime()
	}
	// Children before pg_control: a walsender of the time before the checkpoint
	// must not be taken for one of the time after.
	if look.Children, err = o.Cluster.Children(server, o.ClusterName); err != nil {
		return Look{}, err
	}
	if look.Control, err = o.Cluster.Control(ctx); err != nil {
		return Look{}, err
	}
	for _, child := range look.Children {
		switch child.Role {
		case pg.RoleArchiver:
			if look.Commands, err = o.Cluster.Descendants(child.PID); err != nil {
				return Look{}, err
			}
		case pg.RoleStartup:
			paths, err := o.Cluster.OpenPaths(child.PID)
			if err != nil && !gone(err) {
				return Look{}, fmt.Errorf("look at the files of the startup process: %w", err)
			}
			look.Startup = startupFiles(o.Cluster.Dir, paths)
		default:
		}
	}
	if server.Presence == pg.Absent || server.Presence == pg.Dead {
		if look.Strays, err = o.Cluster.Strays(server); err != nil {
			return Look{}, err
		}
	}
	return look, nil
}

// startupFiles sorts what the startup process has open.
func startupFiles(dir string, paths []string) StartupFiles {
	var files StartupFiles
	for _, path := range paths {
		path = strings.TrimSuffix(path, " (deleted)")
		if rest, ok := strings.CutPrefix(path, filepath.Join(dir, "pg_replslot")+"/"); ok {
			_, file, below := strings.Cut(rest, "/")
			files.SlotDir = files.SlotDir || !below
			files.Spill = files.Spill || (below && strings.HasPrefix(file, "xid-"))
		}
		if strings.HasPrefix(path, filepath.Join(dir, "pg_wal")+"/") {
			files.WAL = true
		}
	}
	return files
}
