// Package embedded runs a real PostgreSQL of its own in a directory, for those
// who have not been given a database.
//
// The cluster belongs to every process that opens the directory: the first one
// makes and starts it, the last one to close it stops it. What they agree by is
// two lock files, because the kernel gives a flock back however a process ends:
//
//	start.lock   exclusive, while somebody makes, starts, joins or stops the server
//	users.lock   shared, for as long as a process uses the server
//
// Beside them in the directory lie data (the cluster), socket (unless its path
// would be too long for a socket) and server.log.
//
// A process that is killed leaves the server running to the next one that opens
// the directory. The server listens on a unix socket in a private directory and
// nowhere else.
package embedded

import (
	"context"
	"net/url"
	"sync"
	"time"
)

// closePatience bounds how long Close waits for its turn with the start lock.
const closePatience = time.Minute

// Server is one user's share of the server in a directory.
type Server struct {
	cluster cluster
	users   *lock
	url     string
	close   func() error
}

// Open starts, or joins, the PostgreSQL cluster at dir, and makes it if there is
// none yet.
//
// binaries are directories with server binaries that the caller knows of; see
// Locate for where else they are looked for. None are needed to join a server
// that runs. settings ("fsync=off") are given to a server that this call starts;
// one that runs already keeps its own.
//
// The server outlives a crash of its opener, but not the last Close.
//
// Errors: database_unavailable, invalid_config.
func Open(ctx context.Context, dir string, binaries []string, settings ...string) (*Server, error) {
	c, err := prepareCluster(dir)
	if err != nil {
		return nil, err
	}
	turn, err := lockExclusive(ctx, c.startLock())
	if err != nil {
		return nil, err
	}
	defer turn.release()
	users, err := lockShared(ctx, c.usersLock())
	if err != nil {
		return nil, err
	}
	s := &Server{cluster: c, users: users}
	s.close = sync.OnceValue(s.leaveInTurn)
	socket, err := c.ensureRunning(ctx, binaries, settings)
	if err != nil {
		_ = s.leave() // the first error says more
		return nil, err
	}
	s.url = connectionURL(socket)
	return s, nil
}

// URL answers where the server listens, for pgx and libpq alike.
func (s *Server) URL() string { return s.url }

// Close gives up this share of the server and stops the server if it was the
// last one. Closing twice is no error, and answers the same both times.
func (s *Server) Close() error { return s.close() }

func (s *Server) leaveInTurn() error {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	turn, err := lockExclusive(ctx, s.cluster.startLock())
	if err != nil {
		s.users.release()
		return err
	}
	defer turn.release()
	return s.leave()
}

// leave needs the start lock, so that nobody can join a server that it stops.
func (s *Server) leave() error {
	defer s.users.release()
	if !s.users.tryExclusive() {
		return nil
	}
	return s.cluster.stop()
}

// connectionURL names the port too: without it libpq and pgx would take PGPORT.
func connectionURL(socket string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User(roleName),
		Path:     "/" + databaseName,
		RawQuery: url.Values{"host": {socket}, "port": {port}}.Encode(),
	}
	return u.String()
}
