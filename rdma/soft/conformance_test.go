package soft

import (
	"testing"

	"ipoib/rdma"
	"ipoib/rdma/header"
)

// A controlled Q_Key in a work request sends the queue pair's own, another one
// is sent as it is.
func Test4392_S1_2_7_ControlledQKey(t *testing.T) {
	n, a, b := vectorNet(t)
	var sent rdma.QKey
	cancel, err := n.f.Tap(n.sw.At(1), func(f Frame) {
		if p, err := header.Parse(f.Data); err == nil && f.Dir == DirIn {
			sent = p.DETH.QKey()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	h, err := a.pd.CreateAH(rdma.AHAttr{Port: 1, DLID: 3})
	if err != nil {
		t.Fatal(err)
	}
	for asked, want := range map[rdma.QKey]rdma.QKey{
		0x80001234: 0x80000b1b, 0x80000000: 0x80000b1b, 0xffffffff: 0x80000b1b, 0x1234: 0x1234, 0: 0,
	} {
		sent = 99
		buf := a.pd.Buffers().Get(8)
		wr := []rdma.SendWR{{Buf: buf, AH: h, RemoteQPN: b.qp.Num(), RemoteQKey: asked}}
		if _, err := a.qp.PostSend(wr, nil); err != nil {
			t.Fatal(err)
		}
		if sent != want {
			t.Errorf("asked for %v, sent %v, want %v", asked, sent, want)
		}
		if got := len(b.got()) == 1; got != (want == 0x80000b1b) {
			t.Errorf("Q_Key %v: received %v", want, got)
		}
	}
}

// A UD message is one packet of at most the MTU of the link.
func Test4392_S1_2_8_UDWithinMTU(t *testing.T) {
	n, a, b := vectorNet(t)
	frames := 0
	cancel, err := n.f.Tap(n.sw.At(1), func(f Frame) { frames++ })
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	mtu := n.port(0).Attr().ActiveMTU.Bytes()
	a.send(rdma.AHAttr{DLID: 3}, b.qp.Num(), make([]byte, mtu))
	sent := frames
	a.send(rdma.AHAttr{DLID: 3}, b.qp.Num(), make([]byte, mtu+1))
	if sent == 0 || frames != sent {
		t.Errorf("%d frames of a message of %d bytes, %d with one more", sent, mtu, frames-sent)
	}
}
