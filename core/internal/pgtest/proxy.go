package pgtest

import (
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/libworkflows/libworkflows/core/pgproxy"
)

// Proxy answers a proxy of the test's own before the server at an address, and the address
// that leads through it.
func Proxy(t testing.TB, direct string) (proxy *pgproxy.Proxy, through string) {
	t.Helper()
	config, err := pgx.ParseConfig(direct)
	if err != nil {
		t.Fatal(err)
	}
	network, where := pgconn.NetworkAddress(config.Host, config.Port)
	if network == "unix" {
		where = "unix:" + where
	}
	clients, err := pgproxy.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxy = pgproxy.New(where)
	served := make(chan error, 1)
	go func() { served <- proxy.Serve(clients) }()
	t.Cleanup(func() {
		_ = clients.Close()
		if err := <-served; err != nil {
			t.Errorf("the proxy: %v", err)
		}
		_ = proxy.Do(pgproxy.Command{Do: "reset"})
	})
	return proxy, at(t, direct, clients.Addr().String())
}

// at is a server's address with another place in it.
func at(t testing.TB, direct, place string) string {
	t.Helper()
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Del("host")
	query.Del("port")
	query.Set("sslmode", "disable")
	u.Host, u.RawQuery = place, query.Encode()
	return u.String()
}
