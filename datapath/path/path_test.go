package path

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/datapath/encap"
	"ipoib/datapath/tun"
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

var (
	gid   = rdma.MakeGID(rdma.DefaultSubnetPrefix, 0xb)
	addr  = encap.UnicastAddr(0, 0x49, gid)
	addr2 = encap.UnicastAddr(0, 0x50, gid) // another queue pair of the same port
)

type ah struct{ lid rdma.LID }

func (a ah) Attr() rdma.AHAttr { return rdma.AHAttr{DLID: a.lid} }
func (a ah) Close() error      { return nil }

type bench struct {
	*Table
	posts     chan func()
	pool      *rdma.BufferPool
	queries   int
	cancelled int
	log       []string
	said      []string
	dropped   int
}

func newBench() *bench {
	b := &bench{posts: make(chan func(), 1024), pool: rdma.NewBufferPool()}
	b.Table = NewTable(clockwork.NewRealClock(), Hooks{
		Query: func(*Path) func() { b.queries++; return func() { b.cancelled++ } },
		MakeAH: func(p *Path) (rdma.AH, error) {
			if p.Record.DLID == 0 {
				return nil, rdma.ErrInvalid
			}
			return ah{p.Record.DLID}, nil
		},
		Send: func(_ *Peer, to Target, p tun.Packet) {
			b.log = append(b.log, fmt.Sprintf("send %d to LID %d QP %#x", p.Buf.Len(), to.AH.Attr().DLID, uint32(to.QPN)))
			p.Buf.Free()
		},
		Drop:        func(p tun.Packet) { b.dropped++; p.Buf.Free() },
		PeerChanged: func(p *Peer) { b.log = append(b.log, fmt.Sprint("changed ", p.Target.Load() != nil)) },
		InUse:       func(*Peer) bool { return false },
		PeerRemoved: func(*Peer) { b.log = append(b.log, "removed") },
		Post:        func(f func()) { b.posts <- f },
		Debugf:      func(format string, args ...any) { b.said = append(b.said, fmt.Sprintf(format, args...)) },
	})
	return b
}

func (b *bench) run(d time.Duration) {
	end := time.After(d)
	for {
		select {
		case f := <-b.posts:
			f()
		case <-end:
			return
		}
	}
}

func (b *bench) packet(n int) tun.Packet { return tun.Packet{Buf: b.pool.Get(n)} }

func (b *bench) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(b.log, want) {
		t.Errorf("got %q, want %q", b.log, want)
	}
	b.log = nil
}

func (b *bench) answer(lid rdma.LID) {
	b.Complete(b.Lookup(gid), mad.PathRecord{DLID: lid}, nil)
}

// TestSaid: what the driver logs of ARP packets and of the end of a path.
func TestSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		arp := func() tun.Packet {
			p := b.packet(60)
			encap.PutHeader(p.Buf.Bytes(), encap.EtherTypeARP)
			return p
		}
		b.SendARP(addr, arp()) // waits
		b.SendARP(addr, b.packet(9))
		b.answer(3)
		b.SendARP(addr2, arp())
		b.Flush()
		if want := []string{"Send unicast ARP to 00000003", "Send unicast ARP to 00000003", "path_free"}; !slices.Equal(b.said, want) {
			t.Errorf("%q", b.said)
		}
	})
}

func TestResolveAndSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		defer b.Flush()
		p := b.Peer(addr)
		for i := range MaxQueue + 2 {
			b.Send(p, b.packet(i+1))
		}
		if b.queries != 1 || b.dropped != 2 || p.Queued() != MaxQueue {
			t.Errorf("%d queries, %d dropped, %d queued", b.queries, b.dropped, p.Queued())
		}
		// Those that waited go first, then the transmitter may send.
		b.answer(3)
		b.want(t, "send 1 to LID 3 QP 0x49", "send 2 to LID 3 QP 0x49", "send 3 to LID 3 QP 0x49", "changed true")
		b.Send(p, b.packet(9))
		b.want(t, "send 9 to LID 3 QP 0x49")
		// A second peer behind the same GID needs no query.
		b.Send(b.Peer(addr2), b.packet(7))
		b.want(t, "changed true", "send 7 to LID 3 QP 0x50")
		if b.queries != 1 {
			t.Errorf("%d queries", b.queries)
		}
		// The flags octet does not make another peer, unless another kind of
		// node is there now.
		if b.Peer(addr.WithFlags(encap.FlagUC)) != p {
			t.Error("the flags identify a peer")
		}
		if n := b.Peer(addr.WithFlags(encap.FlagRC)); n == p || !p.Dead() || n.Dead() {
			t.Error("the peer does not follow its node")
		}
	})
}

func TestARPPacketsWaitApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		defer b.Flush()
		for i := range MaxQueue + 1 {
			b.SendARP(addr, b.packet(i+1))
		}
		if b.dropped != 1 || b.queries != 1 {
			t.Errorf("%d dropped, %d queries", b.dropped, b.queries)
		}
		b.Complete(b.Lookup(gid), mad.PathRecord{}, errors.New("no answer"))
		b.want(t) // ARP packets stay for the next attempt
		b.SendARP(addr2, b.packet(9))
		if b.queries != 2 {
			t.Errorf("%d queries", b.queries)
		}
		b.answer(4)
		b.want(t, "send 1 to LID 4 QP 0x49", "send 2 to LID 4 QP 0x49", "send 3 to LID 4 QP 0x49")
		b.SendARP(addr2, b.packet(5))
		b.want(t, "send 5 to LID 4 QP 0x50")
	})
}

func TestFailureRemovesPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		defer b.Flush()
		p := b.Peer(addr)
		b.Send(p, b.packet(1))
		b.Complete(b.Lookup(gid), mad.PathRecord{}, errors.New("no records"))
		b.want(t, "removed")
		if b.dropped != 1 || !p.Dead() || p.Target.Load() != nil {
			t.Errorf("%d dropped, dead %v", b.dropped, p.Dead())
		}
		b.Send(p, b.packet(1)) // a dead peer queues nothing
		if b.dropped != 2 {
			t.Errorf("%d dropped", b.dropped)
		}
		// A record that makes no address handle is a failure as well.
		b.Send(b.Peer(addr), b.packet(1))
		b.answer(0)
		if b.dropped != 3 {
			t.Errorf("%d dropped", b.dropped)
		}
	})
}

func TestInvalidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		defer b.Flush()
		p := b.Peer(addr)
		b.Send(p, b.packet(1))
		b.Invalidate(func(*Path) { t.Error("a query that runs is no valid path") })
		if b.queries != 2 || b.cancelled != 1 {
			t.Errorf("a running query is asked anew: %d queries, %d cancelled", b.queries, b.cancelled)
		}
		b.answer(3)
		b.log = nil
		marked := 0
		b.Invalidate(func(*Path) { marked++ })
		b.want(t, "changed false")
		if marked != 1 || b.queries != 2 {
			t.Errorf("%d marked, %d queries", marked, b.queries)
		}
		// Queried on the next use; the packet waits.
		b.Send(p, b.packet(2))
		if b.queries != 3 {
			t.Errorf("%d queries", b.queries)
		}
		b.answer(7)
		b.want(t, "send 2 to LID 7 QP 0x49", "changed true")
	})
}

// A message from another LID than the path's makes it queried once more; what
// is sent meanwhile goes the old way.
func TestSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		defer b.Flush()
		b.Seen(gid, 9) // no path, no query
		p := b.Peer(addr)
		b.Send(p, b.packet(1))
		b.Seen(gid, 9) // the answer is on its way
		if b.queries != 1 {
			t.Errorf("%d queries", b.queries)
		}
		b.answer(3)
		b.log = nil
		b.Seen(gid, 3)
		if b.queries != 1 {
			t.Error("queried although the LID is the known one")
		}
		b.Seen(gid, 9)
		b.Seen(gid, 9)
		b.Seen(gid, 8) // one query at a time
		if b.queries != 2 {
			t.Errorf("%d queries, want 2", b.queries)
		}
		b.Send(p, b.packet(2))
		b.want(t, "send 2 to LID 3 QP 0x49")
		b.answer(9)
		b.want(t, "changed true")
		b.Send(p, b.packet(3))
		b.want(t, "send 3 to LID 9 QP 0x49")
		// An SA that stays with its answer is not asked for ever; a third LID
		// is news.
		b.Seen(gid, 3)
		b.answer(9)
		b.Seen(gid, 3)
		if b.queries != 3 {
			t.Errorf("%d queries, want 3", b.queries)
		}
		b.Seen(gid, 4)
		if b.queries != 4 {
			t.Errorf("%d queries, want 4", b.queries)
		}
	})
}

// The query that Seen makes may fail: the path and its peers go, as with any
// other failure.
func TestSeenFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		defer b.Flush()
		p := b.Peer(addr)
		b.Send(p, b.packet(1))
		b.answer(3)
		b.Seen(gid, 9)
		b.log = nil
		b.Complete(b.Lookup(gid), mad.PathRecord{}, errors.New("no answer"))
		b.want(t, "removed")
		if !p.Dead() {
			t.Error("the peer lives")
		}
		b.Send(b.Peer(addr), b.packet(2))
		if b.queries != 3 {
			t.Errorf("%d queries", b.queries)
		}
	})
}

func TestIdlePeersGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		defer b.Flush()
		b.Send(b.Peer(addr), b.packet(1))
		b.answer(3)
		used := b.Peer(addr2)
		b.log = nil
		for range 4 {
			b.run(25 * time.Second)
			used.Touch(time.Now())
		}
		b.want(t, "removed")
		if used.Dead() || b.Lookup(gid) == nil {
			t.Error("a used peer, or the path, is gone")
		}
	})
}

func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.Send(b.Peer(addr), b.packet(1))
		b.SendARP(addr, b.packet(1))
		p := b.Lookup(gid)
		b.Flush()
		if b.dropped != 2 || b.cancelled != 1 || b.Lookup(gid) != nil {
			t.Errorf("%d dropped, %d cancelled", b.dropped, b.cancelled)
		}
		b.log = nil
		b.Complete(p, mad.PathRecord{DLID: 3}, nil) // a late answer changes nothing
		b.want(t)
		b.run(time.Hour) // no timer is left
	})
}
