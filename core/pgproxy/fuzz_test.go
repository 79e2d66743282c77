package pgproxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"testing"
)

// said is a message as a client sends it.
func said(kind byte, body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body))), body...)
}

func FuzzWhatAClientSays(f *testing.F) {
	f.Add(bytes.Join([][]byte{said('P', "s\x00SELECT 1\x00\x00\x00"), said('B', "p\x00s\x00"), said('E', "p\x00\x00\x00\x00\x00"), said('S', "")}, nil))
	f.Add(said('Q', "SELECT 1\x00"))
	f.Add(append(said('P', "no end"), said('E', "")...))
	f.Add([]byte("Q\x00\x00\x00\x03"))
	f.Add([]byte("Q\x00\x00\x00\x09a"))
	f.Fuzz(func(t *testing.T, all []byte) {
		s, from := newSpeech(), bufio.NewReader(bytes.NewReader(all))
		var passed []byte
		whole, messages := 0, 0
		for {
			if head, err := from.Peek(5); err == nil && binary.BigEndian.Uint32(head[1:]) > 1<<16 {
				return // it would be waited for, with as much memory
			}
			m, err := readMessage(from)
			if err != nil {
				break
			}
			whole, messages = whole+len(m.raw), messages+1
			if complete, _ := s.hear(m); complete {
				passed = append(passed, s.taken()...)
			}
		}
		if len(s.takenExecuted()) > messages {
			t.Error("more was executed than was said")
		}
		if passed = append(passed, s.taken()...); !bytes.Equal(all[:whole], passed) {
			t.Fatalf("%q was passed on as %q", all, passed)
		}
	})
}
