package tuntest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/datapath/encap"
	"ipoib/datapath/tun"
	"ipoib/datapath/tun/tuntest"
	"ipoib/rdma"
)

var (
	ip4 = append([]byte{0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}, make([]byte, 20)...)
	tcp = rdma.Offload{Checksum: true, CsumStart: 24, CsumOffset: 16}
)

func TestRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, h := tuntest.New("ib0", rdma.NewBufferPool())
		got := make(chan int)
		pkts := make([]tun.Packet, 2)
		go func() {
			for {
				n, err := d.Read(pkts)
				if err != nil {
					close(got)
					return
				}
				for i := range n {
					if b := pkts[i].Buf.Bytes(); !bytes.Equal(b[encap.HeaderLen:], ip4) {
						t.Errorf("read % x", b)
					}
					pkts[i].Buf.Free()
				}
				got <- n
			}
		}()
		synctest.Wait() // it waits
		if err := h.Send(ip4, tcp); !errors.Is(err, tuntest.ErrOffload) {
			t.Errorf("checksum offload that is off: %v", err)
		}
		if f, err := d.SetOffload(tun.FeatureCsum | tun.FeatureTSOECN); f != tun.FeatureCsum || err != nil || h.Offload() != f {
			t.Errorf("features %v, %v", f, err)
		}
		for range 3 {
			if err := h.Send(ip4, tcp); err != nil {
				t.Error(err)
			}
		}
		total := 0
		for total < 3 {
			total += <-got
		}
		if pkts[0].Offload != tcp {
			t.Errorf("offload %+v", pkts[0].Offload)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		<-got
		if err := h.Send(ip4, rdma.Offload{}); !errors.Is(err, rdma.ErrClosed) {
			t.Errorf("Send after Close: %v", err)
		}
	})
}

func TestWrite(t *testing.T) {
	pool := rdma.NewBufferPool()
	d, h := tuntest.New("ib0", pool)
	buf := pool.Get(encap.HeaderLen + len(ip4))
	defer buf.Free()
	copy(buf.Bytes()[encap.HeaderLen:], ip4)
	bad := pool.Get(encap.HeaderLen + 1)
	defer bad.Free()
	bad.Bytes()[encap.HeaderLen] = 0
	pkts := []tun.Packet{{Buf: buf, Offload: tcp}, {Buf: bad}, {Buf: buf, Offload: rdma.Offload{Segment: rdma.SegmentTCP4}}, {Buf: buf}}
	if n, err := d.Write(pkts); n != 2 || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
	for _, want := range []rdma.Offload{tcp, {}} {
		p, err := h.Receive(t.Context())
		if err != nil || !bytes.Equal(p.IP, ip4) || p.Offload != want {
			t.Errorf("received %+v, %v", p, err)
		}
	}
	h.SetUp(false)
	d.Write(pkts[:1])
	h.SetUp(true)
	h.SetFull(true)
	d.Write(pkts[:1])
	h.SetFull(false)
	if got := d.Counters(); got != (tun.Counters{WriteDown: 1, WriteBusy: 1, WriteInvalid: 2}) {
		t.Errorf("counters %+v", got)
	}
	d.Write(pkts[:1])
	d.Write(pkts[:1])
	if got := h.Drain(); len(got) != 2 || len(h.Drain()) != 0 {
		t.Errorf("drained %d", len(got))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := h.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Receive of nothing: %v", err)
	}
	d.Close()
	if _, err := h.Receive(t.Context()); !errors.Is(err, rdma.ErrClosed) {
		t.Errorf("Receive after Close: %v", err)
	}
}

// TestLife covers what both sides see of the other.
func TestLife(t *testing.T) {
	pool := rdma.NewBufferPool()
	h := tuntest.NewHost("ib0")
	changes := 0
	h.OnChange(func() { changes++ })
	d, err := h.Open(pool)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Open(pool); !errors.Is(err, tun.ErrBusy) {
		t.Errorf("second Open: %v", err)
	}
	if err := d.SetCarrier(false); err != nil || h.Carrier() || changes != 1 {
		t.Errorf("carrier %v, %v, %d changes", h.Carrier(), err, changes)
	}
	h.Rename("ib9")
	if name, err := d.Name(); name != "ib9" || err != nil {
		t.Errorf("name %q, %v", name, err)
	}
	path := filepath.Join(t.TempDir(), "ns")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.SetNetNS(path)
	f, err := d.NetNS()
	if err != nil || f.Name() != path {
		t.Errorf("namespace %v", err)
	}
	f.Close()

	// It survives its device when it is persistent, and only then.
	if err := d.SetPersist(true); err != nil || !h.Persistent() {
		t.Error("not persistent")
	}
	d.Close()
	if h.Removed() {
		t.Error("persistent, but gone")
	}
	if d, err = h.Open(pool); err != nil {
		t.Fatal(err)
	}
	d.SetPersist(false)
	d.Close()
	if _, err := h.Open(pool); !h.Removed() || !errors.Is(err, tun.ErrNotExist) {
		t.Errorf("not persistent, but there (%v)", err)
	}

	d, h = tuntest.New("ib1", pool)
	read := make(chan error)
	go func() {
		_, err := d.Read(make([]tun.Packet, 1))
		read <- err
	}()
	h.Remove()
	if err := <-read; !errors.Is(err, tun.ErrRemoved) {
		t.Errorf("Read: %v", err)
	}
	if _, err := d.Write(nil); !errors.Is(err, tun.ErrRemoved) {
		t.Errorf("Write: %v", err)
	}
}
