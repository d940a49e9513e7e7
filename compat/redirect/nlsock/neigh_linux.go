package nlsock

import (
	"slices"
	"syscall"

	"github.com/mdlayher/netlink"

	"ipoib/compat/redirect/wire"
	"ipoib/nl/ipoibnl"
)

// neighDump returns what the service adds to the dump of a neighbour table.
func (s *sender) neighDump(m *wire.Message, index int32) (*wire.Dump, error) {
	w, r := s.s.world, wire.ParseNeigh(m)
	if r.Proxy() {
		return nil, nil
	}
	links, err := w.Links()
	if err != nil || len(links) == 0 {
		return nil, err
	}
	d := &wire.Dump{Ours: make(map[int32]bool, len(links))}
	for _, l := range links {
		d.Ours[l.Index] = true
	}
	if index == 0 || d.Ours[index] {
		list, err := w.Neighbours(index)
		if err != nil {
			return nil, err
		}
		for _, n := range list {
			if r.Match(&n) {
				d.Items = append(d.Items, wire.NeighItem(&n))
			}
		}
	}
	return d, nil
}

// neighbour answers a request about one neighbour.
func (s *sender) neighbour(m *wire.Message, sub wire.Subject, r *wire.NeighRequest) [][]byte {
	w, opts := s.s.world, s.options()
	ack := func(err error) [][]byte {
		if err == nil && m.Flags&netlink.Acknowledge == 0 {
			return nil
		}
		errno := 0
		if err != nil {
			errno = int(errnoOf(err))
		}
		return [][]byte{wire.Ack(m.Raw, s.port, errno, opts.CapAck)}
	}
	n := ipoibnl.Neigh{Ifindex: uint32(sub.Index), IP: r.IP, Addr: r.Addr}
	switch {
	case sub.Class == wire.NeighChange && !opts.Privileged:
		return ack(syscall.EPERM)
	case !r.IP.IsValid():
		return ack(syscall.EINVAL)
	case m.Type == wire.DelNeigh:
		return ack(w.DeleteNeighbour(opts, n))
	}
	list, err := w.Neighbours(sub.Index)
	if err != nil {
		return ack(err)
	}
	at := slices.IndexFunc(list, func(have ipoibnl.Neigh) bool { return have.IP == r.IP })
	if sub.Class == wire.NeighGet {
		if at < 0 {
			return ack(syscall.ENOENT)
		}
		it := wire.NeighItem(&list[at])
		reply := it.Message(netlink.Header{Sequence: m.Sequence, PID: s.port})
		return append([][]byte{reply}, ack(nil)...)
	}
	switch {
	case at >= 0 && m.Flags&netlink.Excl != 0:
		return ack(syscall.EEXIST)
	case at < 0 && m.Flags&netlink.Create == 0:
		return ack(syscall.ENOENT)
	}
	return ack(w.SetNeighbour(opts, n))
}
