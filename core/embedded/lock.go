package embedded

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// lockPoll is how often a lock that somebody else holds is tried again. A flock
// that blocks could not be given up when the context ends.
const lockPoll = 10 * time.Millisecond

// lock is a flock. It belongs to one opening of the file, not to the process, so
// several in one process exclude each other too. Go opens files close-on-exec:
// the server cannot inherit it.
type lock struct{ file *os.File }

func lockExclusive(ctx context.Context, path string) (*lock, error) {
	return acquire(ctx, path, syscall.LOCK_EX)
}

func lockShared(ctx context.Context, path string) (*lock, error) {
	return acquire(ctx, path, syscall.LOCK_SH)
}

func acquire(ctx context.Context, path string, how int) (*lock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if errors.Is(err, fs.ErrPermission) {
		return nil, misconfigured("the embedded PostgreSQL's lock file %s belongs to another user: run as the user who made it, or choose another directory", path)
	}
	if err != nil {
		return nil, unavailable("cannot open the embedded PostgreSQL's lock file (is its directory still there and writable?): %w", err)
	}
	l := &lock{file}
	for {
		err := l.try(how)
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			l.release()
			return nil, unavailable("cannot lock %s (embedded PostgreSQL needs a file system with flock): %w", path, err)
		}
		if err := pause(ctx, lockPoll); err != nil {
			l.release()
			return nil, unavailable("gave up waiting for %s, which another process holds while it starts or stops the embedded PostgreSQL: %w", path, err)
		}
	}
}

// tryExclusive turns a shared lock into an exclusive one if nobody else holds
// it. If somebody does, the shared one may be lost in the attempt.
func (l *lock) tryExclusive() bool { return l.try(syscall.LOCK_EX) == nil }

func (l *lock) try(how int) error {
	for {
		err := syscall.Flock(int(l.file.Fd()), how|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// release unlocks before it closes: a forked child of the host process may hold
// a copy of the descriptor, and closing ours would then leave the lock in place.
func (l *lock) release() {
	_ = l.try(syscall.LOCK_UN)
	_ = l.file.Close()
}

// pause waits a moment, and answers why if the context ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
