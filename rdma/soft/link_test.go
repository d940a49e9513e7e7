package soft

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// burst sends n numbered messages and returns what arrived, and in order.
func burst(n *testNet, a, b *udPair, count int) []string {
	for i := range count {
		a.send(rdma.AHAttr{DLID: 3}, b.qp.Num(), []byte(fmt.Sprintf("%04d", i)))
	}
	return b.got()
}

func TestFaults(t *testing.T) {
	n, a, b := vectorNet(t)
	l := n.f.LinkAt(n.hcas[0].At(1))
	const count = 1000
	l.SetFaults(Faults{Loss: 0.1})
	if got := burst(n, a, b, count); len(got) < 850 || len(got) > 950 || !slices.IsSorted(got) {
		t.Errorf("10 %% loss: %d of %d arrived", len(got), count)
	}
	if d := n.hcas[0].ports[1].Drops()["fault"]; d < 50 || d > 150 {
		t.Errorf("%d counted", d)
	}
	l.SetFaults(Faults{Duplicate: 0.1})
	if got := burst(n, a, b, count); len(got) < 1050 || len(got) > 1150 || !slices.IsSorted(got) {
		t.Errorf("10 %% duplicates: %d of %d arrived", len(got), count)
	}
	l.SetFaults(Faults{Corrupt: 0.1})
	if got := burst(n, a, b, count); len(got) < 850 || len(got) > 950 {
		t.Errorf("10 %% corrupted: %d of %d arrived", len(got), count)
	} else {
		for _, s := range got {
			if len(s) != 4 {
				t.Errorf("corrupted message %q was delivered", s)
			}
		}
	}
	l.SetFaults(Faults{Loss: 1, Match: func(p PacketInfo) bool { return string(p.Payload) == "0005" }})
	if got := burst(n, a, b, 10); len(got) != 9 || slices.Contains(got, "0005") {
		t.Errorf("filtered loss: %v", got)
	}
	// One way only: end 0 is the adapter's.
	l.SetFaults(Faults{})
	l.SetFaultsFrom(1, Faults{Loss: 1})
	if got := burst(n, a, b, 10); len(got) != 10 {
		t.Errorf("loss of the other direction: %d of 10 arrived", len(got))
	}
}

// The same seed gives the same faults.
func TestFaultsRepeat(t *testing.T) {
	run := func() []string {
		n, a, b := vectorNet(t)
		n.f.LinkAt(n.hcas[0].At(1)).SetFaults(Faults{Loss: 0.3, Duplicate: 0.3})
		return burst(n, a, b, 200)
	}
	if x, y := run(), run(); !slices.Equal(x, y) {
		t.Error("two runs differ")
	}
}

func TestDelayReorderRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := vectorNet(t)
		l := n.f.LinkAt(n.hcas[0].At(1))
		l.SetFaultsFrom(0, Faults{Delay: 30 * time.Millisecond})
		if got := burst(n, a, b, 5); len(got) != 0 {
			t.Errorf("arrived at once: %v", got)
		}
		time.Sleep(29 * time.Millisecond)
		if got := b.got(); len(got) != 0 {
			t.Errorf("arrived early: %v", got)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if got := b.got(); len(got) != 5 || !slices.IsSorted(got) {
			t.Errorf("after the delay: %v", got)
		}
		l.SetFaultsFrom(0, Faults{Reorder: 0.3, ReorderDelay: time.Millisecond})
		got := burst(n, a, b, 50)
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		got = append(got, b.got()...)
		if len(got) != 50 || slices.IsSorted(got) {
			t.Errorf("reordered: %d arrived, sorted %v", len(got), slices.IsSorted(got))
		}
		// 100 packets of 8+12+8+1000+4 bytes at 100 Mb/s.
		l.SetFaultsFrom(0, Faults{RateMbps: 100})
		start := time.Now()
		for range 100 {
			a.send(rdma.AHAttr{DLID: 3}, b.qp.Num(), make([]byte, 1000))
		}
		count := 0
		for count < 100 {
			time.Sleep(100 * time.Microsecond)
			synctest.Wait()
			count += len(b.got())
		}
		want := 100 * 1032 * 8 * time.Second / 1e8
		if d := time.Since(start); d < want || d > want+time.Millisecond {
			t.Errorf("took %v, want %v", d, want)
		}
	})
}

// A large send meets faults packet by packet.
func TestFaultsCutLargeSends(t *testing.T) {
	n, a, b := vectorNet(t)
	n.f.LinkAt(n.hcas[0].At(1)).SetFaultsFrom(0, Faults{Loss: 0.5})
	if err := b.qp.Modify(rdma.QPAttr{ReceiveAggregate: true}, rdma.QPAttrReceiveAggregate); err != nil {
		t.Fatal(err)
	}
	h, err := a.pd.CreateAH(rdma.AHAttr{Port: 1, DLID: 3})
	if err != nil {
		t.Fatal(err)
	}
	m := make([]byte, 44+64000)
	copy(m, []byte{8, 0, 0, 0, 0x45})
	m[13], m[24+12] = 6, 5<<4
	buf := a.pd.Buffers().Get(len(m))
	copy(buf.Bytes(), m)
	wr := rdma.SendWR{Buf: buf, AH: h, RemoteQPN: b.qp.Num(), RemoteQKey: 0x80000b1b, Offload: rdma.Offload{
		Segment: rdma.SegmentTCP4, SegmentSize: 1000, HeaderLen: 44, Checksum: true, CsumStart: 24, CsumOffset: 16,
	}}
	if _, err := a.qp.PostSend([]rdma.SendWR{wr}, nil); err != nil {
		t.Fatal(err)
	}
	if got := b.got(); len(got) < 16 || len(got) > 48 || len(got[0]) != 1044 {
		t.Errorf("%d of 64 packets arrived", len(got))
	}
}

func TestNegotiation(t *testing.T) {
	f := NewFabric(Options{})
	sw, err := f.AddSwitch(SwitchConfig{NodeGUID: 1, Desc: "sw", Speed: rdma.SpeedHDR, Width: rdma.Width4X})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		speed rdma.LinkSpeed
		width rdma.LinkWidth
		rate  rdma.Rate
	}{
		{rdma.SpeedSDR, rdma.Width4X, rdma.Rate10}, {rdma.SpeedFDR, rdma.Width1X, rdma.Rate14},
		{rdma.SpeedNDR, rdma.Width4X, rdma.Rate200}, {rdma.SpeedEDR, rdma.Width12X, rdma.Rate25},
	} {
		h, err := f.AddHCA(HCAConfig{Name: fmt.Sprint(i), NodeGUID: rdma.GUID(0x100 * (i + 1)), Speed: c.speed, Width: c.width})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Connect(h.At(1), sw.At(i+1)); err != nil {
			t.Fatal(err)
		}
		p, _ := h.Port(1)
		if r := p.Attr().Rate(); r != c.rate {
			t.Errorf("%v %v to HDR 4X: %v", c.speed, c.width, r)
		}
		if s := p.Attr().State; s != rdma.PortInit {
			t.Errorf("state %v", s)
		}
	}
}

func TestFabricErrors(t *testing.T) {
	n := newTestNet(t, 1)
	if _, err := n.f.AddHCA(HCAConfig{Name: "a", NodeGUID: 0x9000}); err == nil {
		t.Error("a second adapter of the same name")
	}
	if _, err := n.f.AddHCA(HCAConfig{Name: "z", NodeGUID: 0x1000}); err == nil {
		t.Error("a second node of the same GUID")
	}
	if _, err := n.f.AddHCA(HCAConfig{Name: "z", NodeGUID: 0x9000, MTU: 9}); err == nil {
		t.Error("MTU code 9")
	}
	if _, err := n.f.AddHCA(HCAConfig{Name: "z", NodeGUID: 0x9000, Ports: 99}); err == nil {
		t.Error("99 ports")
	}
	if _, err := n.f.Connect(n.hcas[0].At(1), n.sw.At(5)); err == nil {
		t.Error("a second link at a port")
	}
	if _, err := n.f.Connect(n.sw.At(5), n.sw.At(5)); err == nil {
		t.Error("a link from a port to itself")
	}
	if p, err := n.sw.FreePort(); p != 2 || err != nil {
		t.Errorf("FreePort: %d, %v", p, err)
	}
	if err := n.hcas[0].Close(); err != nil {
		t.Fatal(err)
	}
	if p, _ := n.sw.FreePort(); p != 1 {
		t.Errorf("FreePort after Close: %d", p)
	}
	if _, err := n.f.AddHCA(HCAConfig{Name: "a", NodeGUID: 0x1000}); err != nil {
		t.Errorf("the name and GUID are free again: %v", err)
	}
}

// Multicast over a line of switches: each member hears a packet once, the
// sender not at all.
func TestMulticastOverSwitches(t *testing.T) {
	n, a, b := vectorNet(t)
	s2, err := n.f.AddSwitch(SwitchConfig{NodeGUID: 0x200, Desc: "s2", Ports: 4})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.f.Connect(n.sw.At(5), s2.At(1)); err != nil {
		t.Fatal(err)
	}
	h, err := n.f.AddHCA(HCAConfig{Name: "c", NodeGUID: 0x9000})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.f.Connect(h.At(1), s2.At(2)); err != nil {
		t.Fatal(err)
	}
	n.activate(nil, 5, 0)
	n.activate([]uint8{5}, 1, 0)
	n.activate([]uint8{5}, 2, 0)
	n.set([]uint8{5, 2}, mad.AttrPKeyTable, 0, &mad.PKeyTable{rdma.PKeyDefault, 0x8001})
	n.activate([]uint8{5, 2}, 1, 9)
	n.set(nil, mad.AttrMulticastForwardingTable, 0, &mad.MulticastForwardingTable{1<<1 | 1<<2 | 1<<5})
	n.set([]uint8{5}, mad.AttrMulticastForwardingTable, 0, &mad.MulticastForwardingTable{1<<1 | 1<<2})
	pc, _ := h.Port(1)
	c := newUD(t, pc, 0)
	for _, u := range []*udPair{a, b, c} {
		if err := u.qp.AttachMulticast(testGroup, 0xc000); err != nil {
			t.Fatal(err)
		}
	}
	group := rdma.AHAttr{DLID: 0xc000, GRH: &rdma.GRHAttr{DGID: testGroup}}
	for i, from := range []*udPair{a, b, c} {
		from.send(group, rdma.QPNMulticast, []byte("hello"))
		for j, u := range []*udPair{a, b, c} {
			want := 1
			if i == j {
				want = 0
			}
			if got := u.got(); len(got) != want {
				t.Errorf("sender %d, receiver %d: %d packets", i, j, len(got))
			}
		}
	}
	// A group that no switch knows goes nowhere.
	a.send(rdma.AHAttr{DLID: 0xc001, GRH: &rdma.GRHAttr{DGID: testGroup}}, rdma.QPNMulticast, []byte("x"))
	if got := append(b.got(), c.got()...); len(got) != 0 {
		t.Errorf("unknown MLID was delivered: %v", got)
	}
}

func TestSLAndMTU(t *testing.T) {
	n, a, b := vectorNet(t)
	// SL 3 is dropped at the adapter's output, SL 2 maps to VL 4.
	table := mad.SLtoVLMappingTable{2: 4, 3: mad.VLDrop}
	n.set([]uint8{1}, mad.AttrSLtoVLMappingTable, 0, &table)
	var vl uint8
	cancel, _ := n.f.Tap(n.sw.At(1), func(f Frame) { vl = f.Data[0] >> 4 })
	defer cancel()
	for sl, deliver := range map[uint8]bool{0: true, 2: true, 3: false} {
		vl = 99
		a.send(rdma.AHAttr{DLID: 3, SL: sl}, b.qp.Num(), []byte("x"))
		if got := len(b.got()) == 1; got != deliver || deliver && vl != table.VL(sl) {
			t.Errorf("SL %d: delivered %v on VL %d", sl, got, vl)
		}
	}
	// A switch port with a smaller MTU drops what does not fit.
	i := n.portInfo(nil, 2)
	i.PortState, i.PortPhysicalState, i.NeighborMTU = 0, 0, rdma.MTU512
	n.set(nil, mad.AttrPortInfo, 2, &i)
	a.send(rdma.AHAttr{DLID: 3}, b.qp.Num(), make([]byte, 512))
	a.send(rdma.AHAttr{DLID: 3}, b.qp.Num(), make([]byte, 513))
	if got := b.got(); len(got) != 1 || len(got[0]) != 512 {
		t.Errorf("%d packets through MTU 512", len(got))
	}
}

// The packet path allocates nothing.
func TestSendAllocations(t *testing.T) {
	_, a, b := vectorNet(t)
	h, err := a.pd.CreateAH(rdma.AHAttr{Port: 1, DLID: 3})
	if err != nil {
		t.Fatal(err)
	}
	wrs := make([]rdma.SendWR, 1)
	var wc [1]rdma.WorkCompletion
	allocs := testing.AllocsPerRun(1000, func() {
		wrs[0] = rdma.SendWR{Buf: a.pd.Buffers().Get(1000), AH: h, RemoteQPN: b.qp.Num(), RemoteQKey: 0x80000b1b}
		if _, err := a.qp.PostSend(wrs, nil); err != nil {
			t.Fatal(err)
		}
		if b.recv.Poll(wc[:]) != 1 {
			t.Fatal("nothing came")
		}
		wc[0].Buf.Free()
		_ = b.qp.PostRecv(1)
	})
	if allocs != 0 {
		t.Errorf("%v allocations per packet", allocs)
	}
}

func BenchmarkSend(bench *testing.B) {
	_, a, b := vectorNet(bench)
	h, err := a.pd.CreateAH(rdma.AHAttr{Port: 1, DLID: 3})
	if err != nil {
		bench.Fatal(err)
	}
	wrs := make([]rdma.SendWR, 1)
	var wc [1]rdma.WorkCompletion
	for bench.Loop() {
		wrs[0] = rdma.SendWR{Buf: a.pd.Buffers().Get(1000), AH: h, RemoteQPN: b.qp.Num(), RemoteQKey: 0x80000b1b}
		_, _ = a.qp.PostSend(wrs, nil)
		b.recv.Poll(wc[:])
		wc[0].Buf.Free()
		_ = b.qp.PostRecv(1)
	}
}

func FuzzReceiveFrame(f *testing.F) {
	for _, v := range []string{"V1", "V2", "V3", "V4", "V6", "V12", "V16"} {
		f.Add(vector(f, v), true)
	}
	n, _, b := vectorNet(f)
	f.Fuzz(func(t *testing.T, frame []byte, mend bool) {
		if mend && len(frame) > 30 {
			header := append([]byte(nil), frame...)
			frame = edit(header, true, true, func(f []byte) []byte { return f })
		}
		_ = n.f.Inject(n.hcas[1].At(1), frame)
		_ = n.f.Inject(n.sw.At(1), frame)
		b.got()
		_ = b.qp.PostRecv(1)
	})
}
