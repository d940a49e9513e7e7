package mcast

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/datapath/encap"
	"ipoib/datapath/path"
	"ipoib/datapath/tun"
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

var (
	bcast = rdma.MustParseGID("ff12:401b:8001::ffff:ffff")
	all1  = rdma.MustParseGID("ff12:401b:8001::1")
	group = rdma.MustParseGID("ff12:401b:8001::f01:203")
	all2  = rdma.MustParseGID("ff12:401b:8001::2")
	own   = rdma.MakeGID(rdma.DefaultSubnetPrefix, 0xa)
)

type saError syscall.Errno

func (e saError) Error() string        { return syscall.Errno(e).Error() }
func (e saError) Errno() syscall.Errno { return syscall.Errno(e) }

// refused is what a non-zero SA status becomes; silent is no answer.
const (
	refused = saError(syscall.EINVAL)
	silent  = saError(syscall.ETIMEDOUT)
)

type ah struct{ mlid rdma.LID }

func (a ah) Attr() rdma.AHAttr { return rdma.AHAttr{DLID: a.mlid} }
func (a ah) Close() error      { return nil }

// bench is a table with an SA that answers by script: answer decides.
type bench struct {
	*Table
	posts   chan func()
	log     []string
	answer  func(rec mad.MCMemberRecord) error // nil record error: joined
	mute    bool                               // joins stay unanswered
	ready   bool
	create  bool
	skip    map[rdma.GID]bool
	mlid    rdma.LID
	pool    *rdma.BufferPool
	joins   []string
	sent    map[rdma.LID]int
	dropped int
	carrier int
}

func newBench() *bench {
	b := &bench{
		posts: make(chan func(), 4096), ready: true, create: true, mlid: 0xc000,
		pool: rdma.NewBufferPool(), sent: make(map[rdma.LID]int), skip: make(map[rdma.GID]bool),
		answer: func(mad.MCMemberRecord) error { return nil },
	}
	note := func(format string, args ...any) { b.log = append(b.log, fmt.Sprintf(format, args...)) }
	b.Table = NewTable(clockwork.NewRealClock(), Hooks{
		Join: func(g *Group, rec mad.MCMemberRecord, mask mad.ComponentMask) func() {
			b.joins = append(b.joins, fmt.Sprintf("%v state %d mask %#x", rec.MGID, rec.JoinState, uint64(mask)))
			if b.mute {
				return func() {}
			}
			err := b.answer(rec)
			if err == nil {
				rec.MLID = b.mlid
				b.mlid++
				if g.MGID == bcast {
					rec.QKey, rec.MTU, rec.Rate, rec.SL, rec.HopLimit = 0x80000b1b, rdma.MTU2048, rdma.Rate10, 3, 7
				}
			}
			alive, member := true, false
			b.posts <- func() {
				if alive {
					member = err == nil
					b.Joined(g, rec, err)
				}
			}
			return func() {
				if alive = false; member {
					note("leave %v state %d", rec.MGID, rec.JoinState)
				}
			}
		},
		Ready: func() bool { return b.ready },
		SendOnlyState: func() (mad.JoinState, bool) {
			if b.create {
				return mad.JoinSendOnlyFullMember, true
			}
			return mad.JoinSendOnlyNonMember, false
		},
		Skip:            func(g rdma.GID) bool { return b.skip[g] },
		BroadcastJoined: func(rec mad.MCMemberRecord) error { note("qkey %v mtu %v", rec.QKey, rec.MTU); return nil },
		Attach:          func(g *Group) error { note("attach %v", g.MGID); return nil },
		Detach:          func(g *Group) { note("detach %v", g.MGID) },
		MakeAH:          func(g *Group) (rdma.AH, error) { return ah{g.Record.MLID}, nil },
		CarrierOn:       func() { b.carrier++ },
		Send:            func(to path.Target, p tun.Packet) { b.sent[to.AH.Attr().DLID]++; p.Buf.Free() },
		Drop:            func(p tun.Packet) { b.dropped++; p.Buf.Free() },
		Post:            func(f func()) { b.posts <- f },
		Debugf:          func(format string, args ...any) { note("debug: "+format, args...) },
		Warnf:           func(format string, args ...any) { note("warn: "+format, args...) },
	})
	return b
}

// run runs the owner's loop for d of virtual time.
func (b *bench) run(d time.Duration) {
	end := time.After(d)
	for {
		select {
		case f := <-b.posts:
			f()
		case <-end:
			synctest.Wait()
			for len(b.posts) > 0 {
				(<-b.posts)()
			}
			return
		}
	}
}

func (b *bench) packet() tun.Packet { return tun.Packet{Buf: b.pool.Get(64)} }

func (b *bench) takeJoins() []string { j := b.joins; b.joins = nil; return j }

func (b *bench) count(text string) (n int) {
	for _, l := range b.log {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}

// up is a table whose broadcast group is joined.
func up() *bench {
	b := newBench()
	b.Start(bcast, own, 0x8001)
	b.run(0)
	b.takeJoins()
	b.log = nil
	return b
}

func wantJoins(t *testing.T, b *bench, want ...string) {
	t.Helper()
	if got := b.takeJoins(); !slices.Equal(got, want) {
		t.Errorf("joins %q, want %q", got, want)
	}
}

// The broadcast group is joined first, as full member with the minimal mask;
// nothing else before that.
func Test4391_S5_2_BroadcastFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.SetWanted(map[rdma.GID]bool{all1: true})
		b.Start(bcast, own, 0x8001)
		b.Send(group, b.packet(), true)
		if b.dropped != 1 {
			t.Error("a packet was not dropped before the broadcast group is joined")
		}
		wantJoins(t, b, "ff12:401b:8001::ffff:ffff state 1 mask 0x10083")
		b.run(0)
		// 4391-§10-10, -11: the other groups carry the parameters of the link.
		wantJoins(t, b, "ff12:401b:8001::1 state 1 mask 0x173f7")
		if b.carrier != 1 || !b.Up() || b.Broadcast().Record.SL != 3 {
			t.Errorf("carrier calls %d, up %v", b.carrier, b.Up())
		}
	})
}

func Test4391_S10_11_ParametersOfTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := up()
		var got mad.MCMemberRecord
		b.answer = func(rec mad.MCMemberRecord) error { got = rec; return nil }
		b.SetWanted(map[rdma.GID]bool{all1: true})
		want := mad.MCMemberRecord{
			MGID: all1, PortGID: own, PKey: 0x8001, JoinState: mad.JoinFullMember, QKey: 0x80000b1b,
			MTUSelector: mad.SelectExactly, MTU: rdma.MTU2048, RateSelector: mad.SelectExactly, Rate: rdma.Rate10,
			SL: 3, HopLimit: 7,
		}
		if got != want {
			t.Errorf("request %+v\nwant    %+v", got, want)
		}
	})
}

// Back-off 2, 4, 8, 16, 16 ... s, never given up (kernel
// ipoib_mcast_join_complete).
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.answer = func(mad.MCMemberRecord) error { return refused }
		var at []int
		start := time.Now()
		b.Start(bcast, own, 0x8001)
		for range 70 * 10 {
			if len(b.takeJoins()) > 0 {
				at = append(at, int(time.Since(start).Round(time.Second)/time.Second))
			}
			b.run(100 * time.Millisecond)
		}
		if want := []int{0, 2, 6, 14, 30, 46, 62}; !slices.Equal(at, want) {
			t.Errorf("attempts at %v s, want %v", at, want)
		}
		if n := b.count("warn: multicast join failed for ff12:401b:8001:0000:0000:0000:ffff:ffff, status -22"); n != 7 {
			t.Errorf("%d warnings: %q", n, b.log)
		}
		b.answer = func(mad.MCMemberRecord) error { return nil }
		b.run(17 * time.Second)
		if !b.Up() {
			t.Error("not joined after the SA recovered")
		}
	})
}

func TestLogLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.answer = func(mad.MCMemberRecord) error { return refused }
		b.Start(bcast, own, 0x8001)
		b.run(600 * time.Second)
		if n := b.count("warn: "); n != MaxLog {
			t.Errorf("%d warnings", n)
		}
		c := newBench()
		c.answer = func(mad.MCMemberRecord) error { return silent }
		c.Start(bcast, own, 0x8001)
		c.run(60 * time.Second)
		if c.count("warn: ") != 0 || c.count("debug: multicast join failed for ff12:401b:8001:0000:0000:0000:ffff:ffff, status -110") == 0 {
			t.Errorf("time-outs are for debugging only: %q", c.log)
		}
	})
}

// A sender joins send-only and is not attached (4391-§10-4, -5).
func Test4391_S10_4_SendOnlyJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := up()
		for range 3 {
			b.Send(group, b.packet(), true)
		}
		wantJoins(t, b, "ff12:401b:8001::f01:203 state 8 mask 0x173f7")
		b.run(0)
		if b.sent[0xc001] != 3 || b.count("attach") != 0 {
			t.Errorf("sent %v log %q", b.sent, b.log)
		}
		b.Send(group, b.packet(), true)
		if b.sent[0xc001] != 4 {
			t.Errorf("sent %v", b.sent)
		}
		// 4391-§10-6: one join for N packets.
		wantJoins(t, b)
	})
}

func TestSendOnlyQueueLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := up()
		b.mute = true
		for range MaxQueue + 5 {
			b.Send(group, b.packet(), true)
		}
		if b.dropped != 5 || b.Lookup(group).Queued() != MaxQueue {
			t.Errorf("%d dropped, %d queued", b.dropped, b.Lookup(group).Queued())
		}
	})
}

// Send-only gets one retry; the second failure drops the queue, and the entry
// sleeps until another packet comes.
func TestSendOnlyFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := up()
		b.answer = func(mad.MCMemberRecord) error { return silent }
		b.Send(group, b.packet(), true)
		b.run(1900 * time.Millisecond)
		if len(b.takeJoins()) != 1 || b.dropped != 0 {
			t.Errorf("dropped %d", b.dropped)
		}
		b.run(200 * time.Millisecond)
		if len(b.takeJoins()) != 1 || b.dropped != 1 {
			t.Errorf("after the retry: dropped %d", b.dropped)
		}
		b.run(time.Minute)
		wantJoins(t, b)
		b.answer = func(mad.MCMemberRecord) error { return nil }
		b.Send(group, b.packet(), true)
		b.run(0)
		if b.sent[0xc001] != 1 {
			t.Errorf("sent %v", b.sent)
		}
	})
}

// 4392-§4.2.5-1, -2: idle send-only membership ends; that of the broadcast
// group and of what the host listens to does not.
func Test4392_S4_2_5_1_IdleSendOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := up()
		b.SetWanted(map[rdma.GID]bool{all1: true})
		b.Send(group, b.packet(), true)
		b.run(59 * time.Second)
		if b.Lookup(group) == nil {
			t.Fatal("left too early")
		}
		b.run(35 * time.Second)
		if b.Lookup(group) != nil || b.count("leave ff12:401b:8001::f01:203 state 8") != 1 {
			t.Errorf("not left: %q", b.log)
		}
		b.run(10 * time.Minute)
		if b.Lookup(all1) == nil || !b.Up() || b.count("leave") != 1 {
			t.Errorf("left too much: %q", b.log)
		}
	})
}

// Groups that the host listens to are joined and left with it; a send-only
// entry is replaced.
func Test4391_S10_9_ListenAndLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := up()
		b.Send(group, b.packet(), true)
		b.run(0)
		b.takeJoins()
		b.SetWanted(map[rdma.GID]bool{group: true})
		wantJoins(t, b, "ff12:401b:8001::f01:203 state 1 mask 0x173f7")
		b.run(0)
		if b.Lookup(group).SendOnly() || b.count("attach ff12:401b:8001::f01:203") != 1 {
			t.Errorf("log %q", b.log)
		}
		b.SetWanted(map[rdma.GID]bool{group: true})
		wantJoins(t, b)
		b.SetWanted(nil)
		// 4391-§10-13.
		if b.Lookup(group) != nil || b.count("leave ff12:401b:8001::f01:203 state 1") != 1 || b.count("detach ff12:401b:8001::f01:203") != 1 {
			t.Errorf("log %q", b.log)
		}
	})
}

func TestUmcastSkips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := up()
		b.skip[group] = true
		b.SetWanted(map[rdma.GID]bool{group: true, all1: true})
		wantJoins(t, b, "ff12:401b:8001::1 state 1 mask 0x173f7")
	})
}

// 4391-§10-2, -3, -8 with RFC rules: no group, so packets of more than
// link-local scope go to the all-routers group, the others nowhere, until the
// group is created.
func Test4391_S10_2_AllRoutersFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := up()
		b.create = false
		exist := map[rdma.GID]bool{all2: true}
		b.answer = func(rec mad.MCMemberRecord) error {
			if exist[rec.MGID] {
				return nil
			}
			return refused
		}
		b.Send(group, b.packet(), true)
		wantJoins(t, b, "ff12:401b:8001::f01:203 state 4 mask 0x10083")
		b.run(0)
		wantJoins(t, b, "ff12:401b:8001::2 state 4 mask 0x10083")
		b.run(0)
		if b.sent[0xc000] != 1 {
			t.Errorf("while the all-routers group is unknown, by broadcast: %v", b.sent)
		}
		b.Send(group, b.packet(), true)
		if b.sent[0xc001] != 1 {
			t.Errorf("by the all-routers group: %v", b.sent)
		}
		b.Send(group, b.packet(), false)
		if b.dropped != 1 {
			t.Errorf("link-local: dropped %d", b.dropped)
		}
		wantJoins(t, b)
		exist[group] = true
		b.Created(group)
		b.Send(group, b.packet(), true)
		b.run(0)
		if b.sent[0xc002] != 1 {
			t.Errorf("after the creation: %v", b.sent)
		}
	})
}

// Absence is believed for a while only.
func TestAbsenceExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := up()
		b.create = false
		b.answer = func(rec mad.MCMemberRecord) error { return refused }
		b.Send(group, b.packet(), false)
		b.run(30 * time.Second)
		b.takeJoins()
		b.Send(group, b.packet(), false)
		b.run(0)
		wantJoins(t, b)
		b.run(31 * time.Second)
		b.Send(group, b.packet(), false)
		b.run(0)
		if len(b.takeJoins()) == 0 {
			t.Error("no new attempt after a minute")
		}
	})
}

// 4392-§4.2.5-3: after trap 67 nothing goes to the old MLID.
func Test4392_S4_2_5_3_GroupDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := up()
		b.Send(group, b.packet(), true)
		b.run(0)
		b.Deleted(group)
		b.Send(group, b.packet(), true)
		b.run(0)
		if b.sent[0xc001] != 1 || b.sent[0xc002] != 1 {
			t.Errorf("sent %v", b.sent)
		}
	})
}

// 4391-§11-2, -3: a router joins as NonMember and gets out of the way of a
// real membership.
func Test4391_S11_2_Router(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := up()
		b.SetRouter(map[rdma.GID]bool{group: true})
		wantJoins(t, b, "ff12:401b:8001::f01:203 state 2 mask 0x10083")
		b.run(0)
		if !b.Lookup(group).NonMember() || b.count("attach ff12:401b:8001::f01:203") != 1 {
			t.Errorf("log %q", b.log)
		}
		b.SetWanted(map[rdma.GID]bool{group: true})
		wantJoins(t, b, "ff12:401b:8001::f01:203 state 1 mask 0x173f7")
		b.SetWanted(nil)
		wantJoins(t, b, "ff12:401b:8001::f01:203 state 2 mask 0x10083")
		b.SetRouter(nil)
		if b.Lookup(group) != nil {
			t.Error("not left")
		}
	})
}

func TestNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.ready = false
		b.Start(bcast, own, 0x8001)
		b.run(time.Minute)
		wantJoins(t, b)
		b.Stop()
		b.Flush()
		b.ready = true
		b.Start(bcast, own, 0x8001)
		b.run(0)
		if !b.Up() {
			t.Error("not joined after the port came up")
		}
	})
}

// Stop and Flush leave nothing: no join in flight, no membership, no packet.
func TestStopFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := up()
		b.SetWanted(map[rdma.GID]bool{all1: true})
		b.run(0)
		b.mute = true
		b.Send(group, b.packet(), true)
		b.Stop()
		b.Flush()
		b.run(time.Hour)
		n := 0
		b.Groups(func(*Group) { n++ })
		if n != 0 || b.Broadcast() != nil || b.dropped != 1 {
			t.Errorf("%d groups, %d dropped", n, b.dropped)
		}
		if b.count("leave") != 2 || b.count("detach") != 2 {
			t.Errorf("log %q", b.log)
		}
		// What the host listens to is joined again by itself.
		b.mute = false
		b.takeJoins()
		b.Start(bcast, own, 0x8001)
		b.run(0)
		if len(b.takeJoins()) != 2 {
			t.Error("the wanted groups were forgotten")
		}
	})
}

// The order of the driver's messages when an interface comes up.
func TestMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.Start(bcast, own, 0x8001)
		b.SetWanted(map[rdma.GID]bool{all1: true})
		b.run(0)
		var got []string
		for _, l := range b.log {
			if s, ok := strings.CutPrefix(l, "debug: "); ok {
				got = append(got, s)
			}
		}
		want := []string{
			"starting multicast thread",
			"joining MGID ff12:401b:8001:0000:0000:0000:ffff:ffff",
			"restarting multicast task",
			"adding multicast entry for mgid ff12:401b:8001:0000:0000:0000:0000:0001",
			"join completion for ff12:401b:8001:0000:0000:0000:ffff:ffff (status 0)",
			"MGID ff12:401b:8001:0000:0000:0000:ffff:ffff AV, LID 0xc000, SL 3",
			"joining MGID ff12:401b:8001:0000:0000:0000:0000:0001",
			"successfully started all multicast joins",
			"join completion for ff12:401b:8001:0000:0000:0000:0000:0001 (status 0)",
			"MGID ff12:401b:8001:0000:0000:0000:0000:0001 AV, LID 0xc001, SL 3",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	})
}

func TestIsLinkLocal(t *testing.T) {
	for s, want := range map[string]bool{
		"224.0.0.22": true, "224.0.1.1": false, "239.1.2.3": false,
		"ff02::1": true, "ff01::1": true, "ff05::2": false, "ff3e::1": false,
	} {
		if got := IsLinkLocal(encap.IP{Dst: netip.MustParseAddr(s)}); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
}
