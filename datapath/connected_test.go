package datapath

import (
	"testing"

	"ipoib/datapath/encap"
	"ipoib/rdma"
	"ipoib/rdma/header"
	"ipoib/rdma/mad"
)

// connect switches interfaces to connected mode.
func (w *world) connect(hosts ...*host) {
	w.t.Helper()
	for _, h := range hosts {
		if err := h.ib0.SetMode(Connected); err != nil {
			w.t.Fatal(err)
		}
	}
}

// conns returns the outgoing and incoming connections of an interface.
func (h *host) conns() (out, in int) {
	h.ib0.loop.call(func() { out, in = h.ib0.conns.table.Len() })
	return out, in
}

// cms returns the CM messages among frames.
func cms(frames []frame) (out []*mad.MAD) {
	for _, f := range frames {
		if f.BTH.DestQP() == rdma.QPNGSI && len(f.Payload) == rdma.MADSize {
			if m := mad.View((*[rdma.MADSize]byte)(f.Payload)); m.Class() == mad.ClassCM {
				out = append(out, m)
			}
		}
	}
	return out
}

// cmOf returns the messages of one kind.
func cmOf(frames []frame, attr mad.AttrID) (out []*mad.MAD) {
	for _, m := range cms(frames) {
		if m.AttrID() == attr {
			out = append(out, m)
		}
	}
	return out
}

// rcFrames returns the frames with data of connections.
func rcFrames(frames []frame) (out []frame) {
	for _, f := range frames {
		if op := f.BTH.Opcode(); op.Transport() == header.TransportRC && !op.IsResponse() {
			out = append(out, f)
		}
	}
	return out
}

// TestConnected: two hosts in connected mode connect with the first packet, and
// carry the largest there is.
func TestConnected(t *testing.T) {
	inWorld(t, worldConfig{hosts: 2, debug: true}, func(w *world) {
		a, b := w.host(1), w.host(2)
		w.upAll()
		w.connect(a, b)
		w.settle()
		if i := a.ib0.Info(); i.MTU != 65520 || i.Mode != Connected || i.Addr.Flags() != encap.FlagRC {
			t.Errorf("%+v", i)
		}
		frames := a.tap()
		a.send(a.ib0, ip4(a.ip(), b.ip(), 100))
		w.settle()
		if got := len(b.got(b.ib0)); got != 1 {
			t.Fatalf("%d packets arrived: %v", got, w.logged(""))
		}
		for _, c := range []struct{ from, to *host }{{a, b}, {b, a}} {
			p := ip4(c.from.ip(), c.to.ip(), 65520-28)
			p[1000] = 0x55
			c.from.send(c.from.ib0, p)
			w.settle()
			if got := c.to.got(c.to.ib0); len(got) != 1 || string(got[0]) != string(p) {
				t.Fatalf("%d packets arrived: %v", len(got), w.logged(""))
			}
		}
		sent := frames(true)
		if n := len(cmOf(sent, mad.AttrREQ)); n != 1 {
			t.Errorf("%d REQs", n)
		}
		if out, in := a.conns(); out != 1 || in != 0 {
			t.Errorf("%d outgoing, %d incoming connections", out, in)
		}
		if out, in := b.conns(); out != 0 || in != 1 {
			t.Errorf("%d outgoing, %d incoming connections", out, in)
		}
		if s := a.ib0.Stats(); s.TxErrors != 0 || s.TxDropped != 0 || s.RxDropped != 0 {
			t.Errorf("%+v", s)
		}
	})
}
