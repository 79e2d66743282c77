package pgproxy

import (
	"net"
	"strings"
)

// split turns unix:PATH and host:port into what package net asks for.
func split(text string) (network, where string) {
	if path, found := strings.CutPrefix(text, "unix:"); found {
		return "unix", path
	}
	return "tcp", text
}

// Listen listens at host:port or unix:PATH.
func Listen(text string) (net.Listener, error) {
	network, where := split(text)
	return net.Listen(network, where)
}

// Address is what Listen would be given, or New.
func Address(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}
