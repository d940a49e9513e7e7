package rdma

import (
	"errors"
	"fmt"
)

// Errors that callers test with errors.Is.
var (
	// ErrNotSupported is matched by every *NotSupportedError.
	ErrNotSupported = errors.New("not supported by the provider")
	// ErrClosed is returned by operations on a closed object.
	ErrClosed = errors.New("object is closed")
	// ErrQueueFull is returned when a send or receive queue has no room.
	ErrQueueFull = errors.New("queue is full")
	// ErrState is returned when a queue pair is not in a state that allows
	// the operation.
	ErrState = errors.New("queue pair is in the wrong state")
	// ErrInvalid is returned for an argument outside its range.
	ErrInvalid = errors.New("invalid argument")
	// ErrInUse is returned when a number or a class is taken already.
	ErrInUse = errors.New("already in use")
	// ErrNotFound is returned for an index or a key that is not there.
	ErrNotFound = errors.New("not found")
)

// NotSupportedError says which capability a provider does not have.
type NotSupportedError struct {
	// What is the capability, such as "RC transport".
	What string
}

func (e *NotSupportedError) Error() string { return e.What + ": " + ErrNotSupported.Error() }

// Is makes every NotSupportedError match ErrNotSupported.
func (e *NotSupportedError) Is(target error) bool { return target == ErrNotSupported }

// OpError is the error of a verb: what was tried on which device and port.
type OpError struct {
	// Op is the verb, such as "create_qp" or "post_send".
	Op string
	// Device is the device name; it may be empty.
	Device string
	// Port is the port number from 1, or 0 where the verb has none.
	Port int
	// Err is the cause.
	Err error
}

func (e *OpError) Error() string {
	switch {
	case e.Device == "":
		return fmt.Sprintf("rdma: %s: %v", e.Op, e.Err)
	case e.Port == 0:
		return fmt.Sprintf("rdma: %s on %s: %v", e.Op, e.Device, e.Err)
	}
	return fmt.Sprintf("rdma: %s on %s port %d: %v", e.Op, e.Device, e.Port, e.Err)
}

func (e *OpError) Unwrap() error { return e.Err }
