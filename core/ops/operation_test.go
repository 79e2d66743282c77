package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"testing"

	"github.com/libworkflows/libworkflows/core/engine"
	"github.com/libworkflows/libworkflows/core/fault"
	"github.com/libworkflows/libworkflows/core/model"
)

func TestNumbersCountFromOneWithoutGaps(t *testing.T) {
	t.Parallel()
	for i, o := range Table() {
		if int(o.Number) != i+1 {
			t.Errorf("%s has number %d at place %d", o.Name, o.Number, i+1)
		}
	}
}

func TestNamesAreUniqueAndSpeltAlike(t *testing.T) {
	t.Parallel()
	verbNoun := regexp.MustCompile(`^[a-z]+(_[a-z]+)?$`)
	seen := map[string]bool{}
	for _, o := range Table() {
		if !verbNoun.MatchString(o.Name) {
			t.Errorf("%q is no verb_noun", o.Name)
		}
		if seen[o.Name] {
			t.Errorf("%q is there twice", o.Name)
		}
		seen[o.Name] = true
	}
}

func TestEveryOperationIsAMethodOfTheEngine(t *testing.T) {
	t.Parallel()
	e := reflect.TypeFor[*engine.Engine]()
	for _, o := range Table() {
		method, found := e.MethodByName(o.Method)
		if !found {
			t.Errorf("%s is not there: the engine has no method %s", o.Name, o.Method)
			continue
		}
		if method.Type.In(2) != o.Request || method.Type.Out(0) != o.Reply {
			t.Errorf("%s is bound to another method than %s", o.Name, o.Method)
		}
	}
}

func TestOperationsAreFoundByNumberAndByName(t *testing.T) {
	t.Parallel()
	for _, want := range Table() {
		byNumber, err := ByNumber(want.Number)
		if err != nil || byNumber.Name != want.Name {
			t.Errorf("ByNumber(%d) = %s, %v", want.Number, byNumber.Name, err)
		}
		byName, err := ByName(want.Name)
		if err != nil || byName.Number != want.Number {
			t.Errorf("ByName(%s) = %d, %v", want.Name, byName.Number, err)
		}
	}
}

func TestAnUnknownOperationIsATypedFault(t *testing.T) {
	t.Parallel()
	for _, number := range []uint16{0, uint16(len(Table()) + 1), 65535} {
		if _, err := ByNumber(number); fault.CodeOf(err) != fault.UnknownOperation {
			t.Errorf("ByNumber(%d) = %v", number, err)
		}
	}
	for _, name := range []string{"", "Migrate", "wf_migrate"} {
		if _, err := ByName(name); fault.CodeOf(err) != fault.UnknownOperation {
			t.Errorf("ByName(%q) = %v", name, err)
		}
	}
}

type claim = func(*engine.Engine, context.Context, model.ClaimRequest) (model.ClaimReply, error)

// call runs a claim that is method and answers the fault in the reply, or nil.
func call(t *testing.T, method claim, request string) (reply []byte, failed *fault.Error) {
	t.Helper()
	reply = bind(1, "claim", method).Call(context.Background(), nil, []byte(request))
	var envelope struct{ Error *fault.Error }
	if err := json.Unmarshal(reply, &envelope); err != nil {
		t.Fatalf("the reply %s: %v", reply, err)
	}
	return reply, envelope.Error
}

func TestAPanicBecomesAnInternalFault(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]any{"a string": "secret", "an error": errors.New("secret"), "nil": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reply, failed := call(t, func(*engine.Engine, context.Context, model.ClaimRequest) (model.ClaimReply, error) {
				panic(value)
			}, "{}")
			if failed == nil || failed.Code != fault.Internal {
				t.Fatalf("the reply is %s, want an internal fault", reply)
			}
			if regexp.MustCompile("secret").Match(reply) {
				t.Errorf("the reply %s repeats what the panic said", reply)
			}
		})
	}
}

func TestAFaultCrossesWithItsCodeAndDetails(t *testing.T) {
	t.Parallel()
	reply, failed := call(t, func(*engine.Engine, context.Context, model.ClaimRequest) (model.ClaimReply, error) {
		lost := fault.New(fault.Busy, fault.Details{"limit": 7}, "too <much>").Because(errors.New("postgres://user:secret@host"))
		return model.ClaimReply{}, fmt.Errorf("claim: %w", lost)
	}, "{}")
	want := `{"error":{"code":"busy","message":"too <much>","retryable":true,"details":{"limit":7}}}`
	if failed == nil || string(reply) != want {
		t.Errorf("the reply is %s, want %s", reply, want)
	}
}

func TestAnErrorThatIsNoFaultDoesNotLeave(t *testing.T) {
	t.Parallel()
	reply, failed := call(t, func(*engine.Engine, context.Context, model.ClaimRequest) (model.ClaimReply, error) {
		return model.ClaimReply{}, errors.New("postgres://user:secret@host")
	}, "{}")
	if failed == nil || failed.Code != fault.Internal || regexp.MustCompile("secret").Match(reply) {
		t.Errorf("the reply is %s, want an internal fault that says nothing of the cause", reply)
	}
}

func TestARequestThatIsRefusedDoesNotReachTheMethod(t *testing.T) {
	t.Parallel()
	reply, failed := call(t, func(*engine.Engine, context.Context, model.ClaimRequest) (model.ClaimReply, error) {
		t.Error("the method was called")
		return model.ClaimReply{}, nil
	}, `{"m":1}`)
	if failed == nil || failed.Code != fault.InvalidRequest {
		t.Errorf("the reply is %s, want invalid_request", reply)
	}
}

func TestAListThatIsAlwaysThereIsNeverNull(t *testing.T) {
	t.Parallel()
	reply, _ := call(t, func(*engine.Engine, context.Context, model.ClaimRequest) (model.ClaimReply, error) {
		return model.ClaimReply{}, nil
	}, "{}")
	if got, want := string(reply), `{"ok":{"executions":[]}}`; got != want {
		t.Errorf("the reply is %s, want %s", got, want)
	}
}

func TestAReplyThatCannotBeEncodedIsAnInternalFault(t *testing.T) {
	t.Parallel()
	reply, failed := call(t, func(*engine.Engine, context.Context, model.ClaimRequest) (model.ClaimReply, error) {
		return model.ClaimReply{Executions: []model.Claimed{{Args: model.Payload("{")}}}, nil
	}, "{}")
	if failed == nil || failed.Code != fault.Internal {
		t.Errorf("the reply is %s, want an internal fault", reply)
	}
}

func TestTheDigestFollowsTheTypes(t *testing.T) {
	t.Parallel()
	type before struct {
		A int `json:"a"`
	}
	type renamed struct {
		A int `json:"b"`
	}
	type optional struct {
		A int `json:"a,omitempty"`
	}
	type nullable struct {
		A *int `json:"a"`
	}
	type listed struct {
		A []before `json:"a"`
	}
	type recursive struct {
		A []recursive `json:"a"`
	}
	seen := map[string]string{}
	for _, shaped := range []reflect.Type{
		reflect.TypeFor[before](), reflect.TypeFor[renamed](), reflect.TypeFor[optional](),
		reflect.TypeFor[nullable](), reflect.TypeFor[listed](), reflect.TypeFor[recursive](),
	} {
		s := shape(shaped, nil)
		if other, taken := seen[s]; taken {
			t.Errorf("%s and %s have the same shape %s", shaped.Name(), other, s)
		}
		seen[s] = shaped.Name()
	}
	if first, second := Digest(), Digest(); first != second || len(first) != 16 {
		t.Errorf("the digest is %q and then %q", first, second)
	}
}
