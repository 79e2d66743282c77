package engine

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// Anybody who may connect to the database may send a notification.
func FuzzHints(f *testing.F) {
	f.Add(hint{From: uuid.New(), Queues: []string{"q"}, Workers: []uuid.UUID{uuid.New()}, Ended: []uuid.UUID{uuid.New()}, SoonMS: 5}.text())
	f.Add(`{"from":1}`)
	f.Add(`{"queues":["` + strings.Repeat("[", 100) + `"],"soon_ms":-9223372036854775808}`)
	f.Add(`null`)
	f.Add("\xff")
	e := &Engine{id: uuid.New(), workers: map[uuid.UUID]*worker{}}
	e.hints, e.waiters, e.ticker = newHints(e), newWaiters(e), newTicker(e)
	f.Fuzz(func(_ *testing.T, payload string) { e.hints.hear(payload) })
}

func FuzzErrors(f *testing.F) {
	for _, seed := range []string{
		`{"type":"E","message":"m","non_retryable":true,"sequence":3}`, `{"type":""}`, `{"type":"\u0000"}`, `{"type":"\ud800"}`, `{"type":5}`,
		`null`, `[]`, `{"type":"E","sequence":1e400}`, `{"type":"E","sequence":2147483648}`, `{"TYPE":"E"}`,
	} {
		f.Add([]byte(seed))
	}
	e := &Engine{settings: settings{maxPayload: 1000}}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if !json.Valid(payload) {
			return // it was refused with its request
		}
		var finish store.Finish
		if err := e.setError(fieldAt("error"), payload, &finish); err != nil {
			if code := fault.CodeOf(err); code != fault.InvalidPayload && code != fault.PayloadTooLarge {
				t.Errorf("%s: %v", payload, err)
			}
			return
		}
		if string(finish.Error) != string(payload) {
			t.Errorf("%s was kept as %s", payload, finish.Error)
		}
		if strings.ContainsRune(finish.ErrorType, 0) || !utf8.ValidString(finish.ErrorType) {
			t.Errorf("%s: PostgreSQL has no text %q", payload, finish.ErrorType)
		}
	})
}

func FuzzNames(f *testing.F) {
	for _, seed := range []string{"a", "", "a\x00", "%_'\";--", "\u202e\U0001f600", strings.Repeat("\u00e9", 128), "\ufffd", "\xff", "e\u0301"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		err := checkName(fieldAt("name"), name)
		if err == nil && (name == "" || len(name) > model.MaxNameBytes || strings.ContainsRune(name, 0) || !utf8.ValidString(name)) {
			t.Errorf("%q is a name", name)
		}
		if err != nil && (fault.CodeOf(err) != fault.InvalidRequest || len(err.Error()) > 300) {
			t.Errorf("%q: %v", name, err)
		}
	})
}

func FuzzRetryPolicies(f *testing.F) {
	for _, seed := range []string{`{"retries":3,"initial_ms":0,"factor":1,"max_ms":9,"jitter":1,"non_retryable":["E"]}`, `{"factor":1e308}`, `{"retries":-1}`, `{"jitter":-0.0}`, `{}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var policy model.RetryPolicy
		if json.Unmarshal(raw, &policy) != nil || checkRetry(fieldAt("retry"), &policy) != nil {
			return
		}
		for name, bad := range map[string]bool{
			"retries":    policy.Retries != nil && (*policy.Retries < 0 || *policy.Retries > maxRetries),
			"initial_ms": policy.InitialMS != nil && (*policy.InitialMS < 0 || *policy.InitialMS > maxDelayMS),
			"max_ms":     policy.MaxMS != nil && (*policy.MaxMS < 0 || *policy.MaxMS > maxDelayMS),
			"factor":     policy.Factor != nil && !(*policy.Factor >= 1 && *policy.Factor <= 1000),
			"jitter":     policy.Jitter != nil && !(*policy.Jitter >= 0 && *policy.Jitter <= 1),
		} {
			if bad {
				t.Errorf("%s: %s is accepted", raw, name)
			}
		}
	})
}
