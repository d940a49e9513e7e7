package nlsock

import (
	"net"
	"os"
	"slices"
	"strconv"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/wire"
	"ipoib/nl"
	"ipoib/nl/ethnl"
	"ipoib/nl/ipoibnl"
	"ipoib/nl/rtlink"
)

// own returns what answers a message in place of the kernel; nil leaves it to
// the kernel, whose answer may be rewritten.
func (s *sender) own(m *wire.Message) func() [][]byte {
	if m.Type < nl.MinType {
		return nil
	}
	w := s.s.world
	if s.s.proto == nl.ProtoGeneric {
		return s.ownGeneric(m)
	}
	sub := wire.RouteSubject(m)
	switch sub.Class {
	case wire.LinkChange:
		if s.ownLink(&sub) {
			return func() [][]byte { return s.forwardLink(m) }
		}
	case wire.LinkDump:
		if d, err := w.LinkDump(s.options(), m); err == nil && d != nil {
			s.dump(m, d)
		}
	case wire.NeighDump:
		s.neighDump(m, sub.Index)
	case wire.NeighGet, wire.NeighChange:
		r := wire.ParseNeigh(m)
		if sub.Index > 0 && !r.Proxy() && w.Resolve(sub.Index, "") != 0 {
			return func() [][]byte { return s.neighbour(m, sub, &r) }
		}
	}
	return nil
}

// dump notes that the answer to a request is to show the service's part.
func (s *sender) dump(m *wire.Message, d *wire.Dump) {
	s.s.lock(s.tr)
	defer s.s.mu.Unlock()
	if len(s.s.patch.Dumps) > 64 {
		clear(s.s.patch.Dumps) // of a program that does not read
	}
	s.s.patch.Dumps[m.Sequence] = d
}

// stacked are kinds of links that the kernel's driver does not let be put on
// top of its own. A TUN would.
var stacked = []string{"vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"}

// infiniband reports whether a link of the kernel's is of InfiniBand's type: an
// IPoIB interface that is not the service's.
func infiniband(w *world, index int32) bool {
	found := false
	_ = w.Inside(func() error {
		link, err := net.InterfaceByIndex(int(index))
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer closeFD(fd)
		ifr, err := unix.NewIfreq(link.Name)
		if err == nil {
			err = unix.IoctlIfreq(fd, unix.SIOCGIFHWADDR, ifr)
		}
		found = err == nil && ifr.Uint16() == rtlink.TypeInfiniBand
		return err
	})
	return found
}

// ownLink reports whether a change of a link is for the service.
func (s *sender) ownLink(sub *wire.Subject) bool {
	w := s.s.world
	if sub.Named() && w.Resolve(sub.Index, sub.Name) != 0 {
		return true
	}
	switch {
	case !sub.Create:
		return false
	case sub.Kind == rtlink.KindIPoIB:
		if sub.Parent == 0 || w.Resolve(sub.Parent, "") != 0 {
			return w.Running()
		}
		return !infiniband(w, sub.Parent) && w.Running()
	case slices.Contains(stacked, sub.Kind):
		return sub.Parent != 0 && w.Resolve(sub.Parent, "") != 0
	}
	return false
}

// forwardLink sends a change of a link to the service. A namespace that it
// names by a descriptor or a process of the program's is passed as a
// descriptor of the supervisor's.
func (s *sender) forwardLink(m *wire.Message) [][]byte {
	raw := slices.Clone(m.Raw)
	if typ, typeAt, valueAt, value := wire.NetNSAttr(m); typ != 0 {
		fd := -1
		if typ == rtlink.AttrNetNSFD {
			fd, _ = s.tr.Thread.Dup(int(int32(value)))
		} else if f, err := os.Open("/proc/" + strconv.Itoa(int(value)) + "/ns/net"); err == nil {
			defer func() { _ = f.Close() }()
			fd, _ = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		}
		if fd >= 0 {
			defer closeFD(fd)
			if !s.tr.Thread.NetAdmin(fd) {
				// The service would judge the supervisor.
				return [][]byte{wire.Ack(m.Raw, s.port, int(syscall.EPERM), s.options().CapAck)}
			}
			native.PutUint16(raw[typeAt:], rtlink.AttrNetNSFD)
			native.PutUint32(raw[valueAt:], uint32(fd))
		} else if typ == rtlink.AttrNetNSFD {
			native.PutUint32(raw[valueAt:], ^uint32(0))
		}
	}
	return s.forward(nl.ProtoRoute, raw, m.Raw)
}

// forward sends a request to the service and returns the datagrams of the
// answer as the kernel would send them. sent is what the program sent.
func (s *sender) forward(proto int, raw, sent []byte) [][]byte {
	ds, err := s.s.world.Exchange(proto, s.options(), raw)
	if err != nil {
		s.s.table.log.Debug("the service did not answer", "err", err)
		return [][]byte{wire.Ack(sent, s.port, int(syscall.ECONNRESET), s.options().CapAck)}
	}
	for _, d := range ds {
		for _, m := range wire.Split(d) {
			wire.SetPID(m.Raw, s.port)
			wire.RestoreQuote(&m, sent)
		}
		if proto == nl.ProtoGeneric {
			s.s.toKernelIDs(d)
		}
	}
	return ds
}

// ownGeneric is own for generic netlink.
func (s *sender) ownGeneric(m *wire.Message) func() [][]byte {
	w := s.s.world
	kernel := s.s.table.client.Kernel()
	if kernel.ID == 0 || m.Type != kernel.ID {
		return nil
	}
	sub := wire.EthtoolSubject(m)
	if asks, alone := wire.AsksFeatures(m); asks && !sub.Named() {
		if !alone || !s.s.table.procs.namesFromService(s.tr.TID) {
			return nil
		}
		return func() [][]byte { return s.forwardGeneric(m, nil) }
	}
	switch sub.Class {
	case wire.Ethtool:
		if !sub.Named() || w.Resolve(sub.Index, sub.Name) == 0 {
			if wire.Features(m) {
				s.s.table.procs.features(s.tr.TID, false)
			}
			return nil
		}
		var layout *wire.Layout
		if wire.Features(m) && s.s.table.procs.features(s.tr.TID, true) {
			layout = w.ToKernel()
		}
		return func() [][]byte { return s.forwardGeneric(m, layout) }
	case wire.EthtoolDump:
		if wire.Features(m) {
			s.s.table.procs.features(s.tr.TID, false)
		}
		if d, err := w.EthtoolDump(s.options(), m, kernel.ID); err == nil && d != nil {
			s.dump(m, d)
		}
	}
	return nil
}

// forwardGeneric sends a request of the ethtool family to the service. With a
// layout the answer's sets of features are translated to the kernel's table.
func (s *sender) forwardGeneric(m *wire.Message, layout *wire.Layout) [][]byte {
	w := s.s.world
	f, err := w.Ethtool()
	if err != nil {
		return [][]byte{wire.Ack(m.Raw, s.port, int(syscall.ENOENT), s.options().CapAck)}
	}
	var raw []byte
	if layout != nil {
		raw = m.WithBody(w.ToService().Request(m.Payload()))
	} else {
		raw = slices.Clone(wire.LimitGroups(m, len(ethnl.GlobalStrings(ethnl.SetStatsStd))))
	}
	wire.SetType(raw, f.ID)
	out := s.forward(nl.ProtoGeneric, raw, m.Raw)
	if layout == nil {
		return out
	}
	for i, d := range out {
		var b []byte
		for _, a := range wire.Split(d) {
			b = append(b, a.WithBody(layout.Reply(a.Payload()))...)
		}
		out[i] = b
	}
	return out
}

// neighDump prepares the dump of a neighbour table.
func (s *sender) neighDump(m *wire.Message, index int32) {
	w, r := s.s.world, wire.ParseNeigh(m)
	links, err := w.Links()
	if err != nil || len(links) == 0 || r.Proxy() {
		return
	}
	d := &wire.Dump{Ours: make(map[int32]bool, len(links))}
	for _, l := range links {
		d.Ours[l.Index] = true
	}
	if index == 0 || d.Ours[index] {
		list, err := w.Neighbours(index)
		if err != nil {
			return
		}
		for _, n := range list {
			if r.Match(&n) {
				d.Items = append(d.Items, wire.NeighItem(&n))
			}
		}
	}
	s.dump(m, d)
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
