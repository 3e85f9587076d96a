package pg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/jackc/pgx/v5"
)

// Endpoint makes sessions at one server: where a URL names several hosts, or a name
// stands for several addresses, all of them go to the address that the first was
// accepted at. It is safe for concurrent use once the first session is there.
type Endpoint struct {
	URL      string // or keywords, as libpq reads them
	Database string // in the place of that of URL; empty: that one

	mu sync.Mutex
	at string // network and address; empty before the first session
}

// errElsewhere keeps a session from another address than the first one's.
var errElsewhere = errors.New("left out: earlier sessions are at another address")

// Connect makes a session, as the function Connect does.
func (e *Endpoint) Connect(ctx context.Context) (*Conn, error) {
	config, err := parse(e.URL)
	if err != nil {
		return nil, err
	}
	if e.Database != "" {
		config.Database = e.Database
	}
	e.mu.Lock()
	only := e.at
	e.mu.Unlock()
	last, dial := "", config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		here := network + " " + address
		if only != "" && here != only {
			return nil, fmt.Errorf("%s: %w", address, errElsewhere)
		}
		last = here
		return dial(ctx, network, address)
	}
	conn, err := connect(ctx, config, hosts(config))
	if err == nil && only == "" {
		e.mu.Lock()
		e.at = last
		e.mu.Unlock()
	}
	return conn, err
}

// hosts names where a configuration leads.
func hosts(config *pgx.ConnConfig) string {
	all := net.JoinHostPort(config.Host, fmt.Sprint(config.Port))
	before := all
	for _, f := range config.Fallbacks {
		if next := net.JoinHostPort(f.Host, fmt.Sprint(f.Port)); next != before {
			all, before = all+", "+next, next
		}
	}
	return all
}
