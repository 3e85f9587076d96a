package pgtest

import "time"

// NewStandby makes a cluster that follows a running server of the same options, from
// its beginning: clusters of one template are one cluster to the server. It starts it.
func NewStandby(primary *Server, options Options) *Server {
	primary.tb.Helper()
	s := New(primary.tb, options)
	s.put(nil, "standby.signal")
	s.Conf("primary_conninfo = '"+primary.DSN("postgres")+"'", "wal_retrieve_retry_interval = 100ms")
	s.Start()
	return s
}

// Follow waits until a standby has replayed what its primary has done so far.
func (s *Server) Follow(primary *Server) {
	s.tb.Helper()
	lsn := primary.Text("select pg_current_wal_flush_lsn()")
	Eventually(s.tb, 2*time.Minute, func() (bool, string) {
		return s.Text("select pg_last_wal_replay_lsn() >= '"+lsn+"'") == "t", "the standby has not replayed " + lsn + "\n" + s.LogTail()
	})
}
