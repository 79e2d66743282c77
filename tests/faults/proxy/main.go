// Package main is a proxy before PostgreSQL that breaks connections in ways that a test
// names while it runs.
//
//	proxy --listen 127.0.0.1:0|unix:PATH --to unix:PATH|host:port --control unix:PATH
//
// It prints {"listen": "..."} once it can be reached. core/pgproxy/control.go has the commands.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"github.com/libworkflows/libworkflows/core/pgproxy"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "where clients connect: host:port or unix:PATH")
	to := flag.String("to", "", "where PostgreSQL is: host:port or unix:PATH")
	control := flag.String("control", "", "where commands are taken: unix:PATH")
	flag.Parse()
	if err := run(*listen, *to, *control); err != nil {
		fmt.Fprintln(os.Stderr, "proxy:", err)
		os.Exit(1)
	}
}

func run(listen, to, control string) error {
	clients, err := pgproxy.Listen(listen)
	if err != nil {
		return err
	}
	commands, err := pgproxy.Listen(control)
	if err != nil {
		return err
	}
	p := pgproxy.New(to)
	go p.Control(commands)
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"listen": pgproxy.Address(clients.Addr())}); err != nil {
		return err
	}
	return p.Serve(clients)
}
