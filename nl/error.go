package nl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

// Error is a netlink error: an errno and what an extended ack can add to it.
// errors.Is matches the errno and the cause.
type Error struct {
	// Code is the errno; 0 counts as EINVAL.
	Code syscall.Errno
	// Msg is the extended-ack text (NLMSGERR_ATTR_MSG), empty for none.
	Msg string
	// Offset is the place of the attribute to blame in the request, in bytes
	// from its nlmsghdr (NLMSGERR_ATTR_OFFS), 0 for none: see Attr.Offset.
	Offset uint32
	// MissType is the type of an attribute that is missing
	// (NLMSGERR_ATTR_MISS_TYPE), 0 for none.
	MissType uint32
	// MissNest is the place of the nest that misses it
	// (NLMSGERR_ATTR_MISS_NEST), 0 for the message itself.
	MissNest uint32
	// Policy is the policy that the attribute broke (NLMSGERR_ATTR_POLICY).
	Policy *AttrPolicy
	// Cookie is opaque data for the client (NLMSGERR_ATTR_COOKIE), at most 20
	// bytes in the kernel.
	Cookie []byte
	// Err is the cause, if there is one.
	Err error
}

// Error names the errno and the extended-ack text.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Errno().Error())
	if e.Msg != "" {
		fmt.Fprintf(&b, ": %s", e.Msg)
	}
	if e.Offset != 0 {
		fmt.Fprintf(&b, " (offset %d)", e.Offset)
	}
	if e.MissType != 0 {
		fmt.Fprintf(&b, " (missing attribute %d)", e.MissType)
	}
	return b.String()
}

// Errno returns the errno.
func (e *Error) Errno() syscall.Errno {
	if e.Code == 0 {
		return syscall.EINVAL
	}
	return e.Code
}

// Unwrap returns the errno and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Errno()}
	}
	return []error{e.Errno(), e.Err}
}

// Errorf returns an error with an errno and a text (NL_SET_ERR_MSG).
func Errorf(code syscall.Errno, format string, args ...any) *Error {
	return &Error{Code: code, Msg: fmt.Sprintf(format, args...)}
}

// BadAttr blames an attribute (NL_SET_ERR_MSG_ATTR). An empty text sends the
// offset alone.
func BadAttr(code syscall.Errno, a Attr, msg string) *Error {
	return &Error{Code: code, Msg: msg, Offset: a.Offset}
}

// Missing says that an attribute is not there: EINVAL without text, as
// GENL_REQ_ATTR_CHECK and NL_REQ_ATTR_CHECK do. nest is the offset of the nest
// it should be in, 0 for the message.
func Missing(t uint16, nest uint32) *Error {
	return &Error{Code: syscall.EINVAL, MissType: uint32(t), MissNest: nest}
}

// Blame returns err with the offset of a added, unless it has one. A face uses
// it to point at the attribute that made a setter of another package fail.
func Blame(err error, a Attr) error {
	if err == nil {
		return nil
	}
	e := toError(err)
	if e.Offset == 0 {
		e.Offset = a.Offset
	}
	return &e
}

type errnoer interface{ Errno() syscall.Errno }

// toError reduces any error of a handler to an Error. The package comment has
// the rules.
func toError(err error) Error {
	if own, ok := errors.AsType[*Error](err); ok {
		e := *own
		e.Code = e.Errno()
		return e
	}
	e := Error{Err: err}
	var withErrno errnoer
	var plain syscall.Errno
	known := true
	switch {
	case errors.As(err, &withErrno):
		e.Code = withErrno.Errno()
	case errors.As(err, &plain):
		e.Code = plain
	case errors.Is(err, fs.ErrPermission):
		e.Code = syscall.EPERM
	case errors.Is(err, fs.ErrNotExist):
		e.Code = syscall.ENOENT
	case errors.Is(err, fs.ErrExist):
		e.Code = syscall.EEXIST
	case errors.Is(err, context.DeadlineExceeded):
		e.Code = syscall.ETIMEDOUT
	case errors.Is(err, context.Canceled):
		e.Code = syscall.ECANCELED
	default:
		known = false
	}
	var text interface{ ExtAck() string }
	var full interface {
		ExtAck() (string, uint32, uint32)
	}
	switch {
	case errors.As(err, &full):
		e.Msg, e.Offset, e.MissType = full.ExtAck()
	case errors.As(err, &text):
		e.Msg = text.ExtAck()
	case !known:
		e.Msg = err.Error()
	}
	e.Code = e.Errno()
	return e
}
