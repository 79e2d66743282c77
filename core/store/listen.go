package store

import (
	"context"
	"time"

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
	return s.hear(ctx, conn, canaryEvery, canaryLimit, hear)
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
