package config

import (
	"errors"
	"os"

	"capstan"
)

// Flags are the settings as typed on the command line; an empty one was not.
type Flags struct{ Home, Config, Catalog, Memory, LogFile string }

// Settings are what every command works with: of each, the flag counts before
// the environment, that before the file, that before the default.
type Settings struct {
	Home    Home
	Catalog string // path of a SQLite catalog
	LogFile string // empty: none
	File    *File  // of no path where there is none

	memory capstan.Bytes // of the flag or the environment; 0: neither
}

// EnvVariable is one that the program looks at.
type EnvVariable struct {
	Name, Flag, Key string // the flag and the file's key that say the same; may be empty
	Meaning         string
}

// Environment lists the variables that stand in for flags, in the order of
// their help.
func Environment() []EnvVariable {
	return []EnvVariable{
		{"CAPSTAN_HOME", "--home", "home", "directory of the catalog and keys"},
		{"CAPSTAN_CONFIG", "--config", "", "configuration file"},
		{"CAPSTAN_CATALOG", "--catalog", "catalog", "path of the SQLite catalog"},
		{"CAPSTAN_MEMORY", "--memory", "memory", "bound of a run's buffers, such as 128MiB"},
		{"CAPSTAN_LOG_FILE", "--log-file", "log_file", "file that messages are appended to"},
		{identityVariable, "--identity", "", "file of the secret keys that open encrypted sets"},
		{passphraseFileVariable, "--passphrase-file", "", "file that holds a passphrase"},
		{PassphraseVariable, "", "passphrase", "the passphrase itself, if no file is named"},
	}
}

// Resolve finds and reads the configuration file and puts the settings
// together. The file is looked for in the home that the flag, the environment
// or the default names; its own key home can only move what lies there.
func Resolve(flags Flags) (Settings, error) {
	home, err := FindHome(flags.Home)
	if err != nil {
		return Settings{}, err
	}
	s := Settings{Home: home, File: &File{}}
	path, err := Find(flags.Config, home)
	if err != nil {
		return Settings{}, err
	}
	if path != "" {
		if s.File, err = Load(path); err != nil {
			return Settings{}, err
		}
	}
	if s.File.Home != "" && flags.Home == "" && os.Getenv("CAPSTAN_HOME") == "" {
		s.Home = Home{Dir: s.File.Home}
	}
	s.Catalog = first(flags.Catalog, os.Getenv("CAPSTAN_CATALOG"), s.File.Catalog, s.Home.Catalog())
	s.LogFile = first(flags.LogFile, os.Getenv("CAPSTAN_LOG_FILE"), s.File.LogFile)
	s.memory, err = givenMemory("--memory", flags.Memory)
	if err == nil && s.memory == 0 {
		s.memory, err = givenMemory("CAPSTAN_MEMORY", os.Getenv("CAPSTAN_MEMORY"))
	}
	return s, err
}

// Memory is the budget for the buffers of a run: of the flag or the environment,
// else of the job (0 if it says nothing, or there is none), else of the file, else
// the default.
func (s Settings) Memory(job capstan.Bytes) capstan.Bytes {
	for _, n := range []capstan.Bytes{s.memory, job, s.File.Memory} {
		if n != 0 {
			return n
		}
	}
	return DefaultMemory()
}

func givenMemory(from, text string) (capstan.Bytes, error) {
	if text == "" {
		return 0, nil
	}
	n, err := capstan.ParseBytes(text)
	if err != nil || n < LeastMemory {
		return 0, &capstan.Error{Class: capstan.ErrUsage, Op: from, Object: text, Err: errors.New("give at least 8MiB, such as 128MiB")}
	}
	return n, nil
}

func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
