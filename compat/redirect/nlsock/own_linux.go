package nlsock

import (
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/upstream"
	"ipoib/compat/redirect/wire"
	"ipoib/nl"
	"ipoib/nl/ethnl"
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
		own, err := s.ownLink(&sub)
		if err != nil {
			return s.refuse(m, err)
		}
		if own {
			return func() [][]byte { return s.forwardLink(m) }
		}
	case wire.LinkDump:
		d, err := w.LinkDump(s.options(), m)
		return s.dump(m, d, err)
	case wire.NeighDump:
		d, err := s.neighDump(m, sub.Index)
		return s.dump(m, d, err)
	case wire.NeighGet, wire.NeighChange:
		r := wire.ParseNeigh(m)
		if sub.Index <= 0 || r.Proxy() {
			return nil
		}
		index, err := w.Resolve(sub.Index, "")
		if err != nil {
			return s.refuse(m, err)
		}
		if index != 0 {
			return func() [][]byte { return s.neighbour(m, sub, &r) }
		}
	}
	return nil
}

// refuse answers a request with the errno of an error: what the kernel would
// answer is not true of the service's links.
func (s *sender) refuse(m *wire.Message, err error) func() [][]byte {
	return func() [][]byte {
		return [][]byte{wire.Ack(m.Raw, s.port, int(errnoOf(err)), s.options().CapAck)}
	}
}

// dump has the kernel's answer to a request show the service's part, unless that
// is nil, or refuses it.
func (s *sender) dump(m *wire.Message, d *wire.Dump, err error) func() [][]byte {
	if errors.Is(err, upstream.ErrNoAnswer) {
		return s.refuse(m, err)
	}
	if err != nil || d == nil {
		return nil
	}
	s.s.lock(s.tr)
	defer s.s.mu.Unlock()
	if len(s.s.patch.Dumps) > 64 {
		clear(s.s.patch.Dumps) // of a program that does not read
	}
	s.s.patch.Dumps[m.Sequence] = d
	return nil
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
func (s *sender) ownLink(sub *wire.Subject) (bool, error) {
	w := s.s.world
	if index, err := w.Resolve(sub.Index, sub.Name); err != nil || index != 0 {
		return true, err
	}
	if !sub.Create || sub.Kind != rtlink.KindIPoIB && !slices.Contains(stacked, sub.Kind) {
		return false, nil
	}
	parent, err := w.Resolve(sub.Parent, "")
	if err != nil {
		return false, err
	}
	if sub.Kind != rtlink.KindIPoIB {
		return parent != 0, nil
	}
	return (sub.Parent == 0 || parent != 0 || !infiniband(w, sub.Parent)) && w.Running(), nil
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
		errno := syscall.ECONNRESET
		if errors.Is(err, upstream.ErrNoAnswer) {
			errno = errnoOf(err)
		}
		return [][]byte{wire.Ack(sent, s.port, int(errno), s.options().CapAck)}
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
		index, err := w.Resolve(sub.Index, sub.Name)
		if err != nil {
			return s.refuse(m, err)
		}
		if index == 0 {
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
		d, err := w.EthtoolDump(s.options(), m, kernel.ID)
		return s.dump(m, d, err)
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
