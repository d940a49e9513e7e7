//go:build !linux

package hrclock

import "github.com/jonboulle/clockwork"

// Clock is the real clock.
type Clock struct{ clockwork.Clock }

// New returns the real clock, with the runtime's timers.
func New() (*Clock, error) { return &Clock{clockwork.NewRealClock()}, nil }

// Descriptor returns that there is none to wait for.
func (*Clock) Descriptor() int { return -1 }

// Expire does nothing.
func (*Clock) Expire() {}

// Close does nothing.
func (*Clock) Close() error { return nil }
