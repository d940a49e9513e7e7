package nl_test

import (
	"context"
	"runtime"
	"testing"

	"ipoib/nl"
	"ipoib/nl/nltest"

	"github.com/mdlayher/netlink"
)

// FuzzControl: a control message that is understood is encoded again to the
// same.
func FuzzControl(f *testing.F) {
	f.Add(nl.NewControl(nl.OpHello, 1, 16, 0, 1, 1<<11, 4096).Append(nil))
	f.Add(nl.NewControl(nl.OpSetOption, 2, 11, 1).Append(nil))
	f.Add(nl.NewControl(nl.OpPacketInfo, 0, 1, 0xffffffff).Append(nil))
	f.Add(request(nl.ControlType, 0, 1, 'L', 'N', 'P', 'I', 1, 0x81, 0, 0, 1, 2, 3, 4))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := nl.ParseControl(b)
		if err != nil {
			return
		}
		again, err := nl.ParseControl(m.Append(nil))
		if err != nil || again != m {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}

// FuzzServer: whatever a client sends, before and after its hello, the server
// goes on serving others, and nothing is changed without privilege.
func FuzzServer(f *testing.F) {
	p, srv := newToy(f, nl.Config{Trace: discard{}})
	p.block = make(chan struct{})
	close(p.block)
	p.fail = nl.Errorf(1, "no")
	p.dump = counting(10, func(int) int { return 100 }, nil, nil)
	good := dial(f, srv, nl.ConnConfig{})
	f.Add(true, request(toyEcho, netlink.Acknowledge, 1, 1, 2, 3))
	f.Add(true, append(request(toyDump, netlink.Dump, 1), request(toyChange, 0, 2)...))
	f.Add(true, nl.NewControl(nl.OpSetOption, 2, 1, 3).Append(nil))
	f.Add(true, request(toyNotify, netlink.Echo, 1))
	f.Add(false, nl.NewControl(nl.OpHello, 1, toyProto, 0, 1, 1<<11, 4096).Append(nil))
	f.Add(false, nl.NewControl(nl.OpHello, 1, toyProto, 0, 0, 0xffffffff, 1).Append(nil))
	f.Fuzz(func(t *testing.T, greeted bool, b []byte) {
		if len(b) == 0 {
			return
		}
		client, server := nltest.Pipe(1)
		if err := srv.Attach(server, nltest.NewPeer()); err != nil {
			t.Fatal(err)
		}
		defer func() {
			client.Close()
			for srv.Clients() > 1 {
				runtime.Gosched()
			}
		}()
		if greeted {
			if _, err := nl.NewConn(context.Background(), client, nl.ConnConfig{Protocol: toyProto}); err != nil {
				t.Fatal(err)
			}
		}
		client.WritePacket(b)
		if e := ask(t, good, toyWarn); e != 0 {
			t.Errorf("another client: %v", e)
		}
		if p.changed.Load() != 0 {
			t.Error("changed without privilege")
		}
	})
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// FuzzClient: whatever a service sends, a Conn neither panics nor invents
// messages, and FormatDatagram can print it.
func FuzzClient(f *testing.F) {
	f.Add(request(toyEcho, 0, 1, 1, 2, 3))
	f.Add(nl.NewControl(nl.OpPacketInfo, 0, 1, 2).Append(nil))
	f.Add(message(netlink.Header{Type: netlink.Overrun}, nil))
	f.Add(message(netlink.Header{Type: netlink.Error, Flags: netlink.AcknowledgeTLVs}, make([]byte, 40)))
	f.Add(message(netlink.Header{Type: netlink.Done, Flags: netlink.Multi}, []byte{1}))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, proto := range []int{nl.ProtoRoute, nl.ProtoGeneric} {
			if s := nl.FormatDatagram(proto, b); s == "" || s[len(s)-1] != '\n' {
				t.Errorf("printed as %q", s)
			}
		}
		if len(b) == 0 {
			return
		}
		client, server := nltest.Pipe(1)
		defer server.Close()
		hello := nl.NewControl(nl.OpHello, 1, 0, 77)
		hello.Answer = true
		server.WritePacket(hello.Append(nil))
		c, err := nl.NewConn(context.Background(), client, nl.ConnConfig{})
		if err != nil || c.PortID() != 77 {
			t.Fatal(err)
		}
		defer c.Close()
		server.WritePacket(b)
		server.WritePacket(message(netlink.Header{Type: netlink.Overrun}, nil))
		total := 0
		for {
			ms, err := c.Receive()
			if err != nil {
				break
			}
			for _, m := range ms {
				total += nl.HeaderLen + len(m.Data)
			}
		}
		if total > len(b) {
			t.Errorf("%d bytes of messages in %d", total, len(b))
		}
	})
}
