package pgdrill

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"capstan/internal/pg"
	"capstan/internal/progress"
)

// Where the roles of a drill came from.
const (
	RolesGlobals = "globals" // the dumped server's own, with their attributes and memberships
	RolesNames   = "names"   // made by their names, as superusers
	RolesServer  = "server"  // of the given server, which has them all
	RolesMissing = "missing" // the given server lacks some: owners and rights were left out
)

// owners compares whom tables, views and sequences belong to, in the restored database.
func (c *comparison) owners(ctx context.Context, conn *pg.Conn) error {
	defer c.stage.Wait(progress.ForServer, "owners")()
	rows, err := conn.Query(ctx, `SELECT n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner)
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')`, pgx.QueryExecModeExec)
	if err != nil {
		return err
	}
	type name struct{ schema, name string }
	owner := map[name]string{}
	var found struct{ schema, name, owner string }
	if _, err := pgx.ForEachRow(rows, []any{&found.schema, &found.name, &found.owner}, func() error {
		owner[name{found.schema, found.name}] = found.owner
		return nil
	}); err != nil {
		return err
	}
	for i := range c.dump.Entries {
		e := &c.dump.Entries[i]
		if e.Owner.Value == "" || c.leftOut(e) || !slices.Contains([]string{"TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "FOREIGN TABLE"}, e.Desc.Value) {
			continue
		}
		switch has, there := owner[name{e.Namespace.Value, e.Tag.Value}]; {
		case !there && e.Desc.Value == "TABLE", !there && e.Desc.Value == "SEQUENCE": // which is named where it is read
		case !there:
			c.differs(Difference{Object: objectOf(e), In: inRestored, Err: "it is not there"})
		case has != e.Owner.Value:
			c.differs(Difference{Object: objectOf(e), In: inRestored, Err: fmt.Sprintf("it belongs to %s, expected %s", has, e.Owner.Value)})
		default:
			c.same(func(s *Summary) { s.Owners++ })
		}
	}
	return nil
}

// grants counts the entries about rights that were carried out.
func (d *drill) grants() (n int64) {
	for i := range d.dump.Entries {
		if e := &d.dump.Entries[i]; (e.Desc.Value == "ACL" || e.Desc.Value == "DEFAULT ACL") && !d.leftOut(e) {
			n++
		}
	}
	return n
}
