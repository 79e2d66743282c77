//go:build failpoints

package engine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"github.com/libworkflows/libworkflows/core/failpoint"
	"github.com/libworkflows/libworkflows/core/internal/pgtest"
	"github.com/libworkflows/libworkflows/core/model"
	"github.com/libworkflows/libworkflows/core/store"
)

// These tests kill a process at each commit boundary there is, and let another go on. The
// process that dies is this test's own program, told by its environment what to run.
const (
	playEnv   = "LIBWORKFLOWS_TEST_PLAY"
	urlEnv    = "LIBWORKFLOWS_TEST_URL"
	schemaEnv = "LIBWORKFLOWS_TEST_SCHEMA"
	rulesEnv  = "WORKFLOWS_FAILPOINTS"
	// timesEnv is how many times each point is passed before one of them kills: 1 for the
	// first alone, 3 for the first, the second and the third.
	timesEnv = "LIBWORKFLOWS_TEST_TIMES"
)

// notPassed are statements that write nothing, or that only a pooler brings about.
var notPassed = []string{
	"begin", "settings", "commit",
	"server_stats", "list", "list_attention", "list_children", "list_workers", "history", "stats", "status",
	"migrate_begin", "migrate_file", "migrate_commit", // see TestADeathInAMigrationLeavesItToTheNext
}

func TestADeathAtAnyCommitBoundaryLosesAndDoublesNothing(t *testing.T) {
	points := pointsPassed(t)
	for _, name := range store.Points() {
		passed := slices.Contains(points, "before:"+name) && slices.Contains(points, "after:"+name)
		if !passed && !slices.Contains(notPassed, name) {
			t.Errorf("the story does not pass %s", name)
		}
	}
	times := 1
	if text := os.Getenv(timesEnv); text != "" {
		if _, err := fmt.Sscan(text, &times); err != nil {
			t.Fatal(err)
		}
	}
	for _, point := range points {
		where, name, _ := strings.Cut(point, ":")
		for nth := 1; nth <= times; nth++ {
			t.Run(fmt.Sprintf("%s %s %d", where, name, nth), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				newStory(w).wreck()
				if died := w.play("story", fmt.Sprintf("%s:=%s:%d:kill", where, name, nth)); !died && nth == 1 {
					t.Error("the point was not passed")
				}
				s := newStory(w)
				s.live()
				s.check()
			})
		}
	}
}

// pointsPassed are those of one undisturbed life.
func pointsPassed(t *testing.T) (points []string) {
	w := newWorld(t)
	newStory(w).wreck()
	out, err := w.program("story", "").Output()
	if err != nil {
		t.Fatalf("the story, undisturbed: %v\n%s", err, out)
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if point, found := strings.CutPrefix(lines.Text(), "passed "); found && !strings.Contains(point, ":loop_") {
			points = append(points, point)
		}
	}
	newStory(w).check()
	return points
}

// flushed are what a flush writes; see store.Flush.
var flushed = []string{
	"create", "create_timed", "create_held", "create_held_timed", "create_early", "winners", "lock", "signal", "progress",
	"release", "plain", "plain_schedule", "plain_child", "advance_plain", "advance_timers", "advance_children", "advance_held",
	"mark_cancel", "end", "continue", "finish", "finish_roots", "news",
}

func TestAPanicInAWriteIsNobodysEnd(t *testing.T) {
	for _, name := range flushed {
		for _, where := range []string{failpoint.Before, failpoint.After} {
			t.Run(where+" "+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				newStory(w).wreck()
				if w.play("story", fmt.Sprintf("%s:=%s:1:panic", where, name)) {
					t.Fatal("it was killed")
				}
				newStory(w).check()
			})
		}
	}
}

func TestADeathInAMigrationLeavesItToTheNext(t *testing.T) {
	for _, point := range []string{"migrate_begin", "migrate_file", "migrate_commit"} {
		for _, where := range []string{failpoint.Before, failpoint.After} {
			for nth := 1; nth == 1 || point == "migrate_file" && nth <= model.SchemaVersion; nth++ {
				t.Run(fmt.Sprintf("%s %s %d", where, point, nth), func(t *testing.T) {
					t.Parallel()
					url, schema := pgtest.Schema(t)
					w := openWorld(t, url, url, "", schema) // the owner's, who may migrate
					if _, err := w.Migrate(w.ctx, model.MigrateRequest{Direction: "down", Confirm: w.schema}); err != nil {
						t.Fatal(err)
					}
					if !w.play("migrate", fmt.Sprintf("%s:=%s:%d:kill", where, point, nth)) {
						t.Fatal("the point was not passed")
					}
					next := w.another(model.Config{})
					if reply, err := next.Migrate(w.ctx, model.MigrateRequest{}); err != nil || reply.Version != model.SchemaVersion {
						t.Fatalf("%s, %v", asText(reply), err)
					}
					w.createOne(model.Job, "j")
				})
			}
		}
	}
}

// program is this test's own, playing a part in the world's schema.
func (w *world) program(play, rules string) *exec.Cmd {
	cmd := exec.CommandContext(w.ctx, os.Args[0], "-test.run=^TestPlay$")
	cmd.Env = append(os.Environ(), playEnv+"="+play, urlEnv+"="+w.url, schemaEnv+"="+w.schema, rulesEnv+"="+rules)
	return cmd
}

// play runs a program, and says whether it was killed, which it logs for docs/reliability.md.
// To fail it may not.
func (w *world) play(play, rules string) (killed bool) {
	w.Helper()
	out, err := w.program(play, rules).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL && w.ctx.Err() == nil {
		w.Logf("a death at %s", rules)
		return true
	}
	if err != nil {
		w.Fatalf("the program that was to die: %v\n%s", err, out)
	}
	return false
}

// TestPlay is what program runs.
func TestPlay(t *testing.T) {
	play := os.Getenv(playEnv)
	if play == "" {
		t.Skip("this is for the tests above")
	}
	w := openWorld(t, os.Getenv(urlEnv), os.Getenv(urlEnv), "", os.Getenv(schemaEnv))
	if play == "migrate" {
		return // that is how a world begins
	}
	newStory(w).live()
	for _, point := range failpoint.Passed() {
		fmt.Println("passed", point)
	}
}

// named makes the same id of a name in each process of a story.
func (w *world) named(name string) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(w.schema+" "+name))
}
