package rtnlface

import (
	"bytes"

	"github.com/mdlayher/netlink"

	"ipoib/datapath"
	"ipoib/nl"
	"ipoib/nl/rtlink"
	"ipoib/nl/rtnl"
)

// onChange takes a change from the loop of an interface.
func (f *Face) onChange(c datapath.Change) {
	f.mu.Lock()
	f.queue = append(f.queue, c)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run tells of the changes that no request here caused.
func (f *Face) run() {
	defer close(f.done)
	for stop := false; !stop; {
		select {
		case <-f.stop:
			stop = true
		case <-f.wake:
		}
		f.rtnl.Lock()
		f.drain(nil, nil)
		f.rtnl.Unlock()
	}
}

// locked runs a change and tells of what it did before it is acknowledged. The
// link that do returns is the one that the request made or removed.
func (f *Face) locked(r *rtnl.Request, do func(*rtnl.Request) (*datapath.Interface, error)) error {
	f.rtnl.Lock()
	defer f.rtnl.Unlock()
	f.drain(nil, nil) // what happened before is told before
	i, err := do(r)
	f.drain(r, i)
	return err
}

// drain tells of the changes that wait, in order, and returns how many
// messages each interface got. r is a request that asks for an echo of what
// happened to subject, or nil. The caller holds rtnl.
func (f *Face) drain(r *rtnl.Request, subject *datapath.Interface) map[*datapath.Interface]int {
	told := make(map[*datapath.Interface]int)
	for {
		f.mu.Lock()
		list := f.queue
		f.queue = nil
		f.mu.Unlock()
		if len(list) == 0 {
			return told
		}
		for _, c := range list {
			echo := r
			if c.Interface != subject {
				echo = nil
			}
			told[c.Interface] += f.tell(echo, c)
		}
	}
}

// visible are the fields of Info that a link message shows and a change of
// which the kernel tells of.
type visible struct {
	name, alias                string
	ifindex, parent, mtu, qlen int
	up, carrier, noARP         bool
	addr, broadcast            [20]byte
}

func visibleOf(i *datapath.Info) visible {
	return visible{
		name: i.Name, alias: i.Alias, ifindex: i.Ifindex, parent: i.Parent, mtu: i.MTU, qlen: i.TxQueueLen,
		up: i.Up, carrier: i.Carrier, noARP: i.NoARP, addr: i.Addr, broadcast: i.Broadcast,
	}
}

// tell sends the messages of one change and returns how many: one for
// features, one for the rest.
func (f *Face) tell(r *rtnl.Request, c datapath.Change) (n int) {
	i, before, now := c.Interface, c.Old, c.New
	switch {
	case now == nil:
		if before != nil {
			f.send(r, i, before, rtlink.DelLink, rtlink.ChangeAll, nil)
			n++
		}
		delete(f.last, i)
		return n
	case before == nil:
		f.send(r, i, now, rtlink.NewLink, rtlink.ChangeAll, nil)
		return 1
	case before.NS != now.NS || before.Ifindex != now.Ifindex:
		f.send(nil, i, before, rtlink.DelLink, rtlink.ChangeAll, nil)
		delete(f.last, i)
		f.send(nil, i, now, rtlink.NewLink, rtlink.ChangeAll, nil)
		return 2
	}
	if before.Features.Active != now.Features.Active {
		// The features change before the MTU that a new mode brings.
		mid := *now
		mid.MTU = before.MTU
		f.send(nil, i, &mid, rtlink.NewLink, 0, new(rtlink.EventFeatures))
		n++
	}
	if visibleOf(before) == visibleOf(now) {
		return n
	}
	var change uint32
	if before.Up != now.Up {
		change = rtlink.FlagUp
	}
	f.send(nil, i, now, rtlink.NewLink, change, nil)
	return n + 1
}

// send sends a message about a link to the members of RTNLGRP_LINK in its
// namespace, and to the requester r that asks for an echo, unless r is nil. The
// kernel does not echo into another namespace.
func (f *Face) send(r *rtnl.Request, i *datapath.Interface, info *datapath.Info, t netlink.HeaderType, change uint32, event *uint32) {
	fill := func(e *nl.Encoder) error {
		raw := f.last[i]
		if t == rtlink.NewLink {
			// A link that is gone meanwhile is told of without the kernel's
			// part.
			if b, err := i.HostLink(); err == nil {
				raw = b
				f.last[i] = bytes.Clone(b) // b is part of something larger
			}
		}
		l := link(i, info, raw)
		l.Change, l.Event = change, event
		l.Append(e)
		return nil
	}
	var err error
	if ns := netNS(info.NS); r != nil && r.NetNS() == ns {
		err = r.NotifyAs(rtlink.Group, t, fill)
	} else {
		err = f.table.Notify(ns, rtlink.Group, t, fill)
	}
	if err != nil {
		f.log.Warn("cannot tell of a link", "ifname", info.Name, "err", err)
	}
}
