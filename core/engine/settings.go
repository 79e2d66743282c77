package engine

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/libworkflows/libworkflows/core/embedded"
	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

const (
	embeddedPrefix    = "embedded:"
	defaultCluster    = ".workflows/postgres"
	defaultSchema     = "workflows"
	defaultMaxPayload = 1 << 20
	maxPoolSize       = 1000

	defaultMaxHistory = 50_000
	leastMaxHistory   = 100
	mostMaxHistory    = 10_000_000
)

// settings are a configuration with its defaults put in.
type settings struct {
	databaseURL string
	// chosen is false when nobody named a database.
	chosen     bool
	listenURL  string
	schema     string
	poolSize   int
	maxPayload int
	maxHistory int
	binaries   []string
	migrate    bool
}

// resolve fills a configuration from the environment and the defaults.
func resolve(c model.Config) (settings, error) {
	s := settings{
		databaseURL: first(c.DatabaseURL, os.Getenv("WORKFLOWS_DATABASE_URL")),
		listenURL:   first(c.ListenURL, os.Getenv("WORKFLOWS_LISTEN_URL")),
		schema:      first(c.Schema, os.Getenv("WORKFLOWS_SCHEMA"), defaultSchema),
		poolSize:    c.PoolSize,
		maxPayload:  c.MaxPayloadBytes,
		maxHistory:  c.MaxHistory,
		binaries:    c.PostgresBinaries,
	}
	s.chosen = s.databaseURL != ""
	if !s.chosen {
		s.databaseURL = embeddedPrefix
	}
	s.migrate = s.isEmbedded()
	if c.Migrate != nil {
		s.migrate = *c.Migrate
	}
	return s, s.bound()
}

// bound checks the numbers and puts in the defaults of those that are absent.
func (s *settings) bound() error {
	if s.poolSize < 0 || s.poolSize > maxPoolSize {
		return fault.New(fault.InvalidConfig, fault.Details{"path": "pool_size"}, "pool_size is %d; it must be 1 to %d", s.poolSize, maxPoolSize)
	}
	if s.maxPayload < 0 {
		return fault.New(fault.InvalidConfig, fault.Details{"path": "max_payload_bytes"}, "max_payload_bytes is %d; it must not be negative", s.maxPayload)
	}
	if s.maxPayload == 0 {
		s.maxPayload = defaultMaxPayload
	}
	if s.maxHistory == 0 {
		s.maxHistory = defaultMaxHistory
	}
	if s.maxHistory < leastMaxHistory || s.maxHistory > mostMaxHistory {
		return fault.New(fault.InvalidConfig, fault.Details{"path": "max_history"},
			"max_history is %d; it must be %d to %d", s.maxHistory, leastMaxHistory, mostMaxHistory)
	}
	return nil
}

func (s settings) isEmbedded() bool { return strings.HasPrefix(s.databaseURL, embeddedPrefix) }

// locate answers the URL to connect to, starting an embedded server if that is
// what is configured, and how to give it back.
func (s settings) locate(ctx context.Context) (url string, release func() error, err error) {
	if !s.isEmbedded() {
		return s.databaseURL, func() error { return nil }, nil
	}
	directory := first(strings.TrimPrefix(s.databaseURL, embeddedPrefix), defaultCluster)
	server, err := embedded.Open(ctx, directory, s.binaries)
	if err != nil {
		return "", nil, err
	}
	if !s.chosen {
		fmt.Fprintf(os.Stderr, "libworkflows: WORKFLOWS_DATABASE_URL is not set; using a PostgreSQL of its own in %s\n", directory)
	}
	return server.URL(), server.Close, nil
}

func first(candidates ...string) string {
	for _, c := range candidates {
		if c != "" {
			return c
		}
	}
	return ""
}
