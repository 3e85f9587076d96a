//go:build !windows

package hook

import "capstan/internal/config"

// argv is the program to run with its arguments; a script is for sh.
func argv(hook *config.Hook) (program string, args []string) {
	if hook.Script != "" {
		return "sh", []string{"-c", hook.Script}
	}
	return hook.Args[0], hook.Args[1:]
}
