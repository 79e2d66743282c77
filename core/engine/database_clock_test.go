package engine

import (
	"testing"
	"time"
)

func TestTheDatabasesTimeIsUnknownUntilItHasSaidIt(t *testing.T) {
	t.Parallel()
	var c databaseClock
	if at, known := c.now(); known {
		t.Errorf("it is %v", at)
	}
	c.hear(time.Now())
	c.heard = c.heard.Add(-clockAge - time.Second)
	if at, known := c.now(); known {
		t.Errorf("long after it is %v", at)
	}
}

func TestTheDatabasesTimeGoesOnFromWhatItSaid(t *testing.T) {
	t.Parallel()
	var c databaseClock
	said := time.Date(2026, 1, 2, 3, 4, 5, 6789, time.UTC) // PostgreSQL keeps microseconds
	c.hear(said)
	c.heard = c.heard.Add(-3 * time.Second)
	if at, known := c.now(); !known || at.Before(said.Add(3*time.Second).Truncate(time.Microsecond)) || at.After(said.Add(4*time.Second)) || at.Nanosecond()%1000 != 0 {
		t.Errorf("three seconds later it is %v, %v", at, known)
	}
}

// Two words of the database take differently long to get here.
func TestTheDatabasesTimeDoesNotGoBackByTheLatencyOfAnAnswer(t *testing.T) {
	t.Parallel()
	var c databaseClock
	said := time.Now()
	c.hear(said)
	before, _ := c.now()
	c.hear(said.Add(-300 * time.Millisecond))
	if after, _ := c.now(); after.Before(before) {
		t.Errorf("it went back from %v to %v", before, after)
	}
}

func TestTheDatabasesTimeGoesBackWhereItsClockWasSetBack(t *testing.T) {
	t.Parallel()
	var c databaseClock
	said := time.Now()
	c.hear(said)
	before, _ := c.now()
	c.hear(said.Add(-time.Minute))
	if after, _ := c.now(); after.After(before.Add(-59 * time.Second)) {
		t.Errorf("it went from %v to %v", before, after)
	}
}
