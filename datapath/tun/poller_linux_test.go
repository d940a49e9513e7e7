package tun

import (
	"errors"
	"testing"

	"ipoib/rdma"
)

// Devices are spread over the threads, also after some have gone.
func TestPollerSpread(t *testing.T) {
	const threads, each = 3, 4
	p, err := NewPoller(threads)
	if err != nil {
		t.Fatal(err)
	}
	check := func(want int) {
		t.Helper()
		for i, th := range p.threads {
			if th.devices != want {
				t.Errorf("thread %d has %d devices, want %d", i, th.devices, want)
			}
		}
	}
	var all []*polled
	enter := func() {
		t.Helper()
		e := new(polled)
		if err := p.enter(e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	for range threads * each {
		enter()
	}
	check(each)
	gone := p.threads[1]
	for _, e := range all {
		if e.thread == gone {
			p.forget(e, -1)
			p.forget(e, -1) // by the thread and by Close
		}
	}
	if gone.devices != 0 || len(p.devices) != (threads-1)*each {
		t.Errorf("%d devices are left, %d at the thread", len(p.devices), gone.devices)
	}
	for range each {
		enter()
	}
	check(each)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.enter(new(polled)); !errors.Is(err, rdma.ErrClosed) {
		t.Errorf("enter returned %v after Close", err)
	}
}
