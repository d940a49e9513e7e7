package nl_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"ipoib/nl"
	"ipoib/nl/nltest"

	"github.com/mdlayher/netlink"
)

// TestDumpSizes: thousands of objects arrive in order, whatever the size of
// the receive buffer, in datagrams that fit it unless one object does not.
func TestDumpSizes(t *testing.T) {
	const objects = 3000
	size := func(i int) int { return 4 + i%700*4 }
	for _, c := range []struct{ announced, want int }{
		{0, 8192}, {1, 1}, {512, 512}, {4096, 4096}, {16384, 16384}, {1 << 20, 32<<10 - 320},
	} {
		t.Run(fmt.Sprint(c.announced), func(t *testing.T) {
			p, srv := newToy(t, nl.Config{})
			p.dump = counting(objects, size, nil, nil)
			conn := dial(t, srv, nl.ConnConfig{ReceiveSize: uint32(c.announced)})
			// ACK adds nothing to a dump.
			write(t, conn, request(toyDump, netlink.Dump|netlink.Acknowledge, 5))
			next, datagrams := 0, 0
			for {
				d, err := conn.ReadDatagram()
				if err != nil {
					t.Fatal(err)
				}
				datagrams++
				h := nl.ParseHeader(d.Bytes)
				if h.Type == netlink.Done {
					if h.Length != 20 || h.Flags != netlink.Multi || h.Sequence != 5 || len(d.Bytes) != 20 {
						t.Errorf("end %+v in a datagram of %d bytes", h, len(d.Bytes))
					}
					break
				}
				if len(d.Bytes) > c.want && int(h.Length) != len(d.Bytes) {
					t.Errorf("datagram of %d bytes for a buffer of %d", len(d.Bytes), c.want)
				}
				for b := d.Bytes; len(b) > 0; {
					h := nl.ParseHeader(b)
					if h.Flags != netlink.Multi || h.PID != conn.PortID() || h.Sequence != 5 {
						t.Fatalf("header %+v", h)
					}
					if i := int(binary.NativeEndian.Uint32(b[16:])); i != next || int(h.Length) != 16+size(i) {
						t.Fatalf("object %d with %d bytes, want %d", i, h.Length, next)
					}
					next++
					b = b[nl.Align(int(h.Length)):]
				}
			}
			if next != objects {
				t.Errorf("%d objects in %d datagrams", next, datagrams)
			}
			if c.want > 8 && datagrams > objects*1424/c.want*2 {
				t.Errorf("%d datagrams, not packed", datagrams)
			}
		})
	}
}

// TestDumpIncremental: objects are made while the client reads, not before.
func TestDumpIncremental(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		p, srv := newToy(t, nl.Config{})
		p.dump = counting(20000, func(int) int { return 1000 }, &asked, nil)
		c := dial(t, srv, nl.ConnConfig{})
		write(t, c, request(toyDump, netlink.Dump, 5))
		synctest.Wait()
		ahead := int(asked.Load()) * 1016
		if most := nltest.PipeBytes + nl.DefaultQueueBytes; ahead > most {
			t.Errorf("%d bytes made for a client that does not read", ahead)
		}
		got := 0
		for {
			ms := read(t, c)
			if ms[0].Header.Type == netlink.Done {
				break
			}
			got += len(ms)
		}
		if got != 20000 {
			t.Errorf("%d objects", got)
		}
		srv.Close()
	})
}

// TestDumpBusy: a connection has one dump at a time, and other requests go
// on; the next dump may start after DONE.
func TestDumpBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, srv := newToy(t, nl.Config{})
		p.dump = counting(2000, func(int) int { return 1000 }, nil, nil)
		c := dial(t, srv, nl.ConnConfig{})
		write(t, c, request(toyDump, netlink.Dump, 1))
		synctest.Wait()
		write(t, c, request(toyDump, netlink.Dump, 2))
		write(t, c, request(toyEcho, 0, 3))
		synctest.Wait()
		var busy, echoed, done bool
		for !done || !busy || !echoed {
			for _, m := range read(t, c) {
				switch m.Header.Sequence {
				case 1:
					done = done || m.Header.Type == netlink.Done
				case 2:
					busy = ack(t, m) == syscall.EBUSY
				case 3:
					echoed = m.Header.Type == toyEcho
				}
			}
		}
		p.dump = counting(0, nil, nil, nil)
		write(t, c, request(toyDump, netlink.Dump, 4))
		if m := one(t, c); m.Header.Type != netlink.Done || m.Header.Sequence != 4 {
			t.Errorf("empty dump answered with %+v", m)
		}
		srv.Close()
	})
}

// TestDumpErrors: an error before the dump is an acknowledgement, one within
// it ends up in DONE, with extended ack for who wants it.
func TestDumpErrors(t *testing.T) {
	fail := nl.Errorf(syscall.EINVAL, "Filter by device index not supported for link dumps")
	for _, ext := range []bool{false, true} {
		p, srv := newToy(t, nl.Config{})
		c := dial(t, srv, nl.ConnConfig{ExtAck: ext})
		p.dump = func() (*nl.Dump, error) { return nil, fail }
		write(t, c, request(toyDump, netlink.Dump, 1))
		if m := one(t, c); m.Header.Type != netlink.Error || ack(t, m) != syscall.EINVAL {
			t.Errorf("failed start: %+v", m)
		}
		n, dones := 0, 0
		p.dump = func() (*nl.Dump, error) {
			return &nl.Dump{Type: toyDump, Done: func() { dones++ }, Next: func(e *nl.Encoder) error {
				if n++; n == 3 {
					return fail
				}
				e.U32(1, uint32(n))
				return nil
			}}, nil
		}
		write(t, c, request(toyDump, netlink.Dump, 2))
		if ms := read(t, c); len(ms) != 2 {
			t.Errorf("%d objects before the error", len(ms))
		}
		m := one(t, c)
		flags := netlink.Multi
		if ext {
			flags |= netlink.AcknowledgeTLVs
		}
		if m.Header.Type != netlink.Done || ack(t, m) != syscall.EINVAL || m.Header.Flags != flags {
			t.Errorf("ext %v: end %+v", ext, m.Header)
		}
		if has := strings.Contains(string(m.Data), "link dumps"); has != ext {
			t.Errorf("ext %v: text %v", ext, has)
		}
		srv.Close()
		if dones != 1 {
			t.Errorf("Done was called %d times", dones)
		}
	}
}

// TestDumpSkip: objects can be left out, also all of them.
func TestDumpSkip(t *testing.T) {
	p, srv := newToy(t, nl.Config{})
	p.dump = func() (*nl.Dump, error) {
		return &nl.Dump{Type: toyDump, Flags: netlink.DumpFiltered, Next: nl.Each([]uint32{1, 2, 3, 4},
			func(e *nl.Encoder, v uint32) error {
				if v%2 == 0 {
					return nl.ErrSkip
				}
				e.U32(1, v)
				return nil
			})}, nil
	}
	c := dial(t, srv, nl.ConnConfig{})
	write(t, c, request(toyDump, netlink.Dump, 2))
	ms := read(t, c)
	if len(ms) != 2 || ms[1].Header.Flags != netlink.Multi|netlink.DumpFiltered {
		t.Errorf("%+v", ms)
	}
}

// TestDumpInterrupted: a change between two objects shows on the next
// message, also when that is DONE.
func TestDumpInterrupted(t *testing.T) {
	for _, change := range []int{0, 1, 2, 3} {
		p, srv := newToy(t, nl.Config{})
		var gen uint64
		n := 0
		p.dump = func() (*nl.Dump, error) {
			return &nl.Dump{Type: toyDump, Generation: func() uint64 { return gen }, Next: func(e *nl.Encoder) error {
				if n == change {
					gen++
				}
				if n++; n > 3 {
					return io.EOF
				}
				e.U32(1, 1)
				return nil
			}}, nil
		}
		c := dial(t, srv, nl.ConnConfig{})
		write(t, c, request(toyDump, netlink.Dump, 2))
		ms := append(read(t, c), read(t, c)...)
		if len(ms) != 4 {
			t.Fatalf("%d messages", len(ms))
		}
		for i, m := range ms {
			// A change before the first object interrupts nothing.
			if got, want := m.Header.Flags&netlink.DumpInterrupted != 0, i == change && change > 0; got != want {
				t.Errorf("change at %d: message %d has flags %s", change, i, m.Header.Flags)
			}
		}
	}
}

// TestDumpPeerVanishes: the dump of a client that is gone ends, once.
func TestDumpPeerVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var done atomic.Int64
		p, srv := newToy(t, nl.Config{})
		p.dump = counting(1<<30, func(int) int { return 1000 }, nil, func() { done.Add(1) })
		for range 20 {
			c := dial(t, srv, nl.ConnConfig{})
			write(t, c, request(toyDump, netlink.Dump, 2))
			read(t, c)
			c.Close()
		}
		synctest.Wait()
		if done.Load() != 20 || srv.Clients() != 0 {
			t.Errorf("%d dumps ended, %d clients left", done.Load(), srv.Clients())
		}
		srv.Close()
	})
}

func TestEachEnds(t *testing.T) {
	next := nl.Each([]int{1}, func(*nl.Encoder, int) error { return nil })
	var e nl.Encoder
	if err := next(&e); err != nil {
		t.Fatal(err)
	}
	if err := next(&e); !errors.Is(err, io.EOF) {
		t.Errorf("after the last item: %v", err)
	}
}
