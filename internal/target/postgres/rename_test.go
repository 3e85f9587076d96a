package postgres

import "testing"

func TestRenamed(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"CREATE DATABASE app WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE = 'C'":                         `CREATE DATABASE "my ""new" WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE = 'C'`,
		"ALTER DATABASE app SET work_mem TO 'DATABASE app';\nALTER ROLE app IN DATABASE app SET a TO 'app''';": `ALTER DATABASE "my ""new" SET work_mem TO 'DATABASE app';` + "\n" + `ALTER ROLE app IN DATABASE "my ""new" SET a TO 'app''';`,
		`GRANT CONNECT ON DATABASE app TO "app DATABASE app";`:                                                 `GRANT CONNECT ON DATABASE "my ""new" TO "app DATABASE app";`,
		"COMMENT ON DATABASE app IS 'database app ''DATABASE app''';":                                          `COMMENT ON DATABASE "my ""new" IS 'database app ''DATABASE app''';`,
		"ALTER DATABASE other SET a TO ''":                                                                     "ALTER DATABASE other SET a TO ''",
		"DATABASE 'app":                                                                                        "DATABASE 'app",
		"":                                                                                                     "",
	} {
		if got := renamed(sql, "app", `my "new`); got != want {
			t.Errorf("%s\n%s, want\n%s", sql, got, want)
		}
	}
	if got, want := renamed(`DROP DATABASE "odd ""name"; DATABASE odd`, `odd "name`, "x"), `DROP DATABASE "x"; DATABASE odd`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
