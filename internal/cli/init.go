package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"capstan"
	"capstan/internal/config"
	"capstan/internal/disk"
)

func (a *app) initCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "init [DIR|FILE]", Short: "Write a commented configuration file to start from",
		Long: `Write a capstan.yaml in which every key is explained by an example, all of them
commented out. It goes to FILE (a name that ends in .yaml or .yml), into DIR, to
what --config or $CAPSTAN_CONFIG names, or else into the home directory. A file
that is there is left as it is (exit 4), unless --force is given.`,
		Example: "  capstan init\n  capstan init /etc/capstan\n  capstan init nightly.yaml",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.open(cmd.Context()); err != nil {
				return err
			}
			path, found, err := a.starterPath(args)
			if err != nil {
				return err
			}
			if err := writeStarter(path, force); err != nil {
				return err
			}
			return a.tellStarter(path, found)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace the file if it is there")
	return cmd
}

// starterPath says where the file goes, and whether later commands find it there
// without being told.
func (a *app) starterPath(args []string) (path string, found bool, err error) {
	home, err := config.FindHome(a.flags.home)
	if err != nil {
		return "", false, err
	}
	places := config.Places(home)
	named := os.Getenv("CAPSTAN_CONFIG")
	switch {
	case len(args) == 1 && args[0] == "":
		return "", false, usage("init: the name of the file is empty")
	case len(args) == 1:
		path = args[0]
		info, err := os.Stat(path)
		isFile := strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".yml")
		if !isFile || (err == nil && info.IsDir()) {
			path = filepath.Join(path, config.FileName)
		}
	case a.flags.config != "":
		path = a.flags.config
	case named != "":
		path = named
	default:
		path = places[0]
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", false, err
	}
	if named != "" {
		places = []string{named}
	}
	for _, place := range places {
		if abs, err := filepath.Abs(place); err == nil && abs == path {
			return path, true, nil
		}
	}
	return path, false, nil
}

// writeStarter writes the file durably; without force only where none is.
func writeStarter(path string, force bool) error {
	var fsys disk.FS
	err := fsys.MkdirAll(filepath.Dir(path))
	write := fsys.WriteNew
	if force {
		write = fsys.Replace
	}
	if err == nil {
		err = write(path, config.Starter())
	}
	if errors.Is(err, fs.ErrExist) {
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: "init", Object: path, Err: errors.New("there is a file already"),
			Safe: "it was not touched", Next: "name another, or replace it with --force",
		}
	}
	if err != nil {
		return &capstan.Error{Op: "init", Object: path, Err: err}
	}
	return nil
}

func (a *app) tellStarter(path string, found bool) error {
	var err error
	if a.flags.json {
		err = a.object(map[string]string{"path": path})
	} else {
		err = a.line(path)
	}
	if found {
		a.say("edit it, then see: capstan jobs")
	} else {
		a.say("edit it, then see: capstan --config %s jobs", path)
	}
	return errors.Join(err, a.out.Flush())
}
