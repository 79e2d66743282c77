package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/fault"
)

// unsyncedSQL: a notification is kept in no table, but its commit would wait for the disk.
// What it speaks of has been committed by then, and a hint may be lost.
var (
	unsyncedSQL = define("unsynced", `SELECT pg_catalog.set_config('synchronous_commit', 'off', true)`)
	notifySQL   = define("notify", `SELECT pg_catalog.pg_notify($1, $2)`)
)

// channel is where hints for this schema travel. Names of queues travel in the
// payload: they are data.
func (s *Store) channel() string { return "libworkflows_" + s.schema }

// Notify sends hints. It runs after the commit that it speaks of and on another
// connection: inside the data transaction it would serialise all of them.
func (s *Store) Notify(ctx context.Context, payloads []string) error {
	p := s.pipeline()
	p.add(unsyncedSQL, nil)
	for _, payload := range payloads {
		p.add(notifySQL, nil, s.channel(), payload)
	}
	return p.run(ctx, s.pool)
}

// Listen hears hints until ctx ends or the connection fails. It calls ready
// once it listens, for what was missed before.
func (s *Store) Listen(ctx context.Context, url string, ready func(), hear func(payload string)) error {
	conn, err := s.listener(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{s.channel()}.Sanitize()); err != nil {
		return s.classify(err)
	}
	ready()
	return s.hear(ctx, conn, canaryEvery, canaryLimit, hear)
}

// TryListen says why hints could not be heard there.
func (s *Store) TryListen(ctx context.Context, url string) error {
	conn, err := s.listener(ctx, url)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// listener makes a connection that keeps its session, to url or, if that is "",
// to the database. Through a pooler that does not, LISTEN would succeed, nothing
// would be heard, and the session would go on listening for whom it is lent to.
func (s *Store) listener(ctx context.Context, url string) (*pgx.Conn, error) {
	config, way := s.config.ConnConfig, s.route
	if url != "" {
		parsed, err := pgx.ParseConfig(url)
		if err != nil {
			return nil, fault.New(fault.InvalidConfig, nil, "WORKFLOWS_LISTEN_URL cannot be read; it should look like postgresql://user:password@host:5432/database").Because(err)
		}
		config, way = parsed, newRoute(parsed)
	}
	conn, err := way.connect(ctx, config)
	if err != nil {
		return nil, s.classifyAt(config, err)
	}
	if !isPooled(conn) {
		return conn, nil
	}
	kept, err := keepsSession(ctx, conn, way, config)
	if err == nil && kept {
		return conn, nil
	}
	_ = conn.Close(context.WithoutCancel(ctx))
	if err != nil {
		return nil, s.classifyAt(config, err)
	}
	where := place(config)
	return nil, fault.New(fault.InvalidConfig, fault.Details{"host": where},
		"LISTEN does not work through the pooler at %s, which lends every transaction another session; set WORKFLOWS_LISTEN_URL to PostgreSQL's own address, or to off to go by polling", where)
}

// sessionRounds make it unlikely that two connections that share sessions are
// lent the same ones all the time. A pooler with nothing else to do gives itself
// away in the first: it lends both the same.
const sessionRounds = 8

// keepsSession says whether a pooler gives each connection a session of its own.
func keepsSession(ctx context.Context, conn *pgx.Conn, way *route, config *pgx.ConnConfig) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	other, err := way.connect(ctx, config)
	if err != nil {
		return false, err
	}
	defer func() { _ = other.Close(context.WithoutCancel(ctx)) }()
	var first, now [2]uint32
	for round := range sessionRounds {
		for i, c := range []*pgx.Conn{conn, other} {
			if err := c.QueryRow(ctx, "SELECT pg_catalog.pg_backend_pid()", pgx.QueryExecModeExec).Scan(&now[i]); err != nil {
				return false, err
			}
		}
		if round == 0 {
			first = now
		}
		if now != first || now[0] == now[1] {
			return false, nil
		}
	}
	return true, nil
}

const (
	// canaryEvery is how long silence is believed, canaryLimit how long the canary may take.
	canaryEvery = 30 * time.Second
	canaryLimit = 10 * time.Second
	canary      = "canary"
)

// hear passes on what is heard. After a silence it sends a notification to
// itself: a connection that is half open, or that a pooler hands to somebody
// else, is silent for ever and looks well.
func (s *Store) hear(ctx context.Context, conn *pgx.Conn, every, limit time.Duration, hear func(payload string)) error {
	patience := every
	for {
		limited, cancel := context.WithTimeout(ctx, patience)
		n, err := conn.WaitForNotification(limited)
		silent := limited.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err == nil && n.Payload != canary:
			patience = every
			hear(n.Payload)
		case err == nil:
			patience = every
		case silent && patience == every:
			patience = limit
			if err := s.sing(ctx, conn); err != nil {
				return s.classify(err)
			}
		default:
			return s.classify(err)
		}
	}
}

func (s *Store) sing(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, canaryLimit)
	defer cancel()
	_, err := conn.Exec(ctx, s.texts[notifySQL], s.channel(), canary)
	return err
}
