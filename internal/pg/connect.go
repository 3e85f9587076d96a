package pg

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"capstan"
)

// connectPatience is how long making a connection may take.
const connectPatience = 10 * time.Second

type netConn = net.Conn

// Conn is a connection to a server.
type Conn = pgx.Conn

// Connect connects to a server by its URL (or keyword string), as libpq reads it.
// Without one it connects to the cluster's own server: through its socket where it
// has one, as PGDATA's owner, who has a role of his name as a rule; root takes his
// identity for the moment of connecting, so that peer authentication succeeds. The
// caller closes the connection.
func (c *Cluster) Connect(ctx context.Context, server Server, url string) (*pgx.Conn, error) {
	if url != "" {
		return Connect(ctx, url)
	}
	if server.File.Port == 0 {
		return nil, &capstan.Error{Op: "connect to the server of", Object: c.Dir, Err: errors.New("it does not say yet where it listens")}
	}
	config, err := pgx.ParseConfig("dbname=postgres sslmode=prefer application_name=capstan")
	if err != nil {
		return nil, err
	}
	config.User = c.OwnerName
	config.Host, config.Port = server.File.Socket, uint16(server.File.Port) //nolint:gosec // ParsePIDFile checks it
	if config.Host == "" {
		config.Host = localHost(server.File.Listen)
	} else {
		config.TLSConfig, config.Fallbacks = nil, nil
		if dial := dialAs(c.Owner); dial != nil && os.Geteuid() == 0 {
			config.DialFunc = dial
		}
	}
	return connect(ctx, config, c.Dir)
}

// Connect connects to any server by its URL or keyword string.
func Connect(ctx context.Context, url string) (*Conn, error) { return ConnectTo(ctx, url, "") }

// ConnectTo is Connect, to another database of the same server if one is named.
func ConnectTo(ctx context.Context, url, database string) (*Conn, error) {
	config, err := parse(url)
	if err != nil {
		return nil, err
	}
	if database != "" {
		config.Database = database
	}
	return connect(ctx, config, hosts(config))
}

// parse reads a connection URL or keyword string, with what environment and files add.
func parse(url string) (*pgx.ConnConfig, error) {
	_, secret, err := dissect(url)
	if err != nil {
		return nil, err // what is malformed may have its password anywhere, and is not repeated
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		text := err.Error()
		if end := strings.LastIndex(text, "`: "); end >= 0 { // of the URL itself
			text = text[end+len("`: "):]
		}
		return nil, &capstan.Error{Class: capstan.ErrUsage, Op: "read the connection URL", Err: errors.New(without(text, secret.password))}
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "capstan"
	}
	return config, nil
}

// connect makes a session. Its errors hold no password.
func connect(ctx context.Context, config *pgx.ConnConfig, object string) (*pgx.Conn, error) {
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectPatience
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, refusal(object, config, err)
	}
	return conn, nil
}

// localHost is where to reach a server on this machine that listens at an address.
func localHost(listen string) string {
	switch listen {
	case "", "*", "0.0.0.0":
		return "127.0.0.1"
	case "::":
		return "::1"
	}
	return listen
}

// IsNoDatabase reports whether a server refused a connection because it does not have the
// database.
func IsNoDatabase(err error) bool {
	const undefinedDatabase = "3D000"
	refused, is := errors.AsType[*pgconn.PgError](err)
	return is && refused.Code == undefinedDatabase
}
