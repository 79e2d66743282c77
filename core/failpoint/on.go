//go:build failpoints

package failpoint

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Enabled says whether this build has any points. Code that only serves them stands behind it.
const Enabled = true

const rulesEnv = "WORKFLOWS_FAILPOINTS"

// errCut is what a lost connection looks like to its user.
var errCut = errors.New("failpoint: the connection was lost")

// rule is one of WORKFLOWS_FAILPOINTS.
type rule struct {
	where, name string
	whole       bool // the name is all of it
	nth         int  // 0 is each time
	what        func(point string) error

	seen int
}

var (
	mu     sync.Mutex
	passed = map[string]bool{}
	rules  []*rule
)

// A rule that cannot be read would be a test that tests nothing.
func init() {
	var err error
	if rules, err = parse(os.Getenv(rulesEnv)); err != nil {
		fmt.Fprintln(os.Stderr, rulesEnv+":", err)
		os.Exit(2)
	}
}

// Hit is a point where something can go wrong. An error stands for a lost connection.
func Hit(where, name string) error {
	point := where + ":" + name
	var due []*rule
	mu.Lock()
	passed[point] = true
	for _, r := range rules {
		if r.matches(where, name) {
			if r.seen++; r.nth == 0 || r.nth == r.seen {
				due = append(due, r)
			}
		}
	}
	mu.Unlock()
	for _, r := range due {
		if err := r.what(point); err != nil {
			return err
		}
	}
	return nil
}

// Pass is a point that has no way to fail but a panic.
func Pass(kind, name string) {
	_ = Hit(Before, kind+"_"+strings.ReplaceAll(name, " ", "_"))
}

// Passed lists the points that were passed so far, as "before:claim".
func Passed() []string {
	mu.Lock()
	defer mu.Unlock()
	return slices.Sorted(maps.Keys(passed))
}

func (r *rule) matches(where, name string) bool {
	return r.where == where && (name == r.name || !r.whole && strings.HasPrefix(name, r.name))
}

func parse(text string) (rules []*rule, err error) {
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		fields := strings.SplitN(part, ":", 4)
		if len(fields) != 4 || fields[1] == "" || (fields[0] != Before && fields[0] != After) {
			return nil, fmt.Errorf("%q is not before|after:name:nth:what", part)
		}
		r := &rule{where: fields[0], name: strings.TrimPrefix(fields[1], "="), whole: fields[1][0] == '='}
		if fields[2] != "*" {
			if r.nth, err = strconv.Atoi(fields[2]); err != nil || r.nth < 1 {
				return nil, fmt.Errorf("%q: nth is %q and must be 1 or more, or *", part, fields[2])
			}
		}
		if r.what, err = action(fields[3]); err != nil {
			return nil, fmt.Errorf("%q: %w", part, err)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func action(text string) (func(point string) error, error) {
	switch text {
	case "kill":
		return func(string) error {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it has come
		}, nil
	case "panic":
		return func(point string) error { panic("failpoint " + point) }, nil
	case "error":
		return func(string) error { return errCut }, nil
	}
	duration, found := strings.CutPrefix(text, "hang=")
	pause, err := time.ParseDuration(duration)
	if !found || err != nil {
		return nil, fmt.Errorf("what is %q and must be kill, panic, error or hang=DURATION", text)
	}
	return func(string) error { time.Sleep(pause); return nil }, nil
}
