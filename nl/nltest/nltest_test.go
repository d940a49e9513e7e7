package nltest_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/nl"
	"ipoib/nl/nltest"
)

// TestPipe: the connection in memory behaves as the socket does.
func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := nltest.Pipe(77)
		for _, s := range []string{"one", "two"} {
			if err := a.WritePacket([]byte(s)); err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range []string{"one", "two"} {
			if got, from, err := b.ReadPacket(); string(got) != want || from.PID != 77 || err != nil {
				t.Errorf("%q %+v %v", got, from, err)
			}
		}
		if err := a.WritePacket(nil); !errors.Is(err, syscall.ENODATA) {
			t.Errorf("empty packet: %v", err)
		}

		// Deadlines wake who waits, and can be moved.
		for _, d := range []time.Duration{time.Second, -time.Second} {
			start := time.Now()
			b.SetReadDeadline(start.Add(time.Hour))
			b.SetReadDeadline(start.Add(d))
			if _, _, err := b.ReadPacket(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != max(d, 0) {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
		}
		b.SetReadDeadline(time.Time{})

		// A reader that does not read blocks the writer.
		n := 0
		a.SetWriteDeadline(time.Now().Add(time.Second))
		var err error
		for ; err == nil; n++ {
			err = a.WritePacket(make([]byte, 1000))
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || n*1000 > nltest.PipeBytes {
			t.Errorf("%d packets, %v", n, err)
		}
		a.SetWriteDeadline(time.Time{})
		go func() {
			time.Sleep(time.Minute)
			b.ReadPacket()
		}()
		start := time.Now()
		if err := a.WritePacket([]byte{1}); err != nil || time.Since(start) != time.Minute {
			t.Errorf("after %v: %v", time.Since(start), err)
		}

		// What was sent before the end arrives.
		a.Close()
		if err := a.WritePacket([]byte{1}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("send after close: %v", err)
		}
		left := 0
		for {
			_, _, err := b.ReadPacket()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			left++
		}
		if left == 0 {
			t.Error("nothing arrived after the end")
		}
		if err := b.WritePacket([]byte{1}); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("send to a closed end: %v", err)
		}
		b.Close()
		if _, _, err := b.ReadPacket(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("receive after close: %v", err)
		}
	})
}

func TestPeer(t *testing.T) {
	p := nltest.NewPeer()
	if p.Capable(nl.Sender{}, nl.CapNetAdmin) || p.NetCapable(nl.Sender{}, nl.CapNetAdmin) {
		t.Error("a new peer has capabilities")
	}
	p.SetCaps(nl.CapNetAdmin)
	if !p.Capable(nl.Sender{}, nl.CapNetAdmin) || !p.NetCapable(nl.Sender{}, nl.CapNetAdmin) || p.Capable(nl.Sender{}, nl.CapSysAdmin) {
		t.Error("capabilities of the host's root")
	}
	p.SetContainer(true)
	if p.Capable(nl.Sender{}, nl.CapNetAdmin) || !p.NetCapable(nl.Sender{}, nl.CapNetAdmin) {
		t.Error("capabilities of a container's root")
	}
	if _, err := p.OpenNetNS(); err == nil {
		t.Error("a namespace file out of nothing")
	}
	file := filepath.Join(t.TempDir(), "net")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.SetNetNS(nl.NetNS{Dev: 1, Ino: 2}, file)
	f, err := p.OpenNetNS()
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	p.SetID(5, 6)
	if p.PID() != 5 || p.UID() != 6 || p.NetNS() != (nl.NetNS{Dev: 1, Ino: 2}) {
		t.Errorf("%d %d %v", p.PID(), p.UID(), p.NetNS())
	}
}
