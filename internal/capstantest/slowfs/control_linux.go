package slowfs

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
)

// The test and the server talk in lines of JSON over a pair of sockets, which the
// server has as this descriptor.
const controlFD = 3

// environment names the variable that makes a test binary a server; it holds the
// setup as JSON.
const environment = "CAPSTANTEST_SLOWFS"

// setup is what a server serves.
type setup struct {
	Below, Dir string
	Log        string // of what is done; empty: none
}

// request is from the test. Each is answered by a report with its number, after
// it has taken effect.
type request struct {
	ID     int
	Add    *Rule // its ID is that of the rule
	End    int   // a rule by its ID
	Counts bool
}

// report is from the server: an answer, a hit, or an error that ends it.
type report struct {
	Answer int // the request's ID; the first, 0, says that the mount is there
	Error  string
	Rule   int // of a hit
	Hit    *Hit
	Counts map[Op]int
}

// line is one end of the conversation.
type line struct {
	net.Conn
	in  *json.Decoder
	out *json.Encoder
}

func newLine(file *os.File) (*line, error) {
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return &line{conn, json.NewDecoder(conn), json.NewEncoder(conn)}, nil
}
