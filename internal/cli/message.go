package cli

import (
	"errors"
	"slices"
	"strings"

	"capstan"
	"capstan/internal/config"
)

// messages are the texts of an error for people, one a line: each problem of a
// configuration and each of several errors has its own, and none comes twice.
// Where an interruption made everything else fail it is told alone.
func messages(err error, command string) []string {
	if problems, ok := errors.AsType[config.Problems](err); ok {
		return problems.Lines()
	}
	if told, ok := errors.AsType[*capstan.Error](err); ok && errors.Is(told.Class, capstan.ErrInterrupted) {
		return []string{inLine(advise(told, command))}
	}
	return unique(apart(err))
}

// advise completes the error of a signal by what it means for the command.
func advise(told *capstan.Error, command string) error {
	if told.Op != bySignal {
		return told
	}
	advised := *told
	switch command {
	case "backup":
		advised.Safe, advised.Next = "what is sealed is kept", "the next call of the same backup resumes"
	case "consolidate":
		advised.Safe, advised.Next = "what is sealed is kept, and no other set was touched", "the next call of the same consolidation resumes"
	case "restore":
		advised.Safe, advised.Next = "what was restored is whole", "run it again with --overwrite"
	case "verify":
		advised.Safe, advised.Next = "what was checked is recorded", "run it again to check the rest"
	case "watch":
		advised.Safe = "the run goes on"
	case "cancel":
		advised.Safe = "the request to stop stands"
	case "stop":
		advised.Safe, advised.Next = "a server that was told to stop goes on stopping, else everything was put back", "see: capstan pg stop-status"
	case "dump":
		advised.Safe, advised.Next = "nothing is left of it, its sessions have ended", "run it again"
	case "drill":
		advised.Safe, advised.Next = "the dump was not changed, the drill's server is removed", "run it again"
	case "forget":
		advised.Safe, advised.Next = "what is forgotten stays so, all other sets are whole", "the next forget removes what is left of it"
	case "rebuild":
		advised.Safe, advised.Next = "sets that were read are kept", "run it again to read the rest"
	}
	return &advised
}

// apart gives one text for each of the errors that were joined.
func apart(err error) []string {
	joined := members(err)
	if joined == nil {
		return []string{inLine(err)}
	}
	var all []string
	for _, one := range joined {
		all = append(all, apart(one)...)
	}
	return all
}

// inLine is the text of one error in one line, also where joined ones are within.
func inLine(err error) string {
	if joined := members(err); joined != nil {
		var texts []string
		for _, one := range joined {
			texts = append(texts, inLine(one))
		}
		return strings.Join(unique(texts), "; ")
	}
	text := err.Error()
	var within []error
	switch wrapper := err.(type) { //nolint:errorlint // looks at one level at a time
	case interface{ Unwrap() error }:
		within = []error{wrapper.Unwrap()}
	case interface{ Unwrap() []error }:
		within = wrapper.Unwrap()
	}
	for _, one := range within {
		if one != nil && strings.Contains(one.Error(), "\n") {
			text = strings.Replace(text, one.Error(), inLine(one), 1)
		}
	}
	return text
}

// members are the errors that errors.Join made err of; nil if it did not.
func members(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	all := joined.Unwrap()
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = one.Error()
	}
	if len(all) == 0 || err.Error() != strings.Join(texts, "\n") {
		return nil
	}
	return all
}

// unique leaves out what was said already.
func unique(texts []string) []string {
	var all []string
	for _, text := range texts {
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}
