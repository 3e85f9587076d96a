package hook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"capstan"
	"capstan/internal/config"
	"capstan/internal/process"
)

// Call says for what run hooks are run, and who hears of it.
type Call struct {
	Job    capstan.JobKey
	Set    capstan.SetID     // empty before the backup, and if none was begun
	Run    capstan.RunID     // 0 before the backup
	Status capstan.RunStatus // of the run, for After
	// Say and Warn tell people one line; they never block.
	Say, Warn func(format string, args ...any)
	// Begin is called as each command starts, and what it returns when the command
	// has ended, so that the time can be declared as a wait. It may be nil.
	Begin func(command string) (end func())
}

// Before runs the hooks before a backup in order, and ends with the first failure
// whose policy is to fail; errors.Is finds the cause of ctx in it.
func Before(ctx context.Context, hooks []config.Hook, call Call) error {
	for i := range hooks {
		err := call.run(ctx, &hooks[i], i+1)
		if err == nil {
			continue
		}
		if hooks[i].OnFailure != config.PolicyWarn || ctx.Err() != nil {
			return err
		}
		call.Warn("%s; going on, as its on_failure says", capstan.Brief(err))
	}
	return nil
}

// After runs the hooks that are meant for call.Status, in order. A failure
// keeps none of those after it from running: they may be the ones that clean up.
// The error joins the failures whose policy is to fail.
func After(ctx context.Context, hooks []config.Hook, call Call) error {
	var failures []error
	for i := range hooks {
		complete := call.Status == capstan.RunComplete
		if when := hooks[i].When; (when == config.WhenSuccess && !complete) || (when == config.WhenFailure && complete) {
			continue
		}
		err := call.run(ctx, &hooks[i], i+1)
		if err == nil {
			continue
		}
		if hooks[i].OnFailure == config.PolicyFail {
			failures = append(failures, err)
		} else {
			call.Warn("%v", err)
		}
	}
	return errors.Join(failures...)
}

// run runs one command and tells what it wrote.
func (c *Call) run(ctx context.Context, hook *config.Hook, number int) error {
	title := fmt.Sprintf("%s hook %d (%s)", hook.Phase, number, hook.Name())
	if c.Begin != nil {
		defer c.Begin(title)()
	}
	env, secrets, err := c.environment(hook)
	if err != nil {
		return &capstan.Error{Op: title, Err: err, Safe: c.safe(hook)}
	}
	c.Say("running %s", title)
	program, args := argv(hook)
	result, err := process.Run(ctx, process.Command{
		Path: program, Args: args, Dir: hook.Dir, Env: env, Timeout: hook.Timeout, Keep: keep,
	})
	for _, stream := range []struct {
		text []byte
		cut  bool
	}{{result.Stdout, result.StdoutCut}, {result.Stderr, result.StderrCut}} {
		c.tell(title, stream.text, stream.cut, secrets)
	}
	if err == nil {
		return nil
	}
	if exit, ok := errors.AsType[*process.ExitError](err); ok {
		short := *exit
		short.Stderr = "" // it was told, with its secrets covered
		err = &short
	}
	if errors.Is(err, process.ErrTimeout) {
		err = fmt.Errorf("%w (its timeout is %s)", err, hook.Timeout)
	}
	return &capstan.Error{Op: title, Err: err, Safe: c.safe(hook)}
}

// safe says what a failure leaves untouched.
func (c *Call) safe(hook *config.Hook) string {
	switch {
	case hook.Phase == config.PreHook:
		return "nothing was backed up"
	case c.Set != "" && (c.Status == capstan.RunComplete || c.Status == capstan.RunPartial):
		return "set " + string(c.Set) + " is stored"
	}
	return ""
}

// environment is the program's own with the command's variables and the run's.
func (c *Call) environment(hook *config.Hook) (env, secrets []string, err error) {
	run := map[string]string{"CAPSTAN_JOB": string(c.Job), "CAPSTAN_SET": string(c.Set), "CAPSTAN_RUN": "", "CAPSTAN_STATUS": string(c.Status)}
	if c.Run != 0 {
		run["CAPSTAN_RUN"] = fmt.Sprint(c.Run)
	}
	// An empty one would hide that of a run around this one; so none of these is handed on.
	env = slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		_, ours := run[name]
		return ours || name == config.PassphraseVariable
	})
	for _, variable := range hook.Env {
		text := variable.Value
		if !variable.Secret.IsZero() {
			if text, err = variable.Secret.Reveal(); err != nil {
				return nil, nil, fmt.Errorf("variable %s: %w", variable.Name, err)
			}
			if strings.ContainsRune(text, 0) {
				return nil, nil, fmt.Errorf("variable %s: the secret holds a NUL character", variable.Name)
			}
			secrets = append(secrets, text)
		}
		env = append(env, variable.Name+"="+text)
	}
	for name, text := range run {
		if text != "" {
			env = append(env, name+"="+text)
		}
	}
	return env, secrets, nil
}
