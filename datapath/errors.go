package datapath

import (
	"errors"
	"syscall"

	"ipoib/datapath/hostnet"
)

// Error is what a setter returns when it refuses a value: the errno of the
// kernel's driver and, where the kernel has one, the text of its extended
// ack. Faces map it to their own form and add no rule of their own.
type Error struct {
	// Num is the errno.
	Num syscall.Errno
	// Ext is the extended-ack text, or "".
	Ext string
	// Op and Name say what was tried on which interface, for logs.
	Op, Name string
	// Err is a cause from below, or nil.
	Err error
}

func (e *Error) Error() string {
	s := e.Op
	if e.Name != "" {
		s += " " + e.Name
	}
	if s != "" {
		s += ": "
	}
	switch {
	case e.Ext != "":
		return s + e.Ext
	case e.Err != nil:
		return s + e.Err.Error()
	}
	return s + e.Num.Error()
}

// Errno returns the errno.
func (e *Error) Errno() syscall.Errno { return e.Num }

// ExtAck returns the extended-ack text, or "".
func (e *Error) ExtAck() string { return e.Ext }

// Unwrap returns the errno and the cause.
func (e *Error) Unwrap() []error {
	if e.Err != nil {
		return []error{e.Num, e.Err}
	}
	return []error{e.Num}
}

func refuse(op, name string, errno syscall.Errno, ext string) *Error {
	return &Error{Op: op, Name: name, Num: errno, Ext: ext}
}

// system makes an Error of a failed operation on the host: the errno that the
// host gave, EIO when there is none.
func system(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	num := syscall.EIO
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		num = errno
	}
	ext := ""
	if host, ok := errors.AsType[*hostnet.OpError](err); ok {
		ext = host.ExtAck()
	}
	return &Error{Op: op, Name: name, Num: num, Ext: ext, Err: err}
}

// errGone is returned for an interface that was removed.
func errGone(op, name string) error { return refuse(op, name, syscall.ENODEV, "") }

// Errno returns the errno of any error of this package, EIO for others.
func Errno(err error) syscall.Errno {
	var e interface{ Errno() syscall.Errno }
	if errors.As(err, &e) {
		return e.Errno()
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return syscall.EIO
}
