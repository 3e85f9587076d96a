package catalog

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	statement = regexp.MustCompile(`(?s)^\s*(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|DROP|REPLACE|MERGE|PRAGMA|VACUUM|ATTACH|BEGIN|set_no = )\b`)
	// What one of SQLite, PostgreSQL (since 9.2, openGauss's grammar) and openGauss
	// does not have, or means differently.
	notShared = regexp.MustCompile(`(?i)\b(ON\s+CONFLICT|ON\s+DUPLICATE|INSERT\s+OR|UPDATE\s+OR|REPLACE|RETURNING|MERGE|LATERAL|FILTER\s*\(|` +
		`GLOB|ILIKE|REGEXP|SIMILAR|COLLATE|PRAGMA|ROWID|_ROWID_|OID|AUTOINCREMENT|SERIAL|NEXTVAL|IFNULL|NVL|IIF|NULLIF|TOTAL|GROUP_CONCAT|STRING_AGG|` +
		`INSTR|STRPOS|HEX|ENCODE|PRINTF|FORMAT|UNIXEPOCH|STRFTIME|DATETIME|JULIANDAY|NOW|CURRENT_TIMESTAMP|JSON\w*|TYPEOF|RANDOM|` +
		`INDEXED\s+BY|NOT\s+INDEXED|FOR\s+UPDATE|OVER|WINDOW|MATERIALIZED|USING|FULL|NATURAL|IS\s+NOT\s+DISTINCT|TRUE|FALSE|BLOB|BYTEA)\b|LIMIT\s+\?\s*,|::|\|\||==|<=>|->|\$\d|@|"|\bIS\s+\?|x'`)
	started = regexp.MustCompile(`(?s)^\s*(SELECT|INSERT\s+INTO|UPDATE|DELETE\s+FROM|set_no = )\b`)
)

// engineFiles hold what is SQLite's own; no other file may.
func engineFile(name string) bool {
	return strings.HasPrefix(name, "sqlite") || name == "migrate.go"
}

// TestStatementsStayShared reads every constant and every string of the package
// that is SQL, outside the files that are SQLite's own.
func TestStatementsStayShared(t *testing.T) {
	t.Parallel()
	texts := sqlTexts(t)
	if len(texts) < 100 {
		t.Fatalf("%d statements were found: the test looks at the wrong place", len(texts))
	}
	for name, text := range texts {
		if !started.MatchString(text) {
			t.Errorf("%s is no SELECT, INSERT, UPDATE or DELETE: %s", name, text)
		}
		if found := notShared.FindString(text); found != "" {
			t.Errorf("%s holds %q, which not all databases share: %s", name, found, text)
		}
	}
}

func TestSubsetRuleSeesBreaches(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`INSERT INTO a (b) VALUES (?) ON CONFLICT DO NOTHING`, `INSERT OR REPLACE INTO a VALUES (?)`, `INSERT INTO a VALUES (?) RETURNING id`,
		`SELECT a FROM b WHERE c GLOB ?`, `SELECT ifnull(a, 0) FROM b`, `SELECT a || b FROM c`, `SELECT a::text FROM b`, `SELECT json_extract(a, '$') FROM b`,
		`SELECT a FROM b LIMIT ?, ?`, `SELECT rowid FROM b`, `SELECT a FROM b WHERE c = $1`,
	} {
		if notShared.FindString(text) == "" && started.MatchString(text) {
			t.Errorf("nothing is found wrong with %s", text)
		}
	}
}

// sqlTexts gives the SQL of the package by constant, or by place.
func sqlTexts(t *testing.T) map[string]string {
	t.Helper()
	names, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	consts := map[string]ast.Expr{}
	var parsed []*ast.File
	for _, entry := range names {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || engineFile(name) {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, file)
		ast.Inspect(file, func(node ast.Node) bool {
			if spec, ok := node.(*ast.ValueSpec); ok {
				for i, name := range spec.Names {
					if i < len(spec.Values) {
						consts[name.Name] = spec.Values[i]
					}
				}
			}
			return true
		})
	}
	texts := map[string]string{}
	for name, expr := range consts {
		if text, ok := stringOf(expr, consts); ok && statement.MatchString(text) {
			texts[name] = text
		}
	}
	for _, file := range parsed { // and what stands in the midst of code
		ast.Inspect(file, func(node ast.Node) bool {
			if lit, ok := node.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil && statement.MatchString(text) {
					texts[files.Position(lit.Pos()).String()] = text
				}
			}
			return true
		})
	}
	return texts
}

// stringOf evaluates a constant expression of strings.
func stringOf(expr ast.Expr, consts map[string]ast.Expr) (string, bool) {
	switch e := expr.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil && e.Kind == token.STRING
	case *ast.Ident:
		value, ok := consts[e.Name]
		if !ok {
			return "", false
		}
		return stringOf(value, consts)
	case *ast.BinaryExpr:
		left, ok := stringOf(e.X, consts)
		right, also := stringOf(e.Y, consts)
		return left + right, ok && also && e.Op == token.ADD
	}
	return "", false
}
