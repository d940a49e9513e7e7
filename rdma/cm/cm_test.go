package cm

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/mad/madtest"
)

// TestHandshake is the course of a connection that goes well, with all that
// the messages carry.
func TestHandshake(t *testing.T) {
	inBench(t, func(b *bench) {
		b.connect()
		mads, _ := b.take()
		var req mad.REQ
		if len(mads) != 1 || mads[0].Attr(&req) != nil || mads[0].Header() != (mad.Header{
			BaseVersion: 1, Class: mad.ClassCM, ClassVersion: 2, Method: mad.MethodSend, AttrID: mad.AttrREQ, TID: mads[0].TID(),
		}) {
			t.Fatalf("sent %v", mads)
		}
		want := testREQ()
		want.LocalCommID, want.LocalCAGUID = b.conn.LocalID(), testGUID
		if req != want {
			t.Errorf("REQ %+v", req)
		}
		b.tid = mads[0].TID()
		b.peer(mad.AttrREP, b.rep())
		_, events := b.take()
		if len(events) != 1 || events[0].Conn != b.conn || events[0].REP.LocalQPN != peerQPN || string(events[0].Private[:5]) != "reply" {
			t.Fatalf("events %+v", events)
		}
		if err := b.conn.Confirm([]byte("ready")); err != nil {
			t.Fatal(err)
		}
		mads, _ = b.take()
		var rtu mad.RTU
		if describe(mads, nil) != "RTU" || mads[0].Attr(&rtu) != nil || mads[0].TID() != b.tid ||
			rtu.LocalCommID != b.conn.LocalID() || rtu.RemoteCommID != peerID || string(rtu.PrivateData[:6]) != "ready\x00" {
			t.Errorf("sent %v %+v", mads, rtu)
		}
		if err := b.conn.Disconnect([]byte("bye")); err != nil {
			t.Fatal(err)
		}
		mads, _ = b.take()
		var dreq mad.DREQ
		if describe(mads, nil) != "DREQ" || mads[0].Attr(&dreq) != nil || mads[0].TID() == b.tid ||
			dreq.RemoteQPN != peerQPN || dreq.RemoteCommID != peerID || string(dreq.PrivateData[:3]) != "bye" {
			t.Errorf("sent %v %+v", mads, dreq)
		}
	})
}

// TestAccept is the same from the other side.
func TestAccept(t *testing.T) {
	inBench(t, func(b *bench) {
		r := peerREQ()
		b.peer(mad.AttrREQ, &r)
		if b.req == nil || b.req.REQ != r || b.req.From.LID != 2 {
			t.Fatalf("request %+v", b.req)
		}
		if err := b.accept(); err != nil {
			t.Fatal(err)
		}
		mads, _ := b.take()
		var rep mad.REP
		if describe(mads, nil) != "REP" || mads[0].Attr(&rep) != nil || mads[0].TID() != b.tid ||
			rep.LocalCommID != b.conn.LocalID() || rep.RemoteCommID != peerID || rep.LocalCAGUID != testGUID || rep.LocalQPN != ownQPN {
			t.Errorf("sent %v %+v", mads, rep)
		}
		// Data overtakes the RTU, which is told for its private data.
		b.stimulate("data")
		b.stimulate("RTU")
		b.stimulate("RTU")
		_, events := b.take()
		if describe(nil, events) != "established, established" || events[0].Private != nil || string(events[1].Private[:5]) != "ready" {
			t.Errorf("events %v", describe(nil, events))
		}
		b.stimulate("DREQ")
		mads, events = b.take()
		var drep mad.DREP
		if describe(mads, events) != "DREP, disconnected" || mads[0].Attr(&drep) != nil || mads[0].TID() != b.tid ||
			drep.LocalCommID != b.conn.LocalID() || drep.RemoteCommID != peerID {
			t.Errorf("sent %v %+v", mads, drep)
		}
	})
}

// TestRetries counts how often, and when, each message is sent again.
func TestRetries(t *testing.T) {
	wait := Duration(testTimeout) + 2*Duration(testLife)
	for _, c := range []struct {
		side string
		st   State
		what string
		wait time.Duration
	}{
		{"active", ReqSent, "REQ", wait}, {"passive", RepSent, "REP", wait},
		{"active", DreqSent, "DREQ", wait}, {"passive", DreqSent, "DREQ", wait},
	} {
		inBench(t, func(b *bench) {
			b.reach(c.side, c.st)
			for k, want := range []string{c.what, ""} {
				time.Sleep(c.wait - time.Microsecond)
				if mads, events := b.take(); describe(mads, events) != "" {
					t.Errorf("%v try %d came early: %s", c.st, k, describe(mads, events))
				}
				time.Sleep(time.Microsecond)
				if mads, _ := b.take(); describe(mads, nil) != want {
					t.Errorf("%v try %d: %s", c.st, k, describe(mads, nil))
				}
			}
			if b.conn.State() == c.st || b.cm.Counters().Retries != 1 {
				t.Errorf("%v after the last try, %d retries", b.conn.State(), b.cm.Counters().Retries)
			}
		})
	}
}

// TestRequesterGivesUp: a REJ with reason timeout finds the connection by the
// node GUID of its sender, who has no communication ID of ours.
func TestRequesterGivesUp(t *testing.T) {
	inBench(t, func(b *bench) {
		b.reach("passive", RepSent)
		rej := &mad.REJ{LocalCommID: peerID, Reason: mad.RejectTimeout, InfoLength: 8}
		putGUID(rej.ARI[:], peerGUID+1)
		b.peer(mad.AttrREJ, rej)
		if b.conn.State() != RepSent {
			t.Fatal("a stranger's REJ counts")
		}
		putGUID(rej.ARI[:], peerGUID)
		b.peer(mad.AttrREJ, rej)
		if _, events := b.take(); b.conn.State() != Closed || len(events) != 1 || events[0].REJ.Reason != mad.RejectTimeout {
			t.Errorf("%v, %v", b.conn.State(), events)
		}
	})
	// And the other way round.
	inBench(t, func(b *bench) {
		b.connect()
		b.take()
		b.conn.Close()
		mads, _ := b.take()
		var rej mad.REJ
		if describe(mads, nil) != "REJ 4" || mads[0].Attr(&rej) != nil || rej.LocalCommID != b.conn.LocalID() ||
			rej.InfoLength != 8 || hex.EncodeToString(rej.ARI[:8]) != "00005eef1000000a" || string(rej.PrivateData[:6]) != "notice" {
			t.Errorf("%v %+v", mads, rej)
		}
	})
}

// TestRefused are the requests that the CM refuses by itself.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*mad.REQ)
		reason mad.RejectReason
	}{
		"unknown service": {func(r *mad.REQ) { r.ServiceID++ }, mad.RejectInvalidServiceID},
		"UC":              {func(r *mad.REQ) { r.TransportService = mad.ServiceUC }, mad.RejectInvalidTransport},
		"XRC":             {func(r *mad.REQ) { r.TransportService = mad.ServiceExtended }, mad.RejectInvalidTransport},
	} {
		inBench(t, func(b *bench) {
			r := peerREQ()
			c.change(&r)
			b.peer(mad.AttrREQ, &r)
			mads, _ := b.take()
			var rej mad.REJ
			if len(mads) != 1 || mads[0].AttrID() != mad.AttrREJ || mads[0].Attr(&rej) != nil || mads[0].TID() != b.tid ||
				rej.Reason != c.reason || rej.LocalCommID != 0 || rej.RemoteCommID != peerID || rej.Message != mad.CMMessageREQ {
				t.Errorf("%s: %v %+v", name, mads, rej)
			}
			if b.req != nil || b.cm.Len() != 0 {
				t.Errorf("%s: request %v, %d connections", name, b.req, b.cm.Len())
			}
		})
	}
}

// TestStaleConnection: the peer has forgotten a connection and uses its queue
// pair for a new one (IBA 12.9.8.3.1).
func TestStaleConnection(t *testing.T) {
	inBench(t, func(b *bench) {
		b.reach("passive", Established)
		old := b.conn
		r := peerREQ()
		r.LocalCommID++
		b.peer(mad.AttrREQ, &r)
		mads, events := b.take()
		if describe(mads, events) != "REJ 10, DREQ, disconnected" {
			t.Fatalf("%s", describe(mads, events))
		}
		b.peer(mad.AttrDREP, &mad.DREP{LocalCommID: peerID, RemoteCommID: old.LocalID()})
		b.peer(mad.AttrREQ, &r) // too early: timewait
		if mads, _ := b.take(); describe(mads, nil) != "REJ 10" {
			t.Fatalf("in timewait: %s", describe(mads, nil))
		}
		time.Sleep(time.Second)
		b.req = nil
		b.peer(mad.AttrREQ, &r)
		if b.req == nil || b.cm.Len() != 1 {
			t.Errorf("request %v, %d connections", b.req, b.cm.Len())
		}
	})
	// The REP of a peer whose queue pair belongs to another connection.
	inBench(t, func(b *bench) {
		b.reach("active", Established)
		b.connect()
		b.take()
		rep := b.rep()
		rep.LocalCommID++
		b.peer(mad.AttrREP, rep)
		mads, events := b.take()
		if describe(mads, events) != "REJ 10, DREQ, disconnected, rejected" || b.conn.State() != Closed {
			t.Errorf("%s in %v", describe(mads, events), b.conn.State())
		}
	})
	// The same communication ID with another queue pair.
	inBench(t, func(b *bench) {
		b.reach("passive", Established)
		r := peerREQ()
		r.LocalQPN++
		b.peer(mad.AttrREQ, &r)
		if mads, _ := b.take(); describe(mads, nil) != "REJ 30" {
			t.Errorf("%s", describe(mads, nil))
		}
	})
}

// TestUnknown are messages about connections that nobody knows.
func TestUnknown(t *testing.T) {
	inBench(t, func(b *bench) {
		for _, c := range []struct {
			attr mad.AttrID
			msg  mad.Attribute
			want string
		}{
			{mad.AttrREP, &mad.REP{LocalCommID: 1, RemoteCommID: 2}, "REJ 6"},
			{mad.AttrDREQ, &mad.DREQ{LocalCommID: 1, RemoteCommID: 2}, "DREP"},
			{mad.AttrDREP, &mad.DREP{LocalCommID: 1, RemoteCommID: 2}, ""},
			{mad.AttrRTU, &mad.RTU{LocalCommID: 1, RemoteCommID: 2}, ""},
			{mad.AttrMRA, &mad.MRA{LocalCommID: 1, RemoteCommID: 2}, ""},
			{mad.AttrREJ, &mad.REJ{LocalCommID: 1, RemoteCommID: 2}, ""},
			{mad.AttrLAP, &mad.RTU{LocalCommID: 1, RemoteCommID: 2}, ""},
		} {
			b.peer(c.attr, c.msg)
			if mads, _ := b.take(); describe(mads, nil) != c.want {
				t.Errorf("%v: %s, not %s", c.attr, describe(mads, nil), c.want)
			}
		}
		// A message of a connection with another ID of the peer's.
		b.reach("passive", Established)
		b.peer(mad.AttrDREQ, &mad.DREQ{LocalCommID: peerID + 1, RemoteCommID: b.conn.LocalID()})
		if mads, _ := b.take(); describe(mads, nil) != "DREP" || b.conn.State() != Established {
			t.Errorf("%s in %v", describe(mads, nil), b.conn.State())
		}
	})
}

// TestCloseIsReliable: a DREQ that is lost is sent again, after the consumer
// has gone.
func TestCloseIsReliable(t *testing.T) {
	inBench(t, func(b *bench) {
		b.reach("active", Established)
		b.conn.Close()
		b.conn.Close()
		time.Sleep(40 * time.Millisecond)
		b.stimulate("DREP")
		mads, events := b.take()
		if describe(mads, events) != "DREQ, DREQ" || b.conn.State() != Timewait {
			t.Errorf("%s in %v", describe(mads, events), b.conn.State())
		}
	})
}

func TestErrors(t *testing.T) {
	inBench(t, func(b *bench) {
		if _, err := b.cm.Listen(testService, nil); !errors.Is(err, ErrListening) {
			t.Errorf("second listener: %v", err)
		}
		if _, err := New(Config{Port: b.net.Port(1)}); !errors.Is(err, rdma.ErrInUse) {
			t.Errorf("second CM: %v", err)
		}
		b.reach("active", ReqSent)
		if err := b.conn.Confirm(nil); !errors.Is(err, ErrState) {
			t.Errorf("early RTU: %v", err)
		}
		b.peer(mad.AttrREP, b.rep())
		if err := b.conn.Confirm(make([]byte, mad.RTUPrivateLen+1)); !errors.Is(err, ErrPrivateData) {
			t.Errorf("long private data: %v", err)
		}
		if _, err := b.cm.Connect(ConnectConfig{Notice: make([]byte, 149)}, nil); !errors.Is(err, ErrPrivateData) {
			t.Errorf("long notice: %v", err)
		}
		_ = b.cm.Close()
		if err := b.conn.Confirm(nil); !errors.Is(err, ErrState) {
			t.Errorf("RTU after close: %v", err)
		}
		if _, err := b.cm.Connect(ConnectConfig{}, nil); !errors.Is(err, rdma.ErrClosed) {
			t.Errorf("connect after close: %v", err)
		}
		if _, err := b.cm.Listen(1, nil); !errors.Is(err, rdma.ErrClosed) {
			t.Errorf("listen after close: %v", err)
		}
		if err := b.cm.Close(); !errors.Is(err, rdma.ErrClosed) {
			t.Errorf("second close: %v", err)
		}
	})
	// A listener that was closed.
	inBench(t, func(b *bench) {
		l, err := b.cm.Listen(1, func(*Request) { t.Error("accepted") })
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		r := peerREQ()
		r.ServiceID = 1
		b.peer(mad.AttrREQ, &r)
		if mads, _ := b.take(); describe(mads, nil) != "REJ 8" {
			t.Errorf("%s", describe(mads, nil))
		}
	})
}

// TestTwoCMs connects two CMs over a network that loses every third datagram.
func TestTwoCMs(t *testing.T) {
	inBench(t, func(b *bench) {
		other, err := New(Config{Port: b.net.Port(3), NodeGUID: 3, Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		b.net.SetFilter(func(madtest.Packet) []time.Duration {
			if n++; n%3 == 0 {
				return nil
			}
			return []time.Duration{time.Millisecond, 2 * time.Millisecond}
		})
		established, over := 0, 0
		_, err = other.Listen(7, func(r *Request) {
			_, _ = r.Accept(AcceptConfig{REP: mad.REP{LocalQPN: r.REQ.LocalQPN + 1000}}, func(e Event) {
				switch e.Type {
				case EventEstablished:
					established++
				case EventDisconnected:
					over++
				}
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		const total = 20
		var conns []*Conn
		for k := range total {
			req := testREQ()
			req.ServiceID, req.MaxCMRetries, req.LocalQPN = 7, 15, rdma.QPN(100+k)
			c, err := b.cm.Connect(ConnectConfig{To: b.net.Port(3).Addr(), REQ: req, PacketLifeTime: testLife}, func(e Event) {
				if e.Type == EventReply {
					_ = e.Conn.Confirm(nil)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if established != total {
			t.Errorf("%d of %d established", established, total)
		}
		for _, c := range conns {
			c.Close()
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if over != total || b.cm.Len() != 0 || other.Len() != 0 {
			t.Errorf("%d ended, %d and %d left", over, b.cm.Len(), other.Len())
		}
		_ = other.Close()
	})
}

func TestTimeCodes(t *testing.T) {
	for code, want := range map[uint8]time.Duration{0: 4096, 8: 1048576, 20: 4294967296} {
		if got := Duration(code); got != want {
			t.Errorf("Duration(%d) = %d", code, got)
		}
		if got := Code(want); got != code {
			t.Errorf("Code(%v) = %d", want, got)
		}
		if got := Code(want + 1); got != code+1 {
			t.Errorf("Code(%v) = %d", want+1, got)
		}
	}
	if Code(1<<62) != 31 {
		t.Error("no end")
	}
}

// FuzzReceive feeds datagrams to a CM that has a connection in each state: none
// may make it panic, or leave more behind than requests that wait.
func FuzzReceive(f *testing.F) {
	data, err := os.ReadFile("testdata/frames.txt")
	if err != nil {
		f.Fatal(err)
	}
	for block := range strings.SplitSeq(string(data), "\n\n") {
		_, hexa, _ := strings.Cut(block, "\n")
		frame, err := hex.DecodeString(strings.Join(strings.Fields(hexa), ""))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame[28:284], uint32(0), byte(0))
	}
	for _, attr := range []mad.AttrID{mad.AttrREQ, mad.AttrMRA, mad.AttrREJ, mad.AttrREP, mad.AttrRTU, mad.AttrDREQ, mad.AttrDREP} {
		r := peerREQ()
		m := message(1, attr, &r)
		for st := range byte(4) {
			f.Add(m[:], uint32(peerID), st)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, remote uint32, st byte) {
		inBench(t, func(b *bench) {
			switch st & 3 {
			case 0:
				b.reach("active", ReqSent)
			case 1:
				b.reach("active", Established)
			case 2:
				b.reach("passive", RepSent)
			case 3:
				b.reach("passive", Timewait)
			}
			var m mad.MAD
			copy(m[:], data)
			m[1], m[2], m[3] = uint8(mad.ClassCM), mad.CMClassVersion, uint8(mad.MethodSend)
			if m.AttrID() != mad.AttrREQ {
				// Aim at the connection.
				d := m.CMData()
				binary.BigEndian.PutUint32(d, remote)
				binary.BigEndian.PutUint32(d[4:], b.conn.LocalID())
			}
			b.peerMAD(&m)
			if b.cm.Len() > 2 {
				t.Errorf("%d connections", b.cm.Len())
			}
		})
	})
}
