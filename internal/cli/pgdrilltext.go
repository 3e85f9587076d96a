package cli

import (
	"fmt"
	"strings"

	"capstan/internal/output"
	"capstan/internal/pgdrill"
)

// drillFacts is what was compared and found the same.
func drillFacts(s *pgdrill.Summary) string {
	source := "the source"
	if s.Against == pgdrill.AgainstFiles {
		source = "its files, by number"
	}
	return fmt.Sprintf("restored into PostgreSQL %s in %s; as in %s: %s, %s, %s, %s", s.Server, seconds(s.Seconds), source,
		plural(s.Tables, "table"), plural(s.Rows, "row"), plural(s.Sequences, "sequence"), plural(s.Large, "large object"))
}

// rolesText says where roles came from; nothing where owners were left out, which is named.
func rolesText(roles string) string {
	switch roles {
	case pgdrill.RolesGlobals:
		return "roles as the dumped server had them"
	case pgdrill.RolesNames:
		return "roles made by name"
	case pgdrill.RolesServer:
		return "roles of the given server"
	}
	return ""
}

// text is the report for people.
func (r *drillReport) text() string {
	if len(r.Drills) == 0 {
		return drillText(&r.Summary)
	}
	var b strings.Builder
	for i := range r.Drills {
		b.WriteString(drillText(&r.Drills[i]))
	}
	return b.String()
}

// drillText tells the drill of a dump to people.
func drillText(s *pgdrill.Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", output.Clean(s.Dump), s.Status)
	if s.Server != "" {
		fmt.Fprintf(&b, "; database %s %s", output.Clean(s.Database), output.Clean(drillFacts(s)))
	}
	b.WriteByte('\n')
	for i, d := range s.Differences {
		if i == shownProblems {
			fmt.Fprintf(&b, "  and %s (see --json)\n", plural(int64(len(s.Differences)-i), "more difference"))
			break
		}
		fmt.Fprintf(&b, "  %s\n", output.Clean(d.String()))
	}
	for i, p := range s.Problems {
		if i == shownProblems {
			fmt.Fprintf(&b, "  and %s (see --json)\n", plural(int64(len(s.Problems)-i), "more problem"))
			break
		}
		fmt.Fprintf(&b, "  not restored: %s: %s\n", output.Clean(p.Object), output.Clean(p.Err))
	}
	for i, u := range s.Unproven {
		if i == shownProblems {
			fmt.Fprintf(&b, "  and %s (see --json)\n", plural(int64(len(s.Unproven)-i), "more object"))
			break
		}
		fmt.Fprintf(&b, "  not proven: %s: %s\n", output.Clean(u.Object), output.Clean(u.Why))
	}
	if from := rolesText(s.Roles); from != "" && s.Server != "" {
		fmt.Fprintf(&b, "  owners of %s compared, %s carried out; %s\n", plural(s.Owners, "object"), plural(s.Grants, "grant"), from)
	}
	if n := len(s.NotCompared); n > 0 {
		fmt.Fprintf(&b, "  not compared: %s\n", output.Clean(strings.Join(s.NotCompared[:min(n, shownProblems)], "; ")))
	}
	return b.String()
}
