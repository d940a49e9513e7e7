package tun

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"ipoib/rdma"
)

// Devices are spread over the threads, also after some have gone.
func TestPollerSpread(t *testing.T) {
	const threads, each = 3, 4
	p, err := NewPoller(PollerConfig{Threads: threads})
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

// What is watched is served like a device, until the poller is closed.
func TestPollerWatch(t *testing.T) {
	p, err := NewPoller(PollerConfig{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	const times = 5
	got := make(chan uint64, times)
	var fds []int
	for range 2 {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		fds = append(fds, fd)
		err = p.Watch(fd, func() {
			var b [8]byte
			if _, err := unix.Read(fd, b[:]); err != nil {
				t.Error(err)
			}
			got <- binary.NativeEndian.Uint64(b[:])
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	send := func(fd int, v uint64) {
		if _, err := unix.Write(fd, binary.NativeEndian.AppendUint64(nil, v)); err != nil {
			t.Error(err)
		}
	}
	for i := range uint64(times) {
		send(fds[i%2], 1+i)
		if v := <-got; v != 1+i {
			t.Errorf("read %d, want %d", v, 1+i)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	send(fds[0], 1)
	if err := p.Watch(fds[0], func() {}); !errors.Is(err, rdma.ErrClosed) || len(got) != 0 {
		t.Errorf("Watch returned %v after Close, %d events", err, len(got))
	}
}
