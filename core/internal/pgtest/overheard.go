package pgtest

import (
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Overheard is a way to a server on which every SQL text that clients send is noted.
type Overheard struct {
	url   string
	mu    sync.Mutex
	texts map[string]bool
}

// Overhear opens one to the server at an address, for as long as the test runs.
func Overhear(t testing.TB, address string) *Overheard {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	server := filepath.Join(query.Get("host"), ".s.PGSQL."+query.Get("port"))
	dir, err := os.MkdirTemp("", "pgo") // short, for the socket's sake
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = listener.Close(), os.RemoveAll(dir) })
	query.Set("host", dir)
	query.Set("port", "5432")
	u.RawQuery = query.Encode()
	o := &Overheard{url: u.String(), texts: map[string]bool{}}
	go o.serve(listener, server)
	return o
}

// URL answers the address of the way.
func (o *Overheard) URL() string { return o.url }

// Texts answers what has been sent, each once.
func (o *Overheard) Texts() (texts []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for text := range o.texts {
		texts = append(texts, text)
	}
	slices.Sort(texts)
	return texts
}

func (o *Overheard) serve(listener net.Listener, server string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		behind, err := net.Dial("unix", server)
		if err != nil {
			_ = client.Close()
			continue
		}
		go func() {
			_, _ = io.Copy(client, behind)
			_ = client.Close()
		}()
		go func() {
			o.relay(client, behind)
			_ = behind.Close()
		}()
	}
}

// relay notes the texts on their way, until either side is closed.
func (o *Overheard) relay(client io.Reader, behind io.Writer) {
	messages := pgproto3.NewBackend(client, io.Discard)
	first, err := messages.ReceiveStartupMessage()
	for err == nil {
		var raw []byte
		if raw, err = first.Encode(nil); err == nil {
			_, err = behind.Write(raw)
		}
		if err == nil {
			first, err = messages.Receive()
		}
		switch m := first.(type) {
		case *pgproto3.Parse:
			o.note(m.Query)
		case *pgproto3.Query:
			o.note(m.String)
		}
	}
}

func (o *Overheard) note(text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.texts[text] = true
}
