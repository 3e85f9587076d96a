package pgdump

import (
	"fmt"
	"strings"

	"capstan"
)

// columns reads the names out of "COPY schema.table (a, "odd, one") FROM stdin;\n".
// A table without columns has no brackets.
func columns(statement string) ([]string, error) {
	wrong := func(why string) ([]string, error) {
		return nil, fmt.Errorf("%q: %s: %w", statement, why, capstan.ErrDamaged)
	}
	rest, ok := strings.CutPrefix(statement, "COPY ")
	if !ok {
		return wrong("it is no COPY")
	}
	var err error
	for { // the name, with its schema
		if _, rest, err = identifier(rest); err != nil {
			return wrong(err.Error())
		}
		if rest, ok = strings.CutPrefix(rest, "."); !ok {
			break
		}
	}
	list, ok := strings.CutPrefix(rest, " (")
	if !ok {
		if strings.TrimSpace(rest) != "FROM stdin;" {
			return wrong("it does not end as one does")
		}
		return []string{}, nil
	}
	names := []string{}
	for {
		var name string
		if name, list, err = identifier(list); err != nil {
			return wrong(err.Error())
		}
		names = append(names, name)
		if list, ok = strings.CutPrefix(list, ", "); ok {
			continue
		}
		if strings.TrimSpace(list) != ") FROM stdin;" {
			return wrong("it does not end as one does")
		}
		return names, nil
	}
}

// identifier takes a name from the beginning of a text, in quotes or as it is.
func identifier(text string) (name, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text, " .,)(")
		if end <= 0 {
			return "", "", fmt.Errorf("a name is missing before %q", text)
		}
		return text[:end], text[end:], nil
	}
	var b strings.Builder
	for text = text[1:]; ; {
		part, after, found := strings.Cut(text, `"`)
		if !found {
			return "", "", fmt.Errorf("the quote of %q is not closed", text)
		}
		b.WriteString(part)
		if text, found = strings.CutPrefix(after, `"`); !found {
			return b.String(), after, nil
		}
		b.WriteByte('"')
	}
}
