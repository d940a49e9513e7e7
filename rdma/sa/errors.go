package sa

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// Causes that have no error of their own in other packages.
var (
	// ErrNoManager: the port does not know a subnet manager.
	ErrNoManager = errors.New("port has no subnet manager")
	// ErrMismatch: a local user asks for a membership that contradicts the
	// one that the port has.
	ErrMismatch = errors.New("parameters differ from those of the membership")
	// ErrReset: an event at the port ended all memberships.
	ErrReset = errors.New("membership was reset by a port event")
)

// Error is the error of a request to the SA.
type Error struct {
	// Op is what was asked for, such as "path query" or "join".
	Op string
	// GID is what it was asked for: a destination or an MGID.
	GID rdma.GID
	// Err is the cause.
	Err error
}

func (e *Error) Error() string {
	if e.GID.IsZero() {
		return fmt.Sprintf("sa: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("sa: %s %v: %v", e.Op, e.GID, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Errno returns the number that the kernel gives its clients, as a positive
// value (core/sa_query.c send_handler and the callbacks, core/multicast.c):
// ETIMEDOUT without an answer, EINVAL for one with a status other than 0 and
// for a contradicting join, EINTR when cancelled, EAGAIN without a subnet
// manager, ENETRESET for a membership that a port event ended, EIO when the
// request could not be sent.
func (e *Error) Errno() syscall.Errno {
	var status *mad.StatusError
	switch {
	case errors.Is(e.Err, mad.ErrTimeout), errors.Is(e.Err, context.DeadlineExceeded):
		return syscall.ETIMEDOUT
	case errors.As(e.Err, &status), errors.Is(e.Err, ErrMismatch), errors.Is(e.Err, rdma.ErrInvalid):
		return syscall.EINVAL
	case errors.Is(e.Err, context.Canceled), errors.Is(e.Err, rdma.ErrClosed):
		return syscall.EINTR
	case errors.Is(e.Err, ErrNoManager):
		return syscall.EAGAIN
	case errors.Is(e.Err, ErrReset):
		return syscall.ENETRESET
	}
	return syscall.EIO
}

// Is makes an *Error match its errno.
func (e *Error) Is(target error) bool {
	n, ok := target.(syscall.Errno)
	return ok && n == e.Errno()
}

func wrap(op string, gid rdma.GID, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, GID: gid, Err: err}
}
