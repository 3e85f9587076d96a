package pg

import "strings"

// Role is what a child of the postmaster does.
type Role string

// The roles that a stop or a start can hang on. All else that serves the server
// itself is RoleAuxiliary.
const (
	RoleUnknown      Role = "unknown"      // its title is not what it should be; it is never signalled
	RoleExiting      Role = "exiting"      // it has no title any more
	RoleCheckpointer Role = "checkpointer" //
	RoleArchiver     Role = "archiver"
	RoleStartup      Role = "startup"
	RoleWalsender    Role = "walsender"
	RoleBackend      Role = "client backend"
	RoleWorker       Role = "worker" // of autovacuum, a parallel query or a subscription; ends like a backend
	RoleAuxiliary    Role = "auxiliary"
)

// RoleOf reads the role from a process's command line, as /proc shows it.
// clusterName is the server's cluster_name, empty if it has none: it stands in
// front of the role, may look like one, and is taken off exactly once.
//
// A user's name stands in a title too. A client backend of a user called
// "walsender" cannot be told from a walsender on servers before 16; what is done to
// a walsender harms a backend no more than the stop itself does.
func RoleOf(commandLine, clusterName string) Role {
	title := strings.TrimRight(commandLine, "\x00 ")
	if title == "" {
		return RoleExiting
	}
	prefix := "postgres: "
	if clusterName != "" {
		prefix += clusterName + ": "
	}
	// A title may end right after the cluster's name, before the role is set.
	title, ok := strings.CutPrefix(title, prefix)
	if !ok {
		return RoleUnknown
	}
	return roleOfTitle(title)
}

func roleOfTitle(title string) Role {
	first, _, _ := strings.Cut(title, " ")
	if first == "walsender" {
		return RoleWalsender
	}
	// A user may have the name of a role; his title has an address.
	if isBackend(title) {
		return RoleBackend
	}
	switch first { // what follows is its present activity: "archiving 0000…", "performing shutdown checkpoint"
	case "checkpointer":
		return RoleCheckpointer
	case "archiver":
		return RoleArchiver
	case "startup":
		return RoleStartup
	}
	if title == "logical replication launcher" {
		return RoleAuxiliary
	}
	for _, worker := range [...]string{"autovacuum worker", "logical replication", "parallel worker", "slotsync worker", "slot sync worker"} {
		if isTitle(title, worker) {
			return RoleWorker
		}
	}
	for _, auxiliary := range [...]string{
		"background writer", "walwriter", "walreceiver", "walsummarizer", "stats collector", "logger", "autovacuum launcher", "io worker",
	} {
		if isTitle(title, auxiliary) {
			return RoleAuxiliary
		}
	}
	return RoleUnknown
}

// isTitle reports a role's title, with or without what it does at present.
func isTitle(title, role string) bool {
	return title == role || strings.HasPrefix(title, role+" ")
}

// isBackend reports a title of the form "user database host activity": the host
// is "[local]" or an address with a port.
func isBackend(title string) bool {
	words := strings.Split(title, " ")
	for _, word := range words[min(2, len(words)):] {
		if word == "[local]" {
			return true
		}
		if address, ok := strings.CutSuffix(word, ")"); ok {
			host, port, ok := strings.Cut(address, "(")
			if ok && host != "" && port != "" && strings.Trim(port, "0123456789") == "" {
				return true
			}
		}
	}
	return false
}
