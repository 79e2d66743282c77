package pgproxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// What a client may say before its first message with a kind.
const (
	cancelRequest = 80877102
	sslRequest    = 80877103
	gssRequest    = 80877104
)

const maxMessage = 1 << 30

// message is one of PostgreSQL's: a kind, a length that counts itself, and the rest.
type message struct {
	kind byte
	raw  []byte // all of it
}

func (m message) body() []byte { return m.raw[5:] }

func readMessage(from *bufio.Reader) (message, error) {
	kind, err := from.ReadByte()
	if err != nil {
		return message{}, err
	}
	rest, err := readSized(from)
	return message{kind, append([]byte{kind}, rest...)}, err
}

// readStartup reads a message without a kind, and what it asks for.
func readStartup(from *bufio.Reader) (raw []byte, code uint32, err error) {
	raw, err = readSized(from)
	if err == nil && len(raw) < 8 {
		err = fmt.Errorf("a startup message of %d bytes", len(raw))
	}
	if err != nil {
		return nil, 0, err
	}
	return raw, binary.BigEndian.Uint32(raw[4:]), nil
}

func readSized(from *bufio.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 4 || size > maxMessage {
		return nil, fmt.Errorf("a message says it has %d bytes", size)
	}
	raw := make([]byte, size)
	copy(raw, head[:])
	_, err := io.ReadFull(from, raw[4:])
	return raw, err
}

// text reads a string that ends in NUL.
func text(from []byte) (text string, rest []byte) {
	before, rest, _ := bytes.Cut(from, []byte{0})
	return string(before), rest
}

// speech gathers what a client says until the server is to have it, and remembers what the
// names of statements and portals stand for.
type speech struct {
	statements, portals map[string]string

	said     []byte
	executed []string // the texts of statements
}

func newSpeech() *speech {
	return &speech{statements: map[string]string{}, portals: map[string]string{}}
}

// hear takes a message. The server is to have what was gathered once it must act on it,
// and is then asked for an answer that ends in ReadyForQuery, or for none.
func (s *speech) hear(m message) (complete, asks bool) {
	s.said = append(s.said, m.raw...)
	switch m.kind {
	case 'P': // Parse
		name, rest := text(m.body())
		s.statements[name], _ = text(rest)
	case 'B': // Bind
		portal, rest := text(m.body())
		name, _ := text(rest)
		s.portals[portal] = s.statements[name]
	case 'E': // Execute
		portal, _ := text(m.body())
		s.executed = append(s.executed, s.portals[portal])
	case 'D', 'C': // Describe, Close
	case 'Q': // Query
		query, _ := text(m.body())
		s.executed = append(s.executed, query)
		return true, true
	case 'S', 'F': // Sync, FunctionCall
		return true, true
	default: // Flush, a password, a row of COPY, Terminate
		return true, false
	}
	return false, false
}

// taken answers what was gathered, and begins anew.
func (s *speech) taken() []byte {
	said := s.said
	s.said = nil
	return said
}

func (s *speech) takenExecuted() []string {
	executed := s.executed
	s.executed = nil
	return executed
}
