package datapath

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/jonboulle/clockwork"

	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/sa"
)

// subnetAdmin is the SubnetAdmin of a port over its SA client.
type subnetAdmin struct {
	client   *sa.Client
	ctx      context.Context
	stop     context.CancelFunc
	events   func()
	sendOnly atomic.Bool // SendOnlyFullMember is known
	noGroups atomic.Bool // no UD multicast
	changed  func()
}

// NewSubnetAdmin returns the SA client of a port for the driver (see
// System.NewSubnetAdmin).
func NewSubnetAdmin(p rdma.Port, clock clockwork.Clock, log *slog.Logger, changed func()) (SubnetAdmin, error) {
	c, err := sa.New(p, sa.Config{Clock: clock, Log: log})
	if err != nil {
		return nil, err
	}
	s := &subnetAdmin{client: c, changed: changed}
	// Until the SA tells otherwise it can do what every SA of today can.
	s.sendOnly.Store(true)
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.events = p.Device().SubscribeEvents(func(e rdma.AsyncEvent) {
		if e.Port != p.Num() {
			return
		}
		switch e.Type {
		case rdma.EventPortActive, rdma.EventClientReregister, rdma.EventSMChange:
			go s.askCapabilities()
		}
	})
	if p.Attr().State == rdma.PortActive {
		go s.askCapabilities()
	}
	return s, nil
}

// askCapabilities notes what the SA can do. Without an answer what was known
// before stays.
func (s *subnetAdmin) askCapabilities() {
	info, err := s.client.ClassPortInfo(s.ctx)
	if err != nil {
		return
	}
	s.sendOnly.Store(info.CapMask2&mad.SACap2SendOnlyFullMember != 0)
	none := info.CapMask&mad.SACapUDMulticast == 0
	if s.noGroups.Swap(none) != none {
		s.changed()
	}
}

func (s *subnetAdmin) NoMulticast() bool { return s.noGroups.Load() }

func (s *subnetAdmin) SendOnlyFullMember() bool { return s.sendOnly.Load() }

func (s *subnetAdmin) Path(q sa.PathQuery, done func(mad.PathRecord, error)) func() {
	return s.client.StartPath(q, func(r *mad.PathRecord, err error) {
		if err != nil {
			done(mad.PathRecord{}, err)
			return
		}
		done(*r, nil)
	})
}

func (s *subnetAdmin) Join(req mad.MCMemberRecord, mask mad.ComponentMask, done func(mad.MCMemberRecord, error)) func() {
	return s.client.Multicast().Join(req, mask, func(r *mad.MCMemberRecord, err error) {
		if err != nil {
			done(mad.MCMemberRecord{}, err)
			return
		}
		done(*r, nil)
	}).Leave
}

func (s *subnetAdmin) IsMember(mgid rdma.GID) bool {
	_, ok := s.client.Multicast().Lookup(mgid)
	return ok
}

func (s *subnetAdmin) ListGroups(done func([]mad.MCMemberRecord, error)) func() {
	ctx, cancel := context.WithCancel(s.ctx)
	go func() {
		list, err := s.client.Groups(ctx, mad.MCMemberRecord{}, 0)
		if ctx.Err() == nil {
			done(list, err)
		}
		cancel()
	}()
	return cancel
}

func (s *subnetAdmin) SubscribeGroups(fn func(mgid rdma.GID, created bool)) func() {
	return s.client.WatchGroups(func(e sa.GroupEvent) { fn(e.MGID, e.Created) })
}

func (s *subnetAdmin) Close() error {
	s.stop()
	s.events()
	return s.client.Close()
}
