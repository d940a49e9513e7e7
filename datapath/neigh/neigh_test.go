package neigh

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/datapath/encap"
	"ipoib/rdma"
)

type (
	entry = Entry[int, int]
	table = Table[int, int]
)

// bench is a table whose hooks write down what happens.
type bench struct {
	*table
	posts chan func()
	log   []string
}

func newBench() *bench {
	b := &bench{posts: make(chan func(), 1024)}
	note := func(what string) func(*entry, []int) {
		return func(e *entry, q []int) { b.log = append(b.log, fmt.Sprint(what, q)) }
	}
	b.table = NewTable(clockwork.NewRealClock(), rand.New(rand.NewPCG(1, 1)), Hooks[int, int]{
		Probe:   func(_ *entry, unicast bool) { b.log = append(b.log, fmt.Sprint("probe unicast=", unicast)) },
		Changed: note("changed"), Failed: note("failed"), Removed: note("removed"),
		Dropped: func(p int) { b.log = append(b.log, fmt.Sprint("dropped ", p)) },
		Post:    func(f func()) { b.posts <- f },
	})
	return b
}

// run runs the owner's loop for d of virtual time and returns what happened.
func (b *bench) run(d time.Duration) []string {
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
			log := b.log
			b.log = nil
			return log
		}
	}
}

var (
	ip    = netip.MustParseAddr("10.0.0.2")
	addr  = encap.UnicastAddr(0, 0x49, rdma.MakeGID(rdma.DefaultSubnetPrefix, 0xb))
	other = encap.UnicastAddr(0, 0x50, rdma.MakeGID(rdma.DefaultSubnetPrefix, 0xc))
)

// Each row walks one arrow of the picture in doc.go, or stays.
func TestTransitions(t *testing.T) {
	type step struct {
		do   func(*bench, *entry)
		wait time.Duration
	}
	send := step{do: func(b *bench, e *entry) { b.Send(e, 1) }}
	learn := func(a encap.HardwareAddr, reachable, override bool) step {
		return step{do: func(b *bench, e *entry) {
			b.Learn(e, Update{Addr: a, Reachable: reachable, Override: override})
		}}
	}
	answer := learn(addr, true, true)
	wait := func(d time.Duration) step { return step{wait: d} }
	// 30 s x 1.5 is the longest reachable time.
	reachableOver := wait(45 * time.Second)
	for _, c := range []struct {
		name  string
		steps []step
		state State
		addr  encap.HardwareAddr
	}{
		{"first packet", []step{send}, Incomplete, encap.HardwareAddr{}},
		{"answer", []step{send, answer}, Reachable, addr},
		{"no answer, two probes", []step{send, wait(2500 * time.Millisecond)}, Incomplete, encap.HardwareAddr{}},
		{"no answer", []step{send, wait(3100 * time.Millisecond)}, Failed, encap.HardwareAddr{}},
		{"packet after failure", []step{send, wait(4 * time.Second), send}, Incomplete, encap.HardwareAddr{}},
		{"late answer after failure", []step{send, wait(4 * time.Second), answer}, Reachable, addr},
		{"unasked announcement", []step{learn(addr, false, true)}, Stale, addr},
		{"announcement while asking", []step{send, learn(addr, false, true)}, Delay, addr},
		{"reachable time over", []step{send, answer, reachableOver}, Stale, addr},
		{"reachable before 15 s", []step{send, answer, wait(14 * time.Second)}, Reachable, addr},
		{"use of a stale entry", []step{send, answer, reachableOver, send}, Delay, addr},
		{"delay over", []step{send, answer, reachableOver, send, wait(5100 * time.Millisecond)}, Probe, addr},
		{"answer in delay", []step{send, answer, reachableOver, send, answer}, Reachable, addr},
		{"answer in probe", []step{send, answer, reachableOver, send, wait(6 * time.Second), answer}, Reachable, addr},
		{"no answer to probes", []step{send, answer, reachableOver, send, wait(8100 * time.Millisecond)}, Failed, addr},
		{"other address, override", []step{send, answer, learn(other, false, true)}, Stale, other},
		{"other address, no override", []step{send, answer, learn(other, false, false)}, Stale, addr},
		{"other address, no override, stale", []step{learn(addr, false, true), learn(other, false, false)}, Stale, addr},
		{"same address, unasked", []step{send, answer, learn(addr, false, true)}, Reachable, addr},
		{"confirmed", []step{learn(addr, false, true), {do: func(b *bench, e *entry) { b.Confirm(e) }}}, Reachable, addr},
		{"permanent", []step{{do: func(b *bench, e *entry) { b.SetPermanent(e, addr) }}, learn(other, true, true), wait(time.Hour)}, Permanent, addr},
		{"idle", []step{send, answer, wait(91 * time.Second)}, None, addr},
		{"failed and idle", []step{send, wait(95 * time.Second)}, None, encap.HardwareAddr{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				defer b.Close()
				e := b.Get(ip)
				for _, s := range c.steps {
					if s.do != nil {
						s.do(b, e)
					}
					b.run(s.wait)
				}
				if e.State() != c.state || e.Addr() != c.addr {
					t.Errorf("state %v address %v, want %v %v", e.State(), e.Addr(), c.state, c.addr)
				}
				if gone := b.Lookup(ip) == nil; gone != (c.state == None) || gone != e.Dead() {
					t.Errorf("in the table: %v, dead: %v", !gone, e.Dead())
				}
			})
		})
	}
}

func wantLog(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProbesAndQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		defer b.Close()
		e := b.Get(ip)
		for i := range QueueLen + 2 {
			if b.Send(e, i) {
				t.Fatal("sent without an address")
			}
		}
		wantLog(t, b.run(0), "probe unicast=false", "dropped 0", "dropped 1")
		wantLog(t, b.run(1500*time.Millisecond), "probe unicast=false")
		b.Learn(e, Update{Addr: addr, Reachable: true, Override: true})
		log := b.run(0)
		if len(log) != 1 || e.Queued() != 0 || log[0][:10] != "changed[2 " {
			t.Errorf("after the answer: %.40q", log)
		}
		if !b.Send(e, 1) {
			t.Error("a resolved entry queues")
		}
		b.run(45 * time.Second) // Stale
		if !e.Touch(time.Now()) || e.Touch(time.Now()) {
			t.Error("the first use of a stale entry must be told once")
		}
		b.Used(e)
		wantLog(t, b.run(7500*time.Millisecond), "probe unicast=true", "probe unicast=true", "probe unicast=true")
		b.Send(e, 7)
		wantLog(t, b.run(time.Second), "failed[]")
		b.Send(e, 8)
		wantLog(t, b.run(3100*time.Millisecond), "probe unicast=false", "probe unicast=false", "probe unicast=false", "failed[8]")
	})
}

func TestTargetOfFailedAndRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		defer b.Close()
		e := b.Get(ip)
		b.Learn(e, Update{Addr: addr})
		v := 5
		e.Target.Store(&v)
		b.Remove(e)
		b.Remove(e) // once only
		if e.Target.Load() != nil || !e.Dead() {
			t.Error("a removed entry still has its target")
		}
		wantLog(t, b.run(0), "changed[]", "removed[]")
	})
}

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		defer b.Close()
		a := netip.MustParseAddr("10.0.0.0")
		for range MaxEntries + 10 {
			b.Get(a)
			a = a.Next()
			if b.Len()%1024 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		if b.Len() != MaxEntries {
			t.Errorf("%d entries", b.Len())
		}
		if b.Lookup(a.Prev()) == nil {
			t.Error("the newest entry is gone")
		}
	})
}

// The lock time protects a young address from unasked changes.
func TestLockTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		defer b.Close()
		e := b.Get(ip)
		if b.Locked(e) {
			t.Error("an entry without address is locked")
		}
		b.Learn(e, Update{Addr: addr})
		if !b.Locked(e) {
			t.Error("a new address is not locked")
		}
		b.run(LockTime)
		if b.Locked(e) {
			t.Error("the lock does not end")
		}
	})
}
