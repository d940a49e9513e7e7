package nl_test

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/nl"
	"ipoib/nl/nltest"

	"github.com/mdlayher/netlink"
)

// event is a notification of toy's group 1.
func event(ns nl.NetNS, payload ...byte) nl.Notification {
	return nl.Notification{Proto: toyProto, Group: 1, NetNS: ns, Data: message(netlink.Header{Type: toyNotify}, payload)}
}

// silent reports whether nothing waits for c, once all is quiet.
func silent(t *testing.T, c *nl.Conn) bool {
	t.Helper()
	synctest.Wait()
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Receive()
	c.SetReadDeadline(time.Time{})
	return errors.Is(err, errTimeout)
}

func TestNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, srv := newToy(t, nl.Config{})
		elsewhere := nl.NetNS{Dev: 4, Ino: 99}
		member := dial(t, srv, nl.ConnConfig{Groups: 1})
		joiner := dial(t, srv, nl.ConnConfig{PacketInfo: true})
		stranger := dial(t, srv, nl.ConnConfig{})
		farPeer := nltest.NewPeer()
		farPeer.SetNetNS(elsewhere, "")
		far := nltest.Dial(t, srv, farPeer, nl.ConnConfig{Protocol: toyProto, Groups: 1})
		if err := joiner.JoinGroup(1); err != nil {
			t.Fatal(err)
		}
		if got := srv.Notify(event(nltest.HostNetNS, 1, 2, 3, 4)); got != 2 {
			t.Errorf("%d receivers", got)
		}
		if m := one(t, member); m.Header.PID != 0 || m.Header.Sequence != 0 || m.Header.Flags != 0 || m.Data[3] != 4 {
			t.Errorf("%+v", m)
		}
		d, err := joiner.ReadDatagram()
		if err != nil || d.Group != 1 || d.NSID != -1 || len(d.Bytes) != 20 {
			t.Errorf("%+v %v", d, err)
		}
		if !silent(t, stranger) || !silent(t, far) {
			t.Error("a notification strayed")
		}
		// To all namespaces.
		if got := srv.Notify(event(nl.NetNS{}, 1)); got != 3 {
			t.Errorf("%d receivers in all namespaces", got)
		}
		one(t, far)
		one(t, member)
		if err := member.LeaveGroup(1); err != nil {
			t.Fatal(err)
		}
		srv.Notify(event(nl.NetNS{}, 1))
		if !silent(t, member) {
			t.Error("left group still notifies")
		}
		far.Close()
		synctest.Wait()
		if srv.HasListeners(toyProto, elsewhere, 1) || !srv.HasListeners(toyProto, nltest.HostNetNS, 1) {
			t.Error("listeners are wrong")
		}
		srv.DropGroup(toyProto, 1)
		if srv.HasListeners(toyProto, nltest.HostNetNS, 1) {
			t.Error("a dropped group has listeners")
		}
		srv.Close()
	})
}

func TestGroupErrors(t *testing.T) {
	_, srv := newToy(t, nl.Config{})
	peer := nltest.NewPeer()
	c := nltest.Dial(t, srv, peer, nl.ConnConfig{Protocol: toyProto})
	for g, want := range map[uint32]syscall.Errno{0: syscall.EINVAL, 1: 0, 2: syscall.EPERM, 40: 0, 41: syscall.EINVAL, 1 << 31: syscall.EINVAL} {
		if err := c.JoinGroup(g); want == 0 && err != nil || want != 0 && !errors.Is(err, want) {
			t.Errorf("join %d: %v, want %v", g, err, want)
		}
	}
	if err := c.LeaveGroup(41); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("leave 41: %v", err)
	}
	if err := c.SetOpt(6, 1); !errors.Is(err, syscall.ENOPROTOOPT) {
		t.Errorf("option 6: %v", err)
	}
	if err := c.SetOpt(9999, 1); !errors.Is(err, syscall.ENOPROTOOPT) {
		t.Errorf("option 9999: %v", err)
	}
	if err := c.SetOption(netlink.ListenAllNSID, true); !errors.Is(err, syscall.EPERM) {
		t.Errorf("all namespaces: %v", err)
	}
	peer.SetCaps(nl.CapNetAdmin)
	if err := c.JoinGroup(2); err != nil {
		t.Errorf("join 2 as admin: %v", err)
	}
}

// TestListenAllNSID: events of other namespaces arrive with the id that the
// listener's namespace has for them, and not at all without one.
func TestListenAllNSID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known, unknown := nl.NetNS{Dev: 4, Ino: 7}, nl.NetNS{Dev: 4, Ino: 8}
		_, srv := newToy(t, nl.Config{NSID: func(p nl.Peer, ns nl.NetNS) (int32, bool) {
			return 42, ns == known && p.NetNS() == nltest.HostNetNS
		}})
		peer := nltest.NewPeer()
		peer.SetCaps(nl.CapNetBroadcast)
		c := nltest.Dial(t, srv, peer, nl.ConnConfig{Protocol: toyProto, Groups: 1, ListenAllNSID: true})
		srv.Notify(event(unknown, 1))
		srv.Notify(event(known, 2))
		srv.Notify(event(nltest.HostNetNS, 3))
		for _, want := range []struct {
			first byte
			nsid  int32
		}{{2, 42}, {3, -1}} {
			d, err := c.ReadDatagram()
			if err != nil || d.NSID != want.nsid || d.Bytes[16] != want.first {
				t.Errorf("%+v %v, want %+v", d, err, want)
			}
		}
		if !silent(t, c) {
			t.Error("more than the known namespaces")
		}
		srv.Close()
	})
}

// TestEcho: with NLM_F_ECHO the requester gets the notification once, before
// the acknowledgement, whether it is a member or not.
func TestEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, srv := newToy(t, nl.Config{})
		other := dial(t, srv, nl.ConnConfig{Groups: 1})
		for _, c := range []struct {
			member, echo bool
			want         int
		}{{false, false, 0}, {true, false, 1}, {false, true, 1}, {true, true, 1}} {
			cfg := nl.ConnConfig{}
			if c.member {
				cfg.Groups = 1
			}
			conn := dial(t, srv, cfg)
			flags := netlink.Acknowledge
			if c.echo {
				flags |= netlink.Echo
			}
			write(t, conn, request(toyNotify, flags, 77))
			got := 0
			m := one(t, conn)
			for ; m.Header.Type == toyNotify; m = one(t, conn) {
				got++
				if echoed := m.Header.Sequence == 77 && m.Header.PID == conn.PortID(); echoed != c.echo {
					t.Errorf("%+v: header %+v", c, m.Header)
				}
			}
			if got != c.want || ack(t, m) != 0 || !silent(t, conn) {
				t.Errorf("%+v: %d notifications", c, got)
			}
			one(t, other)
			conn.Close()
			synctest.Wait()
		}
		srv.Close()
	})
}

// TestSlowSubscriber: a member that does not read loses notifications, is
// told so once at that place, and gets what comes after.
func TestSlowSubscriber(t *testing.T) {
	for _, noENOBUFS := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			_, srv := newToy(t, nl.Config{})
			c := dial(t, srv, nl.ConnConfig{Groups: 1})
			if err := c.SetOption(netlink.NoENOBUFS, noENOBUFS); err != nil {
				t.Fatal(err)
			}
			const sent = 2000
			delivered := 0
			for i := range sent {
				delivered += srv.Notify(event(nltest.HostNetNS, make([]byte, 1000+i%4*4)...))
				synctest.Wait()
			}
			if delivered == 0 || delivered == sent {
				t.Fatalf("%d of %d fit", delivered, sent)
			}
			got, lost := 0, 0
			for {
				synctest.Wait()
				c.SetReadDeadline(time.Now().Add(time.Millisecond))
				_, err := c.Receive()
				if errors.Is(err, errTimeout) {
					break
				}
				switch {
				case errors.Is(err, syscall.ENOBUFS):
					lost++
				case err != nil:
					t.Fatal(err)
				default:
					got++
				}
			}
			c.SetReadDeadline(time.Time{})
			want := 1
			if noENOBUFS {
				want = 0
			}
			if got != delivered || lost != want {
				t.Errorf("no-ENOBUFS %v: %d of %d received, ENOBUFS %d times", noENOBUFS, got, delivered, lost)
			}
			// After that it is a subscriber like any other.
			if srv.Notify(event(nltest.HostNetNS, 1)) != 1 {
				t.Error("still congested")
			}
			one(t, c)
			srv.Close()
		})
	}
}

// TestUnreadReplies: so does a client that asks and asks and does not read.
func TestUnreadReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, srv := newToy(t, nl.Config{})
		c := dial(t, srv, nl.ConnConfig{})
		const sent = 2000
		for i := range uint32(sent) {
			write(t, c, request(toyEcho, 0, i, make([]byte, 1000)...))
			synctest.Wait()
		}
		// A client that does not read is slowed down, but heard.
		time.Sleep(sent * time.Millisecond)
		synctest.Wait()
		if p.handled.Load() != sent {
			t.Errorf("%d requests handled", p.handled.Load())
		}
		lost := 0
		for !silentOr(t, c, &lost) {
		}
		if lost != 1 {
			t.Errorf("ENOBUFS %d times", lost)
		}
		if e := ask(t, c, toyWarn); e != 0 {
			t.Errorf("afterwards: %v", e)
		}
		srv.Close()
	})
}

// silentOr reads one datagram, counting ENOBUFS, and reports whether there
// was none.
func silentOr(t *testing.T, c *nl.Conn, lost *int) bool {
	t.Helper()
	synctest.Wait()
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	defer c.SetReadDeadline(time.Time{})
	_, err := c.Receive()
	if errors.Is(err, syscall.ENOBUFS) {
		*lost++
	}
	return errors.Is(err, errTimeout)
}

// TestReceiveBuffer: a smaller buffer overflows earlier.
func TestReceiveBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, srv := newToy(t, nl.Config{})
		fit := func(size int) int {
			c := dial(t, srv, nl.ConnConfig{Groups: 1})
			defer func() { c.Close(); synctest.Wait() }()
			if size > 0 {
				if err := c.SetReadBuffer(size); err != nil {
					t.Fatal(err)
				}
			}
			n := 0
			for range 5000 {
				n += srv.Notify(event(nltest.HostNetNS, make([]byte, 1000)...))
			}
			return n
		}
		small, normal, large := fit(1), fit(0), fit(1<<30)
		if small >= normal || normal >= large || large == 5000 {
			t.Errorf("%d, %d and %d notifications fit", small, normal, large)
		}
		srv.Close()
	})
}

// TestControlFlood: who sets options without reading the answers is dropped
// before that costs more memory than a queue.
func TestControlFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, srv := newToy(t, nl.Config{})
		client, server := nltest.Pipe(1)
		if err := srv.Attach(server, nltest.NewPeer()); err != nil {
			t.Fatal(err)
		}
		client.WritePacket(nl.NewControl(nl.OpHello, 1, toyProto, 0, 0, 0, 0).Append(nil))
		set := nl.NewControl(nl.OpSetOption, 1, uint32(nl.OptExtAck), 1).Append(nil)
		var err error
		n := 0
		for ; err == nil && n < 1<<20; n++ {
			err = client.WritePacket(set)
			if n%1000 == 0 {
				synctest.Wait()
			}
		}
		if !errors.Is(err, syscall.EPIPE) || n > 50000 {
			t.Errorf("after %d options: %v", n, err)
		}
		client.Close()
		srv.Close()
	})
}

// TestConcurrentUse: options, dumps, notifications, requests and departures
// of many clients at once.
func TestConcurrentUse(t *testing.T) {
	p, srv := newToy(t, nl.Config{MaxClientsPerUID: 1000})
	p.dump = counting(50, func(i int) int { return 500 }, nil, nil)
	var wg sync.WaitGroup
	fails := make(chan error, 100)
	for range 20 {
		wg.Go(func() {
			for range 10 {
				if err := exercise(srv); err != nil {
					fails <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(fails)
	for err := range fails {
		t.Error(err)
	}
}

// exercise uses one connection in several ways at the same time.
func exercise(srv *nl.Server) error {
	c, err := nltest.Connect(srv, nltest.NewPeer(), nl.ConnConfig{Protocol: toyProto})
	if err != nil {
		return err
	}
	defer c.Close()
	received := make(chan error, 1)
	go func() {
		for {
			ms, err := c.Receive()
			if err != nil && !errors.Is(err, syscall.ENOBUFS) {
				received <- err
				return
			}
			for _, m := range ms {
				if m.Header.Type == netlink.Done {
					received <- nil
					return
				}
			}
		}
	}()
	for i := range uint32(20) {
		if err := c.JoinGroup(1); err != nil {
			return fmt.Errorf("join: %w", err)
		}
		if err := c.WriteDatagram(request(toyEcho, netlink.Acknowledge, i)); err != nil {
			return err
		}
		srv.Notify(event(nltest.HostNetNS, 1, 2, 3, 4))
		srv.HasListeners(toyProto, nltest.HostNetNS, 1)
		if err := c.LeaveGroup(1); err != nil {
			return fmt.Errorf("leave: %w", err)
		}
	}
	if err := c.WriteDatagram(request(toyDump, netlink.Dump, 5)); err != nil {
		return err
	}
	return <-received
}
