package hrclock

import (
	"testing"
	"time"
)

func TestLateness(t *testing.T) {
	const us = time.Microsecond
	var l lateness
	if l.observe(8 * us); l.lead != 1*us {
		t.Errorf("%v after one", l.lead)
	}
	for range 60 {
		l.observe(40 * us)
	}
	if l.lead < 39*us || l.lead > 40*us {
		t.Errorf("%v after many of 40 µs", l.lead)
	}
	for range 60 {
		l.observe(time.Second)
	}
	if l.lead > maxLead {
		t.Errorf("%v after long ones", l.lead)
	}
	// One that is less late counts at once, or the next might be early.
	if l.observe(3 * us); l.lead != 3*us {
		t.Errorf("%v after a short one", l.lead)
	}
}
