package hook

import (
	"strings"

	"capstan"
)

// What of a command's output is kept and told.
const (
	keep     = 16 * capstan.KiB // of each stream
	maxLines = 10
	maxLine  = 400 // bytes
)

// tell tells the last lines of what a command wrote.
func (c *Call) tell(title string, text []byte, cut bool, secrets []string) {
	lines := lastLines(cover(string(text), cut, secrets))
	for _, line := range lines {
		c.Say("%s: %s", title, line)
	}
}

// lastLines gives the last lines that are not blank, each cut to a length that
// can be read.
func lastLines(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, " \t\r\n"); line != "" {
			lines = append(lines, line)
		}
	}
	lines = lines[max(0, len(lines)-maxLines):]
	for i, line := range lines {
		if len(line) > maxLine {
			lines[i] = strings.ToValidUTF8(line[:maxLine], "") + "..."
		}
	}
	return lines
}

// cover hides secrets in a text. Where the begin of the text was cut off, the rest
// of the first line goes too: it may begin in the middle of a secret.
func cover(text string, cut bool, secrets []string) string {
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, "***")
		for line := range strings.Lines(secret) { // of a key, for instance
			if line = strings.TrimSpace(line); len(line) > 3 {
				text = strings.ReplaceAll(text, line, "***")
			}
		}
	}
	if cut {
		_, text, _ = strings.Cut(text, "\n")
	}
	return text
}
