package pgproxy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"time"
)

// Command is an order, and a line of JSON on the control socket. The answer is one, too: {"ok": true},
// {"error": "..."}, or the figures.
//
//	{"do":"pass"}                     ends all that was ordered before
//	{"do":"delay","ms":N}             before anything is forwarded, either way
//	{"do":"blackhole"}                nothing gets through, either way; what was said meanwhile does so after pass
//	{"do":"half_open"}                what clients say gets through, and nothing back
//	{"do":"refuse"}                   new connections are reset
//	{"do":"reset"}                    all connections are reset, at once
//	{"do":"drop_after","bytes":N}     after N more bytes, whichever connection has the last is reset
//	{"do":"swallow_notifications"}    NotificationResponse is taken out
//	{"do":"cut_commit","match":"workflows:finish","nth":N}
//	                                  the reply of the nth commit of a transaction that executes such a statement is
//	                                  lost, and the client's connection with it; what fails does not count as one
//	{"do":"stats"}
type Command struct {
	Do    string `json:"do"`
	MS    int64  `json:"ms"`
	Bytes int64  `json:"bytes"`
	Match string `json:"match"`
	Nth   int    `json:"nth"`
}

// Control takes commands until the listener is closed.
func (p *Proxy) Control(commands net.Listener) {
	for {
		conn, err := commands.Accept()
		if err != nil {
			return
		}
		go p.obey(conn)
	}
}

func (p *Proxy) obey(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	answers := json.NewEncoder(conn)
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if err := answers.Encode(p.answer(lines.Bytes())); err != nil {
			return
		}
	}
}

func (p *Proxy) answer(line []byte) any {
	var c Command
	err := json.Unmarshal(line, &c)
	if err == nil && c.Do == "stats" {
		return p.Stats()
	}
	if err == nil {
		err = p.Do(c)
	}
	if err != nil {
		return map[string]string{"error": err.Error()}
	}
	return map[string]bool{"ok": true}
}

// Do carries out an order. Nth 0 is the first.
func (p *Proxy) Do(c Command) error {
	switch c.Do {
	case "pass":
		p.pass()
	case "delay":
		p.change(func() { p.delay = time.Duration(c.MS) * time.Millisecond })
	case string(blackhole), string(halfOpen), string(refusing):
		p.change(func() { p.mode = mode(c.Do) })
	case "reset":
		p.reset()
	case "drop_after":
		p.change(func() { p.budget = c.Bytes })
	case "swallow_notifications":
		p.change(func() { p.swallow = true })
	case "cut_commit":
		if c.Match == "" {
			return fmt.Errorf("cut_commit needs a match")
		}
		p.change(func() { p.cuts = append(p.cuts, &cut{c.Match, max(c.Nth, 1)}) })
	default:
		return fmt.Errorf("there is no command %q", c.Do)
	}
	return nil
}
