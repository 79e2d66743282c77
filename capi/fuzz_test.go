package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/ops"
)

// unpacked is what a submission means: the parser in frames.c once more, without its arithmetic.
func unpacked(packed []byte) (frames []frame, ok bool) {
	seen := map[uint64]bool{}
	for len(packed) > 0 {
		if len(packed) < 16 {
			return nil, false
		}
		head, rest := packed[:16], packed[16:]
		token, length := binary.LittleEndian.Uint64(head), uint64(binary.LittleEndian.Uint32(head[8:]))
		if token >= maxToken || head[14] != 0 || head[15] != 0 || length > uint64(len(rest)) || seen[token] {
			return nil, false
		}
		seen[token] = true
		frames = append(frames, frame{token, binary.LittleEndian.Uint16(head[12:]), rest[:length]})
		packed = rest[length:]
	}
	return frames, true
}

func FuzzPackedRequests(f *testing.F) {
	good := pack(frame{1, 5, []byte("{}")}, frame{maxToken - 1, 65535, nil}, frame{0, 0, []byte("x")})
	f.Add([]byte{})
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(append(slices.Clone(good), 0))
	f.Add(pack(frame{1, 5, nil}, frame{1, 5, nil}))
	f.Add(pack(frame{maxToken, 5, nil}))
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, packed []byte) {
		box, err := newMailbox(limits{maxWaiting, maxWaitingBytes})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { box.drop(); box.deafen() }()
		want, ok := unpacked(packed)
		if err := box.submit(packed); (err == nil) != ok || err != nil && !errors.Is(err, errMalformed) {
			t.Fatalf("%x: %v, but well-formed: %v", packed, err, ok)
		}
		got := box.take()
		if len(got) != len(want) {
			t.Fatalf("%x: %d of %d requests", packed, len(got), len(want))
		}
		for i, n := range got {
			if n.cancel || n.refused > 0 || n.token != want[i].token || n.operation != want[i].operation || !bytes.Equal(n.request, want[i].request) {
				t.Errorf("%x: %v in place of %v", packed, n, want[i])
			}
		}
	})
}

func FuzzConfigurations(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "null", "[]", `{"schema":5}`, `{"schema":"a"} {}`, `{"shema":"a"}`, "{\"schema\":\"\xff\"}", `{"pool_size":1e400}`,
		`{"database_url":"postgres://u:p@h/d","migrate":true,"postgres_binaries":["/usr"],"pool_size":3,"max_history":100}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		config, err := decodeConfig(raw)
		if err == nil {
			if !utf8.Valid(raw) {
				t.Errorf("%q was taken", raw)
			}
			if _, err := engineKey(config); err != nil {
				t.Errorf("%q has no key: %v", raw, err)
			}
			return
		}
		reply := ops.Failure(err)
		if fault.CodeOf(err) != fault.InvalidConfig || !json.Valid(reply) || len(reply) > 4096 {
			t.Errorf("%q: %.200s", raw, reply)
		}
	})
}

// A configuration may hold a password anywhere.
func FuzzConfigurationsAreNotRepeated(f *testing.F) {
	f.Add(`{"database_url":`, `}`)
	f.Add(`{"schema":[`, `]}`)
	f.Add(`{"postgres_binaries":`, ``)
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "hunter2hunter2"
		_, err := decodeConfig([]byte(before + `"` + secret + `"` + after))
		if err != nil && strings.Contains(err.Error(), secret) && !strings.Contains(err.Error(), `unknown field`) {
			t.Errorf("%q and %q: %v", before, after, err)
		}
	})
}
