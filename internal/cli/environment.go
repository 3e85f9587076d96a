package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"capstan/internal/config"
)

// environmentTopic is a page of help, not a command.
func environmentTopic() *cobra.Command {
	var b strings.Builder
	b.WriteString("A flag counts before the environment, the environment before the configuration\nfile, the file before the default.\n\n")
	for _, v := range config.Environment() {
		fmt.Fprintf(&b, "  %-24s %-17s %-10s %s\n", v.Name, v.Flag, v.Key, v.Meaning)
	}
	b.WriteString(`
The configuration file is the first of these that is there: --config, then
$CAPSTAN_CONFIG (both must be there if they are given); ` + config.FileName + ` in the home; in
the user's directory for configurations (on Linux $XDG_CONFIG_HOME/capstan, else
~/.config/capstan); in /etc/capstan (on Windows %ProgramData%\Capstan).
--config /dev/null is a file that says nothing.

Commands before and after a job find in their environment:

  CAPSTAN_JOB            the job's name
  CAPSTAN_STATUS         after: complete, partial, failed or interrupted
  CAPSTAN_SET            after: the set, if one was begun
  CAPSTAN_RUN            after: the number of the run

Others that are looked at:

  XDG_STATE_HOME         where the home is if nothing names it: capstan within it
  XDG_CONFIG_HOME        see above
  CREDENTIALS_DIRECTORY  of systemd: where secrets of the form {credential: NAME} are;
                         capstan-identity and capstan-passphrase are taken if there
  NO_COLOR, TERM         how progress is shown
`)
	return &cobra.Command{Use: "environment", Short: "Variables of the environment, and which setting counts before which", Long: b.String()}
}
