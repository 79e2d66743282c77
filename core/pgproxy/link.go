package pgproxy

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"time"
)

const bufferSize = 64 << 10

var errGone = errors.New("the connection is gone")

// link is one client's connection, with the server's that belongs to it.
type link struct {
	proxy          *Proxy
	client, server net.Conn

	mu sync.Mutex
	// asked counts what the server was asked that it answers with ReadyForQuery, answered its answers.
	asked, answered int
	// cut is to lose the commit that the answer since, or a later one, tells of.
	cut   *cut
	since int
	// held are replies that nobody may see if there is a commit among them.
	held []byte
	// undone: the transaction that is cut has failed or was rolled back.
	undone bool
}

// run forwards until either side ends.
func (l *link) run() {
	defer l.close()
	client := bufio.NewReaderSize(l.client, bufferSize)
	startup, err := l.greet(client)
	if err != nil {
		return
	}
	network, where := split(l.proxy.to)
	server, err := net.Dial(network, where)
	if err != nil || !l.join(server) {
		return
	}
	l.asked = 1 // a session begins with ReadyForQuery
	if l.forward(up, startup) != nil {
		return
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = l.listen(bufio.NewReaderSize(server, bufferSize))
		l.end(down)
	}()
	_ = l.speak(client)
	l.end(up)
	<-ended
}

// greet answers requests for encryption itself, with no, until it has the startup message
// or a request to cancel.
func (l *link) greet(client *bufio.Reader) (startup []byte, err error) {
	for l.proxy.admit(l, up) {
		raw, code, err := readStartup(client)
		if err != nil {
			return nil, err
		}
		if code != sslRequest && code != gssRequest {
			return raw, nil
		}
		if !l.proxy.admit(l, down) {
			break
		}
		if _, err := l.client.Write([]byte("N")); err != nil {
			return nil, err
		}
	}
	return nil, errGone
}

// join takes in the server's connection, unless the link was aborted meanwhile.
func (l *link) join(server net.Conn) bool {
	l.proxy.mu.Lock()
	defer l.proxy.mu.Unlock()
	l.server = server
	if !l.proxy.links[l] {
		_ = server.Close()
	}
	return l.proxy.links[l]
}

// end closes the link once the end of one side gets through to the other.
func (l *link) end(d direction) {
	if l.proxy.admit(l, d) {
		l.close()
	}
}

// speak forwards what the client says.
func (l *link) speak(client *bufio.Reader) error {
	speech := newSpeech()
	for {
		m, err := readMessage(client)
		if err != nil {
			return err
		}
		complete, asks := speech.hear(m)
		if !complete {
			continue
		}
		if asks {
			l.ask(speech.takenExecuted())
		}
		if err := l.forward(up, speech.taken()); err != nil {
			return err
		}
	}
}

// ask notes a request before the server has it, with what it executes.
func (l *link) ask(executed []string) {
	c := l.proxy.cutFor(executed)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if c != nil && l.cut == nil {
		l.cut, l.since = c, l.asked
	}
}

// listen forwards what the server says.
func (l *link) listen(server *bufio.Reader) error {
	var said []byte
	for {
		m, err := readMessage(server)
		if err != nil {
			return errors.Join(err, l.forward(down, said))
		}
		if m.kind == 'A' && l.proxy.swallows() {
			continue
		}
		heard, cut := l.hear(m)
		if cut {
			l.proxy.count(&l.proxy.stats.Cut)
			l.abort()
			return errGone
		}
		if said = append(said, heard...); server.Buffered() == 0 || len(said) > bufferSize {
			if err := l.forward(down, said); err != nil {
				return err
			}
			said = said[:0]
		}
	}
}

// hear answers what of the server's words the client is to hear now, or that the commit
// has come whose reply is to be lost.
func (l *link) hear(m message) (heard []byte, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	holds := l.cut != nil && l.answered+1 >= l.since
	if m.kind == 'Z' {
		l.answered++
		l.proxy.count(&l.proxy.stats.Transactions)
	}
	if !holds {
		return m.raw, false
	}
	l.held = append(l.held, m.raw...)
	switch tag, _ := text(m.body()); {
	case m.kind == 'E', m.kind == 'C' && tag == "ROLLBACK":
		l.undone = true
	case m.kind == 'Z' && tag == "I" && !l.undone:
		return nil, true
	case m.kind == 'Z':
		return l.release(tag == "I"), false
	}
	return nil, false
}

// release lets the client hear what was held: no commit is among it. Unless the transaction
// is over, its commit may still come.
func (l *link) release(over bool) []byte {
	held := l.held
	l.held = nil
	if over {
		l.proxy.again(l.cut)
		l.cut, l.undone = nil, false
	}
	return held
}

func (l *link) forward(d direction, said []byte) error {
	if len(said) == 0 {
		return nil
	}
	if pause := l.proxy.pause(); pause > 0 {
		time.Sleep(pause)
	}
	if !l.proxy.admit(l, d) {
		return errGone
	}
	to := l.server
	if d == down {
		to = l.client
	}
	allowed, dropped := l.proxy.spend(d, len(said))
	if _, err := to.Write(said[:allowed]); err != nil {
		return err
	}
	if dropped {
		l.abort()
		return errGone
	}
	return nil
}

// abort resets the client's connection. The server sees an end.
func (l *link) abort() {
	if l.leave() {
		abort(l.client)
	}
}

func (l *link) close() {
	if l.leave() {
		_ = l.client.Close()
	}
}

// leave takes the link out and closes the server's side, and says whether it was still there.
func (l *link) leave() bool {
	p := l.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.links[l] {
		return false
	}
	delete(p.links, l)
	if l.server != nil {
		_ = l.server.Close()
	}
	p.changed.Broadcast()
	return true
}
