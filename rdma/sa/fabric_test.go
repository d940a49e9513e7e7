package sa_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/sa"
	"ipoib/rdma/soft"
	"ipoib/rdma/soft/sm"
)

// fabric is one switch with adapters, a manager at the first, and a client at
// each.
type fabric struct {
	t       *testing.T
	soft    *soft.Fabric
	sm      *sm.SM
	ports   []rdma.Port
	links   []*soft.Link
	clients []*sa.Client
}

func newFabric(t *testing.T, n int) *fabric {
	t.Helper()
	f := &fabric{t: t, soft: soft.NewFabric(soft.Options{Seed: 3})}
	sw, err := f.soft.AddSwitch(soft.SwitchConfig{NodeGUID: 0x200000, Ports: 8})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		h, err := f.soft.AddHCA(soft.HCAConfig{Name: fmt.Sprint("soft", i), NodeGUID: rdma.GUID(0x100000 + 2*i)})
		if err != nil {
			t.Fatal(err)
		}
		l, err := f.soft.Connect(h.At(1), sw.At(i+1))
		if err != nil {
			t.Fatal(err)
		}
		p, err := h.Port(1)
		if err != nil {
			t.Fatal(err)
		}
		c, err := sa.New(p, sa.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		f.links, f.ports, f.clients = append(f.links, l), append(f.ports, p), append(f.clients, c)
	}
	if f.sm, err = sm.New(f.ports[0], sm.Config{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.sm.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *fabric) up() {
	f.t.Helper()
	select {
	case <-f.sm.Ready():
	case <-time.After(time.Minute):
		f.t.Fatal("subnet is not up")
	}
}

func (f *fabric) gid(i int) rdma.GID {
	return rdma.MakeGID(rdma.DefaultSubnetPrefix, f.ports[i].GUID())
}

var bcast = rdma.MustParseGID("ff12:401b:ffff::ffff:ffff")

// host behaves like an IPoIB interface as far as the broadcast group goes: it
// joins it, and joins anew whenever that fails or is lost.
type host struct {
	f *fabric
	i int

	mu     sync.Mutex
	member bool
	losses int
	errs   []error
}

func (f *fabric) host(i int) *host {
	h := &host{f: f, i: i}
	h.join()
	return h
}

func (h *host) join() {
	rec := mad.MCMemberRecord{MGID: bcast, PortGID: h.f.gid(h.i), PKey: rdma.PKeyDefault, JoinState: mad.JoinFullMember}
	h.f.clients[h.i].Multicast().Join(rec, mad.MCRJoin, func(_ *mad.MCMemberRecord, err error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.member = err == nil
		if err == nil {
			return
		}
		h.errs = append(h.errs, err)
		delay := 2 * time.Second
		if errors.Is(err, sa.ErrReset) {
			h.losses++
			delay = 0
		}
		time.AfterFunc(delay, h.join)
	})
}

func (h *host) joined() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.member
}

// members returns the members of a group as the manager sees them.
func (f *fabric) members(mgid rdma.GID) []rdma.GID {
	st := f.sm.State()
	g, _ := st.Group(mgid)
	var out []rdma.GID
	for _, m := range g.Members {
		out = append(out, m.GID)
	}
	return out
}

// waitMembers waits until the broadcast group has the hosts.
func (f *fabric) waitMembers(limit time.Duration, hosts ...*host) {
	f.t.Helper()
	want := []rdma.GID{}
	for _, h := range hosts {
		want = append(want, f.gid(h.i))
	}
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		ok := slices.Equal(f.members(bcast), want)
		for _, h := range hosts {
			ok = ok && h.joined()
		}
		if ok {
			return
		}
		if time.Since(begin) > limit {
			for _, h := range hosts {
				h.mu.Lock()
				f.t.Logf("host %d: member %v, errors %v", h.i, h.member, h.errs)
				h.mu.Unlock()
			}
			f.t.Fatalf("members %v, want %v; %+v", f.members(bcast), want, f.sm.State().Stats)
		}
	}
}

func inFabric(t *testing.T, n int, fn func(t *testing.T, f *fabric)) {
	synctest.Test(t, func(t *testing.T) { fn(t, newFabric(t, n)) })
}

func TestFabricPathsAndGroups(t *testing.T) {
	inFabric(t, 3, func(t *testing.T, f *fabric) {
		f.up()
		ctx := t.Context()
		rec, err := f.clients[1].Path(ctx, sa.PathQuery{DGID: f.gid(2), SGID: f.gid(1), PKey: 0xffff})
		if err != nil || rec.DLID != f.ports[2].Attr().LID || rec.SLID != f.ports[1].Attr().LID {
			t.Errorf("%+v %v", rec, err)
		}
		if _, err := f.clients[1].Path(ctx, sa.PathQuery{DGID: rdma.MustParseGID("fe80::dead"), SGID: f.gid(1), PKey: 0xffff}); !errors.Is(err, mad.ErrNoRecords) || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("unknown GID: %v", err)
		}
		info, err := f.clients[1].ClassPortInfo(ctx)
		if err != nil || info.CapMask2&mad.SACap2SendOnlyFullMember == 0 || info.CapMask&mad.SACapUDMulticast == 0 {
			t.Errorf("%+v %v", info, err)
		}
		// More groups than one datagram holds: the table comes by RMPP.
		var created []sa.GroupEvent
		var mu sync.Mutex
		defer f.clients[0].WatchGroups(func(e sa.GroupEvent) {
			mu.Lock()
			defer mu.Unlock()
			created = append(created, e)
		})()
		time.Sleep(time.Second)
		var mine []*sa.Membership
		for i := range 30 {
			r := mad.MCMemberRecord{
				MGID: rdma.MustParseGID(fmt.Sprintf("ff12:401b:ffff::%x", i+1)), PortGID: f.gid(1), QKey: 0x0b1b, PKey: 0xffff,
				MTUSelector: 2, MTU: rdma.MTU2048, RateSelector: 2, Rate: rdma.Rate10, JoinState: 1,
			}
			got, m, err := f.clients[1].Multicast().JoinAndWait(ctx, r, mad.MCRJoinCreate, nil)
			if err != nil || got.MLID != rdma.LID(0xc001+i) {
				t.Fatalf("%+v %v", got, err)
			}
			mine = append(mine, m)
		}
		all, err := f.clients[2].Groups(ctx, mad.MCMemberRecord{}, 0)
		if err != nil || len(all) != 31 {
			t.Errorf("%d groups, %v", len(all), err)
		}
		one, err := f.clients[2].Group(ctx, bcast)
		if err != nil || one.MLID != 0xc000 || one.QKey != 0x0b1b {
			t.Errorf("%+v %v", one, err)
		}
		for _, m := range mine {
			m.Leave()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if st := f.sm.State(); len(st.Groups) != 1 {
			t.Errorf("%d groups after all left", len(st.Groups))
		}
		mu.Lock()
		defer mu.Unlock()
		n := 0
		for _, e := range created {
			if e.Created {
				n++
			}
		}
		if n != 30 || len(created) != 60 {
			t.Errorf("%d events, %d creations", len(created), n)
		}
	})
}

// TestFabricHeals: the hosts of a fabric come back to a working state from
// each of these, without a restart of their own.
func TestFabricHeals(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault func(f *fabric)
		limit time.Duration
	}{
		{"SM restart", func(f *fabric) { f.sm.Restart() }, 10 * time.Second},
		{"SA silence", func(f *fabric) {
			f.sm.Pause(true)
			f.sm.Restart() // makes the hosts join anew, in vain
			time.Sleep(20 * time.Second)
			f.sm.Pause(false)
		}, 20 * time.Second},
		{"link flap", func(f *fabric) {
			f.links[1].SetUp(false)
			time.Sleep(5 * time.Second)
			f.links[1].SetUp(true)
		}, 20 * time.Second},
		{"short link flap", func(f *fabric) {
			f.links[1].SetUp(false)
			f.links[1].SetUp(true)
		}, 20 * time.Second},
		{"the manager's link flaps", func(f *fabric) {
			f.links[0].SetUp(false)
			time.Sleep(15 * time.Second)
			f.links[0].SetUp(true)
		}, 40 * time.Second},
		{"loss and duplication", func(f *fabric) {
			for _, l := range f.links {
				l.SetFaults(soft.Faults{Loss: 0.05, Duplicate: 0.05})
			}
			f.sm.Restart()
			time.Sleep(time.Minute)
			f.sm.Restart()
		}, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inFabric(t, 4, func(t *testing.T, f *fabric) {
				f.up()
				var hosts []*host
				for i := range f.clients {
					hosts = append(hosts, f.host(i))
				}
				watch := f.clients[3].WatchGroups(func(sa.GroupEvent) {})
				defer watch()
				f.waitMembers(10*time.Second, hosts...)
				tt.fault(f)
				f.waitMembers(tt.limit, hosts...)
				time.Sleep(time.Minute)
				synctest.Wait()
				f.waitMembers(0, hosts...)
				if !f.clients[3].Subscribed() || len(f.sm.State().Subscriptions) != 2 {
					t.Errorf("subscriptions: %v %+v", f.clients[3].Subscribed(), f.sm.State().Subscriptions)
				}
				for i, p := range f.ports {
					if a := p.Attr(); a.State != rdma.PortActive || a.SMLID != f.ports[0].Attr().LID {
						t.Errorf("port %d: %+v", i, a)
					}
				}
			})
		})
	}
}

// TestFabricBeforeManager: clients that start before the manager come up with
// it.
func TestFabricBeforeManager(t *testing.T) {
	inFabric(t, 2, func(t *testing.T, f *fabric) {
		a, b := f.host(0), f.host(1)
		defer f.clients[1].WatchGroups(func(sa.GroupEvent) {})()
		f.waitMembers(time.Minute, a, b)
		time.Sleep(20 * time.Second)
		if !f.clients[1].Subscribed() {
			t.Error("not subscribed")
		}
	})
}
