package hostnettest

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"syscall"

	"ipoib/datapath/encap"
	"ipoib/datapath/hostnet"
)

// Addrs implements hostnet.Namespace.
func (n *Namespace) Addrs(ifindex int) (addrs []hostnet.Addr, err error) {
	err = n.do("list addresses", strconv.Itoa(ifindex), func(s *space) error {
		if ifindex != 0 && s.links[ifindex] == nil {
			return syscall.ENODEV
		}
		for _, l := range s.sorted() {
			if ifindex == 0 || l.Index == ifindex {
				addrs = append(addrs, l.addrs...)
			}
		}
		return nil
	})
	return addrs, err
}

// AddAddr implements hostnet.Namespace.
func (n *Namespace) AddAddr(a hostnet.Addr) error {
	return n.onLink("add address", a.Index, func(s *space, l *link) error {
		if !a.Prefix.IsValid() {
			return syscall.EINVAL
		}
		if slices.ContainsFunc(l.addrs, func(o hostnet.Addr) bool { return o.Prefix == a.Prefix }) {
			return syscall.EEXIST
		}
		l.addrs = append(l.addrs, a)
		f := hostnet.FamilyOf(a.Prefix.Addr())
		s.event(hostnet.Event{Type: hostnet.EventAddr, Addr: a})
		s.event(hostnet.Event{Type: hostnet.EventRoute, Family: f})
		if f == hostnet.IPv6 {
			s.event(hostnet.Event{Type: hostnet.EventGroups, Family: f, Index: l.Index})
		}
		return nil
	})
}

// DelAddr implements hostnet.Namespace.
func (n *Namespace) DelAddr(ifindex int, prefix netip.Prefix) error {
	return n.onLink("delete address", ifindex, func(s *space, l *link) error {
		for _, a := range l.addrs {
			if a.Prefix == prefix {
				s.dropAddr(l, a)
				return nil
			}
		}
		return syscall.EADDRNOTAVAIL
	})
}

// dropAddr removes an address. The caller holds mu.
func (s *space) dropAddr(l *link, a hostnet.Addr) {
	l.addrs = slices.DeleteFunc(l.addrs, func(o hostnet.Addr) bool { return o == a })
	f := hostnet.FamilyOf(a.Prefix.Addr())
	s.event(hostnet.Event{Type: hostnet.EventAddrGone, Addr: a})
	s.event(hostnet.Event{Type: hostnet.EventRoute, Family: f})
	if f == hostnet.IPv6 {
		s.event(hostnet.Event{Type: hostnet.EventGroups, Family: f, Index: l.Index})
	}
}

// staticRoute is a route that AddRoute made.
type staticRoute struct {
	prefix netip.Prefix
	route  hostnet.Route
}

// AddRoute adds a route, of any type, and returns a function that removes it.
// Among routes of the same prefix the newest wins.
func (n *Namespace) AddRoute(prefix netip.Prefix, r hostnet.Route) (remove func()) {
	s := n.s
	changed := hostnet.Event{Type: hostnet.EventRoute, Family: hostnet.FamilyOf(prefix.Addr())}
	defer s.deliver()
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.nextRoute
	s.nextRoute++
	s.routes[k] = staticRoute{prefix, r}
	s.event(changed)
	return func() {
		defer s.deliver()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.routes, k)
		s.event(changed)
	}
}

// Route implements hostnet.Namespace: own addresses, broadcasts and groups,
// then the longest prefix among the links' and those of AddRoute. With an OIF
// and nothing else, an IPv4 destination is on that link, as in Linux.
func (n *Namespace) Route(q hostnet.RouteQuery) (r hostnet.Route, err error) {
	err = n.do("look up route", q.Dst.String(), func(s *space) error {
		if !q.Dst.IsValid() {
			return syscall.EINVAL
		}
		r = s.route(q)
		return nil
	})
	return r, err
}

// route makes the lookup. The caller holds mu.
func (s *space) route(q hostnet.RouteQuery) hostnet.Route {
	if q.OIF != 0 && (s.links[q.OIF] == nil || !s.links[q.OIF].Up) {
		return hostnet.Route{Type: hostnet.RouteUnreachable}
	}
	limited := q.Dst == netip.AddrFrom4([4]byte{255, 255, 255, 255})
	best, bits := hostnet.Route{Type: hostnet.RouteUnreachable}, -1
	for _, l := range s.sorted() {
		if q.OIF != 0 && l.Index != q.OIF {
			continue
		}
		if q.Dst.IsMulticast() && l.Index == q.OIF {
			return hostnet.Route{Type: hostnet.RouteMulticast, OIF: l.Index}
		}
		for _, a := range l.addrs {
			own := a.Prefix.Addr()
			switch {
			case own == q.Dst:
				return hostnet.Route{Type: hostnet.RouteLocal, OIF: 1, PrefSrc: own}
			case limited && own.Is4(), q.Dst == a.Broadcast, q.Dst == lastOf(a.Prefix):
				return hostnet.Route{Type: hostnet.RouteBroadcast, OIF: l.Index, PrefSrc: own}
			case l.Up && !a.NoPrefixRoute && a.Prefix.Contains(q.Dst) && a.Prefix.Bits() > bits:
				best, bits = hostnet.Route{Type: hostnet.RouteUnicast, OIF: l.Index, PrefSrc: own}, a.Prefix.Bits()
			}
		}
	}
	numbers := make([]int, 0, len(s.routes))
	for k := range s.routes {
		numbers = append(numbers, k)
	}
	slices.SortFunc(numbers, func(a, b int) int { return cmp.Compare(b, a) })
	for _, k := range numbers {
		sr := s.routes[k]
		if sr.prefix.Contains(q.Dst) && sr.prefix.Bits() > bits &&
			(q.OIF == 0 || sr.route.OIF == 0 || sr.route.OIF == q.OIF) {
			best, bits = sr.route, sr.prefix.Bits()
		}
	}
	if bits < 0 && q.OIF != 0 && q.Dst.Is4() {
		best = hostnet.Route{Type: hostnet.RouteUnicast, OIF: q.OIF}
	}
	return best
}

// lastOf returns the broadcast address of an IPv4 prefix, else the zero Addr.
func lastOf(p netip.Prefix) netip.Addr {
	if !p.Addr().Is4() || p.Bits() > 30 {
		return netip.Addr{}
	}
	a := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		a[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(a)
}

// Groups implements hostnet.Namespace: the groups that each link has while it
// is up, and those of Join.
func (n *Namespace) Groups(ifindex int) (groups []netip.Addr, err error) {
	err = n.do("list groups", strconv.Itoa(ifindex), func(s *space) error {
		l := s.links[ifindex]
		if l == nil {
			return nil // as /proc, which has no line for it
		}
		if l.Up {
			groups = append(groups, netip.MustParseAddr("224.0.0.1"),
				netip.MustParseAddr("ff02::1"), netip.MustParseAddr("ff01::1"))
			for _, a := range l.addrs {
				if own := a.Prefix.Addr(); own.Is6() {
					groups = append(groups, encap.SolicitedNode(own))
				}
			}
		}
		groups = append(groups, l.joined...)
		slices.SortFunc(groups, netip.Addr.Compare)
		groups = slices.Compact(groups)
		return nil
	})
	return groups, err
}

// Join makes the host a member of a group, and Leave ends that, once for each
// Join.
func (n *Namespace) Join(ifindex int, group netip.Addr) error {
	return n.onLink("join", ifindex, func(s *space, l *link) error {
		l.joined = append(l.joined, group)
		s.event(hostnet.Event{Type: hostnet.EventGroups, Family: hostnet.FamilyOf(group), Index: l.Index})
		return nil
	})
}

// Leave ends a Join.
func (n *Namespace) Leave(ifindex int, group netip.Addr) error {
	return n.onLink("leave", ifindex, func(s *space, l *link) error {
		i := slices.Index(l.joined, group)
		if i < 0 {
			return syscall.EADDRNOTAVAIL
		}
		l.joined = slices.Delete(l.joined, i, i+1)
		s.event(hostnet.Event{Type: hostnet.EventGroups, Family: hostnet.FamilyOf(group), Index: l.Index})
		return nil
	})
}

// AddLink adds a link that is no TUN, for names that are taken and the like.
// Its index is chosen; the rest is as given.
func (n *Namespace) AddLink(l hostnet.Link) (ifindex int, err error) {
	err = n.do("add link", l.Name, func(s *space) error {
		if s.byName(l.Name) != nil {
			return syscall.EEXIST
		}
		x := &link{Link: l, lineUp: l.Carrier}
		s.insert(x)
		ifindex = x.Index
		return nil
	})
	return ifindex, err
}
