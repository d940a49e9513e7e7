package nl_test

import (
	"errors"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"ipoib/nl"

	"github.com/mdlayher/netlink"
)

// TestFlood: one client sends requests as fast as it can and reads its
// answers, a second one never reads anything, neither answers nor a huge dump
// nor notifications. A third one is served all the same: what the others wait
// in line with would take for ever.
func TestFlood(t *testing.T) {
	p, srv, path := serveToy(t, nl.Config{})
	p.mu.Lock()
	p.dump = counting(1<<30, func(int) int { return 1000 }, nil, nil)
	p.mu.Unlock()

	deaf := dialUnix(t, path, nl.ConnConfig{Groups: 1})
	write(t, deaf, request(toyDump, netlink.Dump, 1))
	for i := range uint32(1000) { // several times what its queue holds
		write(t, deaf, request(toyEcho, 0, i, make([]byte, 1000)...))
	}

	flood := dialUnix(t, path, nl.ConnConfig{})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				flood.Close()
				return
			default:
				if flood.WriteDatagram(request(toyEcho, 0, 1, make([]byte, 100)...)) != nil {
					return
				}
			}
		}
	})
	wg.Go(func() {
		for {
			if _, err := flood.ReadDatagram(); err != nil && !isErrno(err, syscall.ENOBUFS) {
				return
			}
		}
	})

	good := dialUnix(t, path, nl.ConnConfig{Groups: 1})
	var took []time.Duration
	for n := 0; n < 200 || p.handled.Load() < 2000; n++ {
		start := time.Now()
		if e := ask(t, good, toyWarn); e != 0 {
			t.Fatal(e)
		}
		took = append(took, time.Since(start))
		start = time.Now()
		srv.Notify(event(selfNetNS(t), make([]byte, 1000)...))
		one(t, good)
		took = append(took, time.Since(start))
	}
	flooded := p.handled.Load()
	close(stop)
	wg.Wait()
	slices.Sort(took)
	median, longest := took[len(took)/2], took[len(took)-1]
	t.Logf("median %v, longest %v, during %d requests", median, longest, flooded)
	if median > time.Second {
		t.Errorf("latency under flood: median %v, longest %v", median, longest)
	}
}

func isErrno(err error, want syscall.Errno) bool {
	se, ok := err.(interface{ Unwrap() error })
	return ok && errors.Is(se.Unwrap(), want)
}
