package pg

import (
	"net"
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
}

// ParseAddress reads a URL or keyword string as Connect does, with libpq's defaults; it
// does not connect. What cannot be read is capstan.ErrUsage.
func ParseAddress(url string) (Address, error) {
	config, err := parse(url)
	if err != nil {
		return Address{}, err
	}
	e := Address{User: config.User, Database: config.Database, Host: config.Host}
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
