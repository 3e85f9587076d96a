package config

import (
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Hook is a command that is run before or after a job.
type Hook struct {
	Phase     Phase
	Args      []string // program and arguments; empty if Script is given
	Script    string   // for the shell; empty if Args are given
	Dir       string   // where it runs; empty means here
	Timeout   time.Duration
	OnFailure Policy
	When      When // of a PostHook
	Env       []Variable
}

// Phase says when a command is run.
type Phase string

// The phases.
const (
	PreHook  Phase = "pre"
	PostHook Phase = "post"
)

// Policy says what the failure of a command means.
type Policy string

// The policies. PolicyFail ends the job before its backup, or makes a finished
// one fail; PolicyWarn tells of it and goes on.
const (
	PolicyFail Policy = "fail"
	PolicyWarn Policy = "warn"
)

// When says after what outcome a command is run.
type When string

// The outcomes: success is a complete run, failure is every other.
const (
	WhenAlways  When = "always"
	WhenSuccess When = "success"
	WhenFailure When = "failure"
)

// Variable is one of a command's environment: a plain Value, or a Secret.
type Variable struct {
	Name   string
	Value  string
	Secret Secret // zero: Value counts
}

// DefaultHookTimeout is how long a command may run where nothing else is said.
const DefaultHookTimeout = 10 * time.Minute

// NewHook makes a command of the shell with the defaults of its phase.
func NewHook(phase Phase, script string) Hook {
	hook := Hook{Phase: phase, Script: script, Timeout: DefaultHookTimeout, OnFailure: PolicyFail, When: WhenAlways}
	if phase == PostHook {
		hook.OnFailure = PolicyWarn
	}
	return hook
}

// Name is what messages call the command: its program. It shows no arguments,
// since one may be secret.
func (h Hook) Name() string {
	words := h.Args
	if h.Script != "" {
		words = strings.Fields(h.Script)
	}
	if len(words) == 0 || strings.ContainsAny(words[0], "=$(){}'\"`;|&") {
		return "script"
	}
	return filepath.Base(words[0])
}

// The keys of a command before the job.
var preKeys = [...]key[Hook]{
	{"command", readCommand},
	{"timeout", func(v value, h *Hook) {
		if d, ok := v.duration(leastTimeout); ok {
			h.Timeout = d
		}
	}},
	{"on_failure", func(v value, h *Hook) { h.OnFailure = choice(v, PolicyFail, PolicyWarn) }},
	{"env", readEnv},
}

// The keys of a command after the job.
var postKeys = [...]key[Hook]{
	preKeys[0], preKeys[1], preKeys[2], preKeys[3],
	{"when", func(v value, h *Hook) { h.When = choice(v, WhenAlways, WhenSuccess, WhenFailure) }},
}

// hooks reads a list of commands: texts, or mappings that say more.
func (v value) hooks(phase Phase, keys []key[Hook]) []Hook {
	var hooks []Hook
	for _, element := range v.list() {
		hook := NewHook(phase, "")
		hook.Dir = v.r.dir
		if element.node.Kind == yaml.MappingNode {
			if _, given := fields(element, keys, &hook)["command"]; !given {
				element.wrong("a command is missing, such as command: [sync] or command: sync")
			}
		} else {
			readCommand(element, &hook)
		}
		hooks = append(hooks, hook)
	}
	return hooks
}

// readCommand reads the words of a command, or a text for the shell. A program
// that is named by a relative path is meant from the file's directory.
func readCommand(v value, h *Hook) {
	if v.node.Kind == yaml.SequenceNode {
		before := len(v.r.problems)
		h.Args = v.arguments()
		if len(h.Args) == 0 && len(v.r.problems) == before {
			v.wrong("the command is empty")
		}
		if len(h.Args) > 0 && strings.ContainsRune(filepath.ToSlash(h.Args[0]), '/') && !filepath.IsAbs(h.Args[0]) {
			h.Args[0] = filepath.Join(v.r.dir, h.Args[0])
		}
		return
	}
	text, ok := v.text()
	if ok && strings.TrimSpace(text) == "" {
		v.wrong("the command is empty")
	}
	h.Script = text
}

// arguments reads words; all but the first may be empty.
func (v value) arguments() []string {
	var all []string
	for i, element := range v.list() {
		if i > 0 && element.node.Kind == yaml.ScalarNode && element.node.Tag == "!!str" && element.node.Value == "" {
			all = append(all, "")
			continue
		}
		if text, ok := element.text(); ok {
			all = append(all, text)
		}
	}
	return all
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// readEnv reads variables: texts, or mappings that say where a secret is.
func readEnv(v value, h *Hook) {
	for _, p := range v.pairs() {
		variable := Variable{Name: p.key}
		switch {
		case !variableName.MatchString(p.key):
			v.r.problems = append(v.r.problems, Problem{v.r.path, p.at, v.name + ": a variable's name has letters, digits and '_' only"})
			continue
		case strings.HasPrefix(p.key, "CAPSTAN_"):
			v.r.problems = append(v.r.problems, Problem{v.r.path, p.at, v.name + ": variables that begin with CAPSTAN_ are set by the run"})
			continue
		case p.value.node.Kind == yaml.MappingNode:
			variable.Secret = p.value.secret()
		case p.value.node.Kind == yaml.ScalarNode && p.value.node.Tag == "!!str" && p.value.node.Value == "":
		default:
			variable.Value, _ = p.value.text()
		}
		h.Env = append(h.Env, variable)
	}
}
