package hrclock

import "time"

const (
	// maxLead bounds how long before a timer its owner is woken.
	maxLead = 50 * time.Microsecond
	// maxPoll bounds for how long the owner asks again and again instead of
	// sleeping, when it would oversleep.
	maxPoll = 20 * time.Microsecond
)

// lateness is how long after its time a descriptor is seen to be readable. An
// idle processor takes some time to wake up, in a virtual machine tens of
// microseconds.
type lateness struct {
	// lead is about the least of the last times, and so seldom too much.
	lead time.Duration
}

// observe takes over how late it was.
func (l *lateness) observe(late time.Duration) {
	late = min(late, maxLead)
	if late < l.lead {
		l.lead = late
		return
	}
	l.lead += (late - l.lead) / 8
}
