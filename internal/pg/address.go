package pg

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Address is where a connection URL leads to, without anything secret.
type Address struct {
	User, Database string
	// Host is the first server's name, or the directory of its socket; Hosts are all that
	// the connection may lead to, with their ports, as they stand in a URL.
	Host, Hosts string
	Port        string // of Host
}

// ParseAddress reads a URL or keyword string as Connect does, with libpq's defaults; it
// does not connect. What cannot be read is capstan.ErrUsage.
func ParseAddress(text string) (Address, error) {
	config, err := parse(text)
	if err != nil {
		return Address{}, err
	}
	e := Address{User: config.User, Database: config.Database, Host: config.Host, Port: strconv.Itoa(int(config.Port))}
	if e.Database == "" {
		e.Database = config.User // as libpq has it
	}
	all := []string{net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))}
	for _, other := range config.Fallbacks {
		if host := net.JoinHostPort(other.Host, strconv.Itoa(int(other.Port))); !slices.Contains(all, host) {
			all = append(all, host)
		}
	}
	e.Hosts = strings.Join(all, ",")
	return e, nil
}

// String gives it as a URL that Connect reads. What a URL has besides is not in it.
func (a Address) String() string {
	at := url.URL{Scheme: "postgres", User: url.User(a.User), Path: "/" + a.Database}
	if strings.HasPrefix(a.Host, "/") { // of a socket
		at.RawQuery = url.Values{"host": {a.Host}, "port": {a.Port}}.Encode()
	} else {
		at.Host = a.Hosts
	}
	return at.String()
}
