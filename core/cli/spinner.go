package cli

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

var frames = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

const frameTime = 100 * time.Millisecond

// spinner shows on a terminal's stderr that the command is alive. Off a terminal it does nothing.
type spinner struct {
	mu      sync.Mutex
	message string
	done    chan struct{}
	stopped sync.WaitGroup
}

func (a *app) spinner(message string) *spinner {
	s := &spinner{message: message, done: make(chan struct{})}
	columns, terminal := a.terminalWidth(a.stderr)
	if !terminal || a.json {
		return s
	}
	began := a.now()
	s.stopped.Add(1)
	go func() {
		defer s.stopped.Done()
		defer func() {
			if r := recover(); r != nil {
				slog.Error("the spinner panicked", "panic", r)
			}
		}()
		s.turn(func(frame rune) {
			line := fmt.Sprintf("%c %s, %s", frame, s.read(), span(a.now().Sub(began)))
			fmt.Fprintf(a.stderr, "\r\x1b[K%s", shorten(line, columns-1))
		})
		fmt.Fprint(a.stderr, "\r\x1b[K")
	}()
	return s
}

func (s *spinner) turn(draw func(frame rune)) {
	ticker := time.NewTicker(frameTime)
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-s.done:
			return
		case <-ticker.C:
			draw(frames[i%len(frames)])
		}
	}
}

func (s *spinner) read() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.message
}

func (s *spinner) say(message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.message = message
}

// stop clears the line. Nothing is drawn after it returns.
func (s *spinner) stop() {
	close(s.done)
	s.stopped.Wait()
}
