package pg

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"capstan"
)

// secrets are what a connection URL holds that a program's arguments must not: every
// user of the machine can read those.
type secrets struct {
	password    string
	keyPassword string // sslpassword: of a private key
	serviceFile string // no secret; libpq knows it from the environment alone
}

// take takes a setting out if it is one of them.
func (s *secrets) take(key, value string) bool {
	switch key {
	case "password":
		s.password = value
	case "sslpassword":
		s.keyPassword = value
	case "servicefile":
		s.serviceFile = value
	default:
		return false
	}
	return true
}

// Split takes the password out of a connection URL or keyword string, so that a
// program can be given the rest in its arguments, and the password in its environment
// (PGPASSWORD). Of what has no such place, the passphrase of a private key, it is an
// error; Handover knows more.
func Split(text string) (rest, password string, err error) {
	rest, found, err := dissect(text)
	if err == nil && found.keyPassword != "" {
		err = malformed("a key with a passphrase (sslpassword) cannot be handed to a program")
	}
	return rest, found.password, err
}

// malformed is an error about a URL that does not repeat it: it may hold a password.
func malformed(why string) error {
	return &capstan.Error{Class: capstan.ErrUsage, Op: "read the connection URL", Err: errors.New(why)}
}

// dissect takes the secrets out. The rest means the same to libpq.
func dissect(text string) (rest string, found secrets, err error) {
	for _, scheme := range [...]string{"postgres://", "postgresql://"} {
		if after, is := strings.CutPrefix(text, scheme); is {
			rest, err := dissectURL(after, &found)
			return scheme + rest, found, err
		}
	}
	words, ok := keywords(text)
	if !ok {
		return "", found, malformed("it is neither a URL nor a list of keyword=value")
	}
	var kept []string
	for _, word := range words {
		if !found.take(word.key, word.value) {
			kept = append(kept, word.key+"="+quotedWord(word.value))
		}
	}
	return strings.Join(kept, " "), found, nil
}

// dissectURL takes apart what follows the scheme, as libpq does, which knows several
// hosts and takes whatever stands before the first @ for user and password (conninfo_uri_parse_options
// of fe-connect.c).
func dissectURL(text string, found *secrets) (rest string, err error) {
	var user string
	if at := strings.IndexAny(text, "@/"); at >= 0 && text[at] == '@' {
		name, password, _ := strings.Cut(text[:at], ":")
		if found.password, err = url.PathUnescape(password); err != nil {
			return "", malformed("its password is not well encoded: write % as %25")
		}
		user, text = name+"@", text[at+1:]
	}
	place, query, has := strings.Cut(text, "?")
	if strings.Contains(place, "@") { // it may be of a password
		return "", malformed("there is one @ too many: in a password, or a name, write @ as %40 and / as %2F")
	}
	authority, _, _ := strings.Cut(place, "/")
	for host := range strings.SplitSeq(authority, ",") {
		if _, port, _ := strings.Cut(host[strings.LastIndex(host, "]")+1:], ":"); strings.Trim(port, "0123456789") != "" {
			return "", malformed("a port is not a number (in a password, write @ as %40 and / as %2F)")
		}
	}
	if !has {
		return user + text, nil
	}
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		key, err := url.PathUnescape(key)
		if err != nil {
			return "", malformed("a parameter's name is not well encoded")
		}
		plain, err := url.PathUnescape(value)
		if err != nil {
			return "", malformed("the value of " + key + " is not well encoded")
		}
		if !found.take(key, plain) {
			kept = append(kept, pair)
		}
	}
	if len(kept) > 0 {
		place += "?" + strings.Join(kept, "&")
	}
	return user + place, nil
}

// quotedWord writes a value for a keyword string.
func quotedWord(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
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

// InDatabase gives a connection URL, or keywords, that leads to another database of the
// same server.
func InDatabase(text, database string) (string, error) {
	if _, _, err := dissect(text); err != nil {
		return "", err
	}
	for _, scheme := range [...]string{"postgres://", "postgresql://"} {
		rest, is := strings.CutPrefix(text, scheme)
		if !is {
			continue
		}
		user := ""
		if at := strings.IndexAny(rest, "@/"); at >= 0 && rest[at] == '@' {
			user, rest = rest[:at+1], rest[at+1:]
		}
		place, query, _ := strings.Cut(rest, "?")
		authority, _, _ := strings.Cut(place, "/")
		kept := slices.DeleteFunc(strings.Split(query, "&"), func(pair string) bool { return pair == "" || strings.HasPrefix(pair, "dbname=") })
		text = scheme + user + authority + "/" + strings.ReplaceAll(url.QueryEscape(database), "+", "%20")
		if len(kept) > 0 {
			text += "?" + strings.Join(kept, "&")
		}
		return text, nil
	}
	return text + " dbname=" + quotedWord(database), nil // the last one counts
}
