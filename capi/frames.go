package main

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
)

// frameHead is u64 token, u32 length, u16 operation, u16 zero.
const frameHead = 16

// frame is one request of a submission.
type frame struct {
	token     uint64
	operation uint16
	request   []byte
}

// parseFrames takes packed requests apart without copying them.
func parseFrames(packed []byte) ([]frame, error) {
	var frames []frame
	for len(packed) > 0 {
		if len(packed) < frameHead || len(frames) == maxWaiting {
			return nil, errMalformed
		}
		f := frame{token: binary.LittleEndian.Uint64(packed), operation: binary.LittleEndian.Uint16(packed[12:])}
		length := binary.LittleEndian.Uint32(packed[8:])
		zero := binary.LittleEndian.Uint16(packed[14:])
		packed = packed[frameHead:]
		if f.token >= maxToken || zero != 0 || uint64(length) > uint64(len(packed)) {
			return nil, errMalformed
		}
		f.request, packed = packed[:length:length], packed[length:]
		frames = append(frames, f)
	}
	return frames, nil
}

// own makes the frame's request the library's. What is too large is refused
// later by its length, for which it need not be copied.
func (f frame) own() frame {
	if len(f.request) <= maxRequest {
		f.request = bytes.Clone(f.request)
	}
	return f
}

// completion is a request's reply that waits to be drained.
type completion struct {
	token     uint64
	operation uint16
	reply     []byte
}

const (
	completionHead   = `{"token":`
	completionMiddle = `,"reply":`
)

// appendTo writes the completion as JSON. The reply goes in byte for byte.
func (c completion) appendTo(out []byte) []byte {
	out = append(out, completionHead...)
	out = strconv.AppendUint(out, c.token, 10)
	out = append(out, completionMiddle...)
	out = append(out, c.reply...)
	return append(out, '}')
}

// size is what appendTo adds, a comma included.
func (c completion) size() int {
	digits := 1
	for rest := c.token; rest >= 10; rest /= 10 {
		digits++
	}
	return len(completionHead) + digits + len(completionMiddle) + len(c.reply) + len("},")
}

// queue holds completions first in, first out.
type queue struct {
	items []completion
	head  int
}

func (q *queue) len() int { return len(q.items) - q.head }

func (q *queue) push(c completion) { q.items = append(q.items, c) }

// first answers the n oldest, which stay in the queue.
func (q *queue) first(n int) []completion { return q.items[q.head : q.head+n] }

// drop removes the n oldest.
func (q *queue) drop(n int) {
	clear(q.first(n)) // lets go of the replies
	q.head += n
	switch {
	case q.head == len(q.items):
		q.items, q.head = q.items[:0], 0
	case q.head >= 1024 && q.head >= len(q.items)/2:
		q.items, q.head = slices.Delete(q.items, 0, q.head), 0
	}
}
