package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/libworkflows/libworkflows/core/fault"
)

var notifySQL = define("notify", `SELECT pg_notify($1, $2)`)

// channel is where hints for this schema travel. Names of queues travel in the
// payload: they are data.
func (s *Store) channel() string { return "libworkflows_" + s.schema }

// Notify sends hints. It runs after the commit that it speaks of and on another
// connection: inside the data transaction it would serialise all of them.
func (s *Store) Notify(ctx context.Context, payloads []string) error {
	p := s.pipeline()
	for _, payload := range payloads {
		p.add(notifySQL, nil, s.channel(), payload)
	}
	return p.run(ctx, s.pool)
}

// Listen hears hints until ctx ends or the connection fails. It calls ready
// once it listens, for what was missed before.
func (s *Store) Listen(ctx context.Context, url string, ready func(), hear func(payload string)) error {
	settings := s.config.ConnConfig.Copy()
	if url != "" {
		var err error
		if settings, err = pgx.ParseConfig(url); err != nil {
			return fault.New(fault.InvalidConfig, nil, "WORKFLOWS_LISTEN_URL cannot be read; it should look like postgresql://user:password@host:5432/database").Because(err)
		}
	}
	conn, err := pgx.ConnectConfig(ctx, settings)
	if err != nil {
		return s.classify(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{s.channel()}.Sanitize()); err != nil {
		return s.classify(err)
	}
	ready()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return s.classify(err)
		}
		hear(n.Payload)
	}
}
