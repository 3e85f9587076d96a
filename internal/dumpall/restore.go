package dumpall

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"capstan"
	"capstan/internal/output"
	"capstan/internal/pg"
	"capstan/internal/target/postgres"
)

// Wanted is one of several dumps that are restored.
type Wanted struct {
	Name string // of the database that was dumped, and of the one that it is restored into
	// Bring makes the dump available in a directory while work lasts.
	Bring func(ctx context.Context, options postgres.Options, work func(ctx context.Context, dir string) error) error
}

// Restored is what became of one.
type Restored struct {
	postgres.Summary
	Status string `json:"status"` // Complete, Partial or Failed
	Error  string `json:"error,omitempty"`
}

// maintenance is the database that every server has: it is restored into as it is.
const maintenance = "postgres"

// Restore restores dumps, each into the database of its own name at the server that
// options.URL names. With options.Create they are made, but for "postgres", which every
// server has. A database that fails is named, and the others go on. Ask Vacant before.
func Restore(ctx context.Context, env postgres.Env, options postgres.Options, all []Wanted) ([]Restored, error) {
	var results []Restored
	var failed []string
	for i, dump := range all {
		env.Say("database %s (%d of %d)", output.Clean(dump.Name), i+1, len(all))
		one := options
		var err error
		if one.URL, err = pg.InDatabase(options.URL, dump.Name); err != nil {
			return results, err
		}
		one.Create = options.Create && dump.Name != maintenance
		one.Properties = dump.Name == maintenance
		result := Restored{Status: Complete}
		err = dump.Bring(ctx, one, func(ctx context.Context, dir string) error {
			one.Dir = dir
			result.Summary, err = postgres.Restore(ctx, env, one)
			return err
		})
		if ctx.Err() != nil {
			return results, context.Cause(ctx)
		}
		if err != nil {
			result.Status, result.Error = Failed, err.Error()
			if errors.Is(err, capstan.ErrIncomplete) && result.Objects > 0 {
				result.Status = Partial
			}
			failed = append(failed, fmt.Sprintf("database %s: %v", output.Clean(dump.Name), err))
		}
		result.Database = dump.Name
		results = append(results, result)
	}
	if len(failed) == 0 {
		return results, nil
	}
	return results, &capstan.Error{
		Class: capstan.ErrIncomplete, Op: "restore", Object: "all databases", Err: errors.New(strings.Join(failed, "; ")), Safe: "all others are there",
		Next: "mend what is named, then restore those alone with --database",
	}
}

// Vacant looks, before anything is changed, whether those that are to be made are there
// (capstan.ErrRefused), or those that are not to be made are not (capstan.ErrNotFound).
func Vacant(ctx context.Context, options postgres.Options, all []Wanted) error {
	there, err := postgres.Databases(ctx, options.URL)
	if err != nil {
		return err
	}
	var wrong []string
	for i, dump := range all {
		if is := slices.Contains(there, dump.Name); dump.Name != maintenance && is == options.Create {
			wrong = append(wrong, output.Clean(dump.Name))
		}
		if slices.ContainsFunc(all[:i], func(d Wanted) bool { return d.Name == dump.Name }) {
			return &capstan.Error{
				Class: capstan.ErrUsage, Op: "restore", Object: "all databases", Err: fmt.Errorf("two dumps are of the database %s", output.Clean(dump.Name)), Next: "restore them one by one, with --database",
			}
		}
	}
	switch {
	case len(wrong) == 0:
		return nil
	case options.Create:
		return &capstan.Error{
			Class: capstan.ErrRefused, Op: "create", Object: "databases " + strings.Join(wrong, ", "), Err: errors.New("they are there already"), Safe: "nothing was changed",
			Next: "restore into another server, or with --clean instead of --create, or others alone with --database",
		}
	}
	return &capstan.Error{
		Class: capstan.ErrNotFound, Op: "restore", Object: "databases " + strings.Join(wrong, ", "), Err: errors.New("the server does not have them"), Safe: "nothing was changed",
		Next: "make them with --create",
	}
}
