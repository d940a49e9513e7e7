package nl_test

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/nl"
	"ipoib/nl/nltest"

	"github.com/mdlayher/netlink"
)

var errTimeout = os.ErrDeadlineExceeded

// TestConnOptionOverData: an option set while answers wait does not lose or
// reorder them.
func TestConnOptionOverData(t *testing.T) {
	_, srv := newToy(t, nl.Config{})
	c := dial(t, srv, nl.ConnConfig{})
	for i := range uint32(5) {
		write(t, c, request(toyEcho, 0, i))
	}
	if err := c.SetOption(netlink.ExtendedAcknowledge, true); err != nil {
		t.Fatal(err)
	}
	write(t, c, request(toyEcho, 0, 5))
	for i := range uint32(6) {
		if m := one(t, c); m.Header.Sequence != i {
			t.Errorf("answer %d in place %d", m.Header.Sequence, i)
		}
	}
}

// TestConnOptionWhileReceiving: an option can be set while another goroutine
// waits for messages, and does not wake it.
func TestConnOptionWhileReceiving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, srv := newToy(t, nl.Config{})
		c := dial(t, srv, nl.ConnConfig{})
		got := make(chan netlink.Message, 1)
		go func() {
			ms, _ := c.Receive()
			got <- ms[0]
		}()
		synctest.Wait()
		if err := c.JoinGroup(1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(got) != 0 {
			t.Fatal("the answer to the option was delivered")
		}
		srv.Notify(event(nltest.HostNetNS, 1))
		if m := <-got; m.Header.Type != toyNotify {
			t.Errorf("%+v", m)
		}
		srv.Close()
	})
}

func TestConnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, srv := newToy(t, nl.Config{})
		nc := dial(t, srv, nl.ConnConfig{}).NetlinkConn()
		if err := nc.SetDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err := nc.Receive()
		var op *netlink.OpError
		if !errors.As(err, &op) || !op.Timeout() || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if err := nc.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if err := nc.SetWriteDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		nc.Close()
		if _, err := nc.Receive(); err == nil {
			t.Error("receive on a closed connection")
		}
		srv.Close()
	})
}

// TestMdlayherConn: the library finds every optional interface of the socket
// but BPF.
func TestMdlayherConn(t *testing.T) {
	p, srv := newToy(t, nl.Config{})
	p.dump = counting(100, func(int) int { return 1000 }, nil, nil)
	nc := dial(t, srv, nl.ConnConfig{}).NetlinkConn()
	if nc.PID() == 0 {
		t.Error("no port id")
	}
	for _, o := range []netlink.ConnOption{
		netlink.PacketInfo, netlink.BroadcastError, netlink.NoENOBUFS, netlink.CapAcknowledge,
		netlink.ExtendedAcknowledge, netlink.GetStrictCheck,
	} {
		if err := nc.SetOption(o, true); err != nil {
			t.Errorf("option %d: %v", o, err)
		}
	}
	if err := nc.SetOption(99, true); !errors.Is(err, syscall.ENOPROTOOPT) {
		t.Errorf("unknown option: %v", err)
	}
	if err := nc.SetReadBuffer(1 << 16); err != nil {
		t.Error(err)
	}
	if n, err := nc.ReadBuffer(); n != 1<<16 || err != nil {
		t.Errorf("read buffer %d, %v", n, err)
	}
	if err := nc.SetWriteBuffer(1 << 16); err != nil {
		t.Error(err)
	}
	if n, err := nc.WriteBuffer(); n != 1<<16 || err != nil {
		t.Errorf("write buffer %d, %v", n, err)
	}
	if _, err := nc.SyscallConn(); err == nil {
		t.Error("a connection in memory has a descriptor")
	}
	ms, err := nc.Execute(netlink.Message{Header: netlink.Header{Type: toyDump, Flags: netlink.Request | netlink.Dump}})
	if err != nil || len(ms) != 100 {
		t.Errorf("dump of %d messages, %v", len(ms), err)
	}
	if _, err := nc.SendMessages([]netlink.Message{
		{Header: netlink.Header{Type: toyEcho, Flags: netlink.Request}, Data: []byte{1, 2, 3, 4}},
		{Header: netlink.Header{Type: toyEcho, Flags: netlink.Request}, Data: []byte{5, 6, 7, 8}},
	}); err != nil {
		t.Fatal(err)
	}
	for _, first := range []byte{1, 5} {
		if ms, err := nc.Receive(); err != nil || len(ms) != 1 || ms[0].Data[0] != first {
			t.Errorf("%+v %v", ms, err)
		}
	}
}

func TestConnLimits(t *testing.T) {
	_, srv := newToy(t, nl.Config{})
	c := dial(t, srv, nl.ConnConfig{})
	if err := c.WriteDatagram(nil); !errors.Is(err, syscall.ENODATA) {
		t.Errorf("empty datagram: %v", err)
	}
	if err := c.WriteDatagram(make([]byte, nl.MaxRequest+1)); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("large datagram: %v", err)
	}
	// The largest works, and its error quotes it whole.
	b := request(toyEcho+100, 0, 1, make([]byte, nl.MaxRequest-16)...)
	write(t, c, b)
	if m := one(t, c); ack(t, m) != syscall.EOPNOTSUPP || int(m.Header.Length) != len(b)+20 {
		t.Errorf("%+v", m.Header)
	}
}

// TestServerDropsLongDatagram: a datagram that a Conn would not send ends the
// connection of who sends it.
func TestServerDropsLongDatagram(t *testing.T) {
	for _, n := range []int{nl.MaxRequest + 1, nl.MaxDatagram + 1} {
		_, srv := newToy(t, nl.Config{})
		client, server := nltest.Pipe(1)
		if err := srv.Attach(server, nltest.NewPeer()); err != nil {
			t.Fatal(err)
		}
		client.WritePacket(make([]byte, n))
		if _, _, err := client.ReadPacket(); err == nil {
			t.Errorf("connection goes on after %d bytes", n)
		}
		client.Close()
	}
}
