package pg

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"capstan"
)

// Split takes the password out of a connection URL or keyword string, so that a
// program can be given the rest in its arguments, which every user of the machine can
// read, and the password in its environment (PGPASSWORD). A passphrase of a private
// key (sslpassword) has no such place and is refused.
func Split(text string) (rest, password string, err error) {
	wrong := func(why string) (string, string, error) {
		return "", "", &capstan.Error{Class: capstan.ErrUsage, Op: "read the connection URL", Err: errors.New(why)} // the text may hold a password
	}
	if strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://") {
		u, err := url.Parse(text)
		if err != nil {
			return wrong("it is not well formed")
		}
		if u.User != nil {
			password, _ = u.User.Password()
			u.User = url.User(u.User.Username())
		}
		query := u.Query()
		if query.Has("sslpassword") {
			return wrong("a key with a passphrase (sslpassword) cannot be handed to a program")
		}
		if query.Has("password") {
			password = query.Get("password")
			query.Del("password")
			u.RawQuery = query.Encode()
		}
		return u.String(), password, nil
	}
	var kept []string
	words, ok := keywords(text)
	if !ok {
		return wrong("it is neither a URL nor a list of keyword=value")
	}
	for _, word := range words {
		switch word.key {
		case "password":
			password = word.value
		case "sslpassword":
			return wrong("a key with a passphrase (sslpassword) cannot be handed to a program")
		default:
			kept = append(kept, word.key+"='"+strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(word.value)+"'")
		}
	}
	return strings.Join(kept, " "), password, nil
}

type keyword struct{ key, value string }

// keywords reads "host=db dbname = 'my app'" as libpq does: values in quotes or up to
// the next space, a backslash before a character that is meant as it is.
func keywords(text string) (words []keyword, ok bool) {
	const space = " \t\n\r\f\v"
	for {
		text = strings.TrimLeft(text, space)
		if text == "" {
			return words, true
		}
		key, rest, found := strings.Cut(text, "=")
		key = strings.TrimRight(key, space)
		if !found || key == "" || strings.ContainsAny(key, space+`'\`) {
			return nil, false
		}
		rest = strings.TrimLeft(rest, space)
		var value []byte
		quoted := strings.HasPrefix(rest, "'")
		if quoted {
			rest = rest[1:]
		}
		i := 0
		for ; i < len(rest); i++ {
			if rest[i] == '\\' && i+1 < len(rest) {
				i++
			} else if quoted && rest[i] == '\'' || !quoted && slices.Contains([]byte(space), rest[i]) {
				break
			}
			value = append(value, rest[i])
		}
		if quoted {
			if i == len(rest) {
				return nil, false
			}
			i++
		}
		words = append(words, keyword{key, string(value)})
		text = rest[i:]
	}
}
