package mad

import (
	"errors"
	"fmt"
	"time"
)

// Defaults of RMPPConfig.
const (
	// DefaultRMPPWindow is the kernel's: an eighth of its receive queue of
	// 512 (mad_rmpp.c window_size).
	DefaultRMPPWindow       = 64
	DefaultRMPPMaxBytes     = 16 << 20
	DefaultRMPPTimeout      = 300 * time.Millisecond
	DefaultRMPPRetries      = 7
	DefaultRMPPIdleTimeout  = 5 * time.Second
	DefaultRMPPTotalTimeout = 40 * time.Second // kernel start_rmpp
)

// RMPPConfig sets the limits of a transfer. A zero field is its default.
type RMPPConfig struct {
	// Window is how many segments the receiver lets the sender have under
	// way.
	Window uint32
	// MaxBytes bounds what a receiver puts together.
	MaxBytes int
	// Timeout is how long a sender waits for an ACK before it repeats, and
	// Retries how often it does so without progress.
	Timeout time.Duration
	Retries int
	// IdleTimeout is how long a receiver waits for a new segment,
	// TotalTimeout how long for the whole transfer.
	IdleTimeout  time.Duration
	TotalTimeout time.Duration
}

// WithDefaults returns the configuration with zero fields filled in.
func (c RMPPConfig) WithDefaults() RMPPConfig {
	if c.Window == 0 {
		c.Window = DefaultRMPPWindow
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultRMPPMaxBytes
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultRMPPTimeout
	}
	if c.Retries == 0 {
		c.Retries = DefaultRMPPRetries
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = DefaultRMPPIdleTimeout
	}
	if c.TotalTimeout == 0 {
		c.TotalTimeout = DefaultRMPPTotalTimeout
	}
	return c
}

// rmppSegmentLen is the PayloadLength of a full segment: SA header and data.
const rmppSegmentLen = SAHeaderLen + SADataLen

// RMPPError is the end of a transfer before its time.
type RMPPError struct {
	Status RMPPStatus
	// Remote: the other side ended it with STOP or ABORT.
	Remote bool
}

func (e *RMPPError) Error() string {
	if e.Remote {
		return fmt.Sprintf("mad: RMPP transfer ended by the peer: status %v", e.Status)
	}
	return fmt.Sprintf("mad: RMPP transfer aborted: status %v", e.Status)
}

// Is makes the errors that come of silence match ErrTimeout.
func (e *RMPPError) Is(target error) bool {
	return target == ErrTimeout && (e.Status == RMPPTotalTimeTooLong || e.Status == RMPPTooManyRetries)
}

// errRMPPDone is returned when a machine is used behind its end.
var errRMPPDone = errors.New("mad: RMPP transfer is over")
