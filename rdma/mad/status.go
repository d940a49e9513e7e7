package mad

import (
	"errors"
	"fmt"
	"os"
)

// Status is the status field of the common header. The low byte is common to
// all classes (IBA 13.4.7), the high byte belongs to the class; the SA values
// are those of IBA 15.2.7.
type Status uint16

// Common status. Busy and Redirect are bits, the others are codes in bits
// 4-2.
const (
	StatusOK                    Status = 0
	StatusBusy                  Status = 0x0001
	StatusRedirect              Status = 0x0002
	StatusBadVersion            Status = 0x0004
	StatusMethodUnsupported     Status = 0x0008
	StatusMethodAttrUnsupported Status = 0x000c
	StatusInvalidField          Status = 0x001c
	statusCodeMask              Status = 0x001c
	statusClassMask             Status = 0xff00
	statusDirection             Status = 0x8000
)

// Status of the SA class.
const (
	SAStatusNoResources            Status = 0x0100
	SAStatusReqInvalid             Status = 0x0200
	SAStatusNoRecords              Status = 0x0300
	SAStatusTooManyRecords         Status = 0x0400
	SAStatusReqInvalidGID          Status = 0x0500
	SAStatusInsufficientComponents Status = 0x0600
	SAStatusReqDenied              Status = 0x0700
	SAStatusPrioritySuggested      Status = 0x0800
)

// Code returns the code in bits 4-2, in place.
func (s Status) Code() Status { return s & statusCodeMask }

// ClassStatus returns the class-specific byte, in place.
func (s Status) ClassStatus() Status { return s & statusClassMask }

var statusNames = map[Status]string{
	StatusOK: "OK", StatusBusy: "busy", StatusRedirect: "redirect required",
	StatusBadVersion: "bad version", StatusMethodUnsupported: "method not supported",
	StatusMethodAttrUnsupported: "method/attribute combination not supported",
	StatusInvalidField:          "invalid field value",
}

var saStatusNames = map[Status]string{
	SAStatusNoResources: "ERR_NO_RESOURCES", SAStatusReqInvalid: "ERR_REQ_INVALID",
	SAStatusNoRecords: "ERR_NO_RECORDS", SAStatusTooManyRecords: "ERR_TOO_MANY_RECORDS",
	SAStatusReqInvalidGID:          "ERR_REQ_INVALID_GID",
	SAStatusInsufficientComponents: "ERR_REQ_INSUFFICIENT_COMPONENTS",
	SAStatusReqDenied:              "ERR_REQ_DENIED",
	SAStatusPrioritySuggested:      "ERR_PRIORITY_SUGGESTED",
}

// String prints the number and, where there is one, the common name.
func (s Status) String() string { return s.Name(0) }

// Name prints the number and the name that it has in a class.
func (s Status) Name(c Class) string {
	n, ok := statusNames[s]
	if !ok && c == ClassSA {
		n, ok = saStatusNames[s]
	}
	if !ok {
		return fmt.Sprintf("0x%04x", uint16(s))
	}
	return fmt.Sprintf("0x%04x (%s)", uint16(s), n)
}

// Errors that a StatusError matches with errors.Is.
var (
	// ErrBusy: the responder could not answer now; ask again later.
	ErrBusy = errors.New("mad: responder is busy")
	// ErrUnsupported: the responder does not know the version, the method or
	// the attribute.
	ErrUnsupported = errors.New("mad: not supported by the responder")
	// ErrNoRecords: no record matches (SA).
	ErrNoRecords = errors.New("mad: no matching records")
	// ErrDenied: the SA refuses the request.
	ErrDenied = errors.New("mad: request denied")
	// ErrReqInvalid: the SA finds the request, a GID or a component wrong or
	// missing.
	ErrReqInvalid = errors.New("mad: invalid request")
)

// StatusError is the error of a transaction that was answered with a status
// other than 0.
type StatusError struct {
	Class  Class
	Method Method // of the request
	AttrID AttrID
	Status Status
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("mad: %v %v(%s): status %s", e.Class, e.Method, e.AttrID.Name(e.Class),
		e.Status.Name(e.Class))
}

// Is maps the status to ErrBusy, ErrUnsupported, ErrNoRecords, ErrDenied and
// ErrReqInvalid.
func (e *StatusError) Is(target error) bool {
	sa := func(l ...Status) bool {
		if e.Class != ClassSA {
			return false
		}
		for _, s := range l {
			if e.Status.ClassStatus() == s {
				return true
			}
		}
		return false
	}
	switch target {
	case ErrBusy:
		return e.Status&StatusBusy != 0 || sa(SAStatusNoResources)
	case ErrUnsupported:
		c := e.Status.Code()
		return c == StatusBadVersion || c == StatusMethodUnsupported || c == StatusMethodAttrUnsupported
	case ErrNoRecords:
		return sa(SAStatusNoRecords)
	case ErrDenied:
		return sa(SAStatusReqDenied)
	case ErrReqInvalid:
		return e.Status.Code() == StatusInvalidField ||
			sa(SAStatusReqInvalid, SAStatusReqInvalidGID, SAStatusInsufficientComponents)
	}
	return false
}

// StatusErrorOf returns the error of a response: nil when its status is 0. Of
// a directed-route SMP the direction bit does not count.
func StatusErrorOf(resp *MAD, method Method) error {
	s := resp.Status()
	if resp.Class() == ClassSMDirected {
		s = resp.SMPStatus()
	}
	if s == StatusOK {
		return nil
	}
	return &StatusError{Class: resp.Class(), Method: method, AttrID: resp.AttrID(), Status: s}
}

// ErrTimeout is matched by the error of a transaction that was not answered,
// and by that of an RMPP transfer that fell silent. It matches
// os.ErrDeadlineExceeded.
var ErrTimeout error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string { return "mad: no response" }

// Is makes ErrTimeout match os.ErrDeadlineExceeded.
func (timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// Timeout makes it a net.Error-like timeout.
func (timeoutError) Timeout() bool { return true }
