// Package pgproxy stands between clients and PostgreSQL and breaks their connections, in
// ways that a test names while it runs. It knows the protocol's framing, and so can lose
// the reply of a commit and nothing else.
package pgproxy

import (
	"errors"
	"net"
	"strings"
	"sync"
	"time"
)

// mode is how connections are treated.
type mode string

const (
	passing   mode = "pass"
	blackhole mode = "blackhole" // nothing gets through, either way, not even an end
	halfOpen  mode = "half_open" // nothing gets back
	refusing  mode = "refuse"    // those that are there go on, new ones are reset
)

// direction is from the client up to the server, or down.
type direction int

const (
	up direction = iota
	down
)

// cut is an order to lose the reply of a commit.
type cut struct {
	match string
	left  int // that many transactions that match; the last is cut
}

// Proxy stands between clients and one server.
type Proxy struct {
	to string

	mu      sync.Mutex
	changed *sync.Cond
	mode    mode
	delay   time.Duration
	swallow bool
	cuts    []*cut
	budget  int64 // bytes until a connection is dropped; negative is never
	links   map[*link]bool
	stats   Stats
}

// Stats is what a proxy has done so far.
type Stats struct {
	Mode          mode  `json:"mode"`
	Links         int   `json:"links"`
	Armed         int   `json:"armed"` // cuts that wait for their transaction
	Accepted      int64 `json:"accepted"`
	BytesUp       int64 `json:"bytes_up"`
	BytesDown     int64 `json:"bytes_down"`
	Transactions  int64 `json:"transactions"` // answers that ended in ReadyForQuery
	Notifications int64 `json:"notifications"`
	Swallowed     int64 `json:"swallowed"`
	Cut           int64 `json:"cut"`
	Dropped       int64 `json:"dropped"`
	Refused       int64 `json:"refused"`
	Reset         int64 `json:"reset"`
}

// New answers a proxy for a server at host:port or unix:PATH.
func New(to string) *Proxy {
	p := &Proxy{to: to, mode: passing, budget: -1, links: map[*link]bool{}}
	p.changed = sync.NewCond(&p.mu)
	return p
}

// change alters how connections are treated, for those that are held up, too.
func (p *Proxy) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.changed.Broadcast()
}

// pass ends everything that was ordered.
func (p *Proxy) pass() {
	p.change(func() { p.mode, p.delay, p.swallow, p.cuts, p.budget = passing, 0, false, nil, -1 })
}

// Serve takes clients until the listener is closed.
func (p *Proxy) Serve(clients net.Listener) error {
	for {
		client, err := clients.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if l := p.accept(client); l != nil {
			go l.run()
		}
	}
}

func (p *Proxy) accept(client net.Conn) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == refusing {
		p.stats.Refused++
		abort(client)
		return nil
	}
	l := &link{proxy: p, client: client}
	p.links[l] = true
	p.stats.Accepted++
	return l
}

// admit waits while nothing gets through, and says whether the link is still there.
func (p *Proxy) admit(l *link, d direction) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.links[l] && (p.mode == blackhole || p.mode == halfOpen && d == down) {
		p.changed.Wait()
	}
	return p.links[l]
}

func (p *Proxy) pause() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delay
}

// spend says how many of so many bytes may be forwarded, and whether the link ends there.
func (p *Proxy) spend(d direction, n int) (allowed int, dropped bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.budget >= 0 {
		if dropped = p.budget <= int64(n); dropped {
			n = int(p.budget)
			p.stats.Dropped++
		}
		p.budget -= int64(n)
		if dropped {
			p.budget = -1
		}
	}
	if d == up {
		p.stats.BytesUp += int64(n)
	} else {
		p.stats.BytesDown += int64(n)
	}
	return n, dropped
}

// swallows counts a notification, and says whether to keep it.
func (p *Proxy) swallows() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Notifications++
	if p.swallow {
		p.stats.Swallowed++
	}
	return p.swallow
}

// cutFor answers the order that a transaction with these statements falls under.
func (p *Proxy) cutFor(executed []string) *cut {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range p.cuts {
		if !c.matches(executed) {
			continue
		}
		if c.left--; c.left == 0 {
			p.cuts = append(p.cuts[:i:i], p.cuts[i+1:]...)
			return c
		}
	}
	return nil
}

func (c *cut) matches(executed []string) bool {
	for _, text := range executed {
		if strings.Contains(text, c.match) {
			return true
		}
	}
	return false
}

// again gives back an order whose transaction was not committed.
func (p *Proxy) again(c *cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.left = 1
	p.cuts = append(p.cuts, c)
}

// reset ends all connections as a broken network does.
func (p *Proxy) reset() {
	p.mu.Lock()
	links := make([]*link, 0, len(p.links))
	for l := range p.links {
		links = append(links, l)
	}
	p.stats.Reset += int64(len(links))
	p.mu.Unlock()
	for _, l := range links {
		l.abort()
	}
}

// count adds to a counter.
func (p *Proxy) count(counter *int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*counter++
}

// Stats answers what was done so far.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Mode, s.Links, s.Armed = p.mode, len(p.links), len(p.cuts)
	return s
}

// abort closes a connection so that the other side gets an RST, where there is such a thing.
func abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
