package hook

import "capstan/internal/config"

// argv is the program to run with its arguments; a script is for PowerShell,
// which takes its command line apart as it was put together. cmd does not: a
// quote within a script could not be handed to it.
func argv(hook *config.Hook) (program string, args []string) {
	if hook.Script != "" {
		return "powershell.exe", []string{"-NoLogo", "-NoProfile", "-NonInteractive", "-Command", hook.Script}
	}
	return hook.Args[0], hook.Args[1:]
}
