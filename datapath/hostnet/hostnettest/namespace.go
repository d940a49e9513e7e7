package hostnettest

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"ipoib/datapath/hostnet"
	"ipoib/datapath/tun/tuntest"
)

// space is what all handles of a network namespace share.
type space struct {
	host *Host
	id   hostnet.ID
	name string
	path string
	// abandoned is guarded by host.mu.
	abandoned bool

	mu sync.Mutex
	// The fields below are guarded by mu.
	links     map[int]*link
	lastIndex int
	routes    map[int]staticRoute // by number, in the order of AddRoute
	nextRoute int
	handles   map[*Namespace]struct{}
}

// link is a link with what belongs to it.
type link struct {
	hostnet.Link
	lineUp  bool // the carrier, whether the link is up or not
	addrs   []hostnet.Addr
	joined  []netip.Addr
	sysctls map[string]string
	speed   Speed
	tun     *tuntest.Host // nil for other kinds
	noGSO   bool

	// What ChangeLink was given.
	flags    uint32
	attrs    map[uint16][]byte
	altNames []string
}

// Speed is what SetSpeed was told.
type Speed struct {
	Mbps   int
	Duplex hostnet.Duplex
}

// Namespace is a handle of a network namespace; it implements
// hostnet.Namespace. Its further methods are what an administrator, or the
// kernel, would do.
type Namespace struct {
	s    *space
	file *os.File
	// closed and watchers are guarded by s.mu.
	closed   bool
	watchers map[*watcher]struct{}
}

var _ hostnet.Namespace = (*Namespace)(nil)

// open makes a handle.
func (s *space) open() (*Namespace, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	n := &Namespace{s: s, file: f, watchers: make(map[*watcher]struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handles[n] = struct{}{}
	return n, nil
}

// ID implements hostnet.Namespace.
func (n *Namespace) ID() hostnet.ID { return n.s.id }

// Name implements hostnet.Namespace.
func (n *Namespace) Name() string { return n.s.name }

// File implements hostnet.Namespace. The file stands for the namespace in
// tun.Config and Host.ByFile of this package.
func (n *Namespace) File() *os.File { return n.file }

// Close implements hostnet.Namespace.
func (n *Namespace) Close() error {
	n.s.mu.Lock()
	if n.closed {
		n.s.mu.Unlock()
		return nil
	}
	n.closed = true
	delete(n.s.handles, n)
	var list []*watcher
	for w := range n.watchers {
		list = append(list, w)
	}
	n.s.mu.Unlock()
	for _, w := range list {
		w.Close()
	}
	return n.file.Close()
}

// do runs fn, names its error and delivers the events that it made.
func (n *Namespace) do(op, what string, fn func(s *space) error) error {
	defer n.s.deliver()
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	err := hostnet.ErrClosed
	if !n.closed {
		err = fn(n.s)
	}
	if err == nil {
		return nil
	}
	return &hostnet.OpError{Op: op, Link: what, Err: err}
}

// onLink runs fn on a link and announces the link when it changed.
func (n *Namespace) onLink(op string, ifindex int, fn func(s *space, l *link) error) error {
	return n.do(op, strconv.Itoa(ifindex), func(s *space) error {
		l := s.links[ifindex]
		if l == nil {
			return syscall.ENODEV
		}
		err := fn(s, l)
		if err == nil && s.links[ifindex] == l {
			s.announce(l)
		}
		return err
	})
}

// byName returns a link. The caller holds mu.
func (s *space) byName(name string) *link {
	for _, l := range s.links {
		if l.Name == name || slices.Contains(l.altNames, name) {
			return l
		}
	}
	return nil
}

// sorted returns the links by index. The caller holds mu.
func (s *space) sorted() []*link {
	var list []*link
	for _, l := range s.links {
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b *link) int { return a.Index - b.Index })
	return list
}

// Links implements hostnet.Namespace.
func (n *Namespace) Links() (links []hostnet.Link, err error) {
	err = n.do("list links", "", func(s *space) error {
		for _, l := range s.sorted() {
			links = append(links, l.Link)
		}
		return nil
	})
	return links, err
}

// LinkByIndex implements hostnet.Namespace.
func (n *Namespace) LinkByIndex(ifindex int) (got hostnet.Link, err error) {
	err = n.onLink("get link", ifindex, func(_ *space, l *link) error {
		got = l.Link
		return nil
	})
	return got, err
}

// LinkByName implements hostnet.Namespace.
func (n *Namespace) LinkByName(name string) (got hostnet.Link, err error) {
	err = n.do("get link", name, func(s *space) error {
		l := s.byName(name)
		if l == nil {
			return syscall.ENODEV
		}
		got = l.Link
		return nil
	})
	return got, err
}

// SetUp implements hostnet.Namespace.
func (n *Namespace) SetUp(ifindex int, up bool) error {
	return n.onLink("set state", ifindex, func(s *space, l *link) error {
		s.setUp(l, up)
		return nil
	})
}

// setUp sets the state of a link; IPv6 addresses end with it. The caller holds
// mu.
func (s *space) setUp(l *link, up bool) {
	l.Up = up
	if l.tun != nil {
		l.tun.SetUp(up)
	}
	if up {
		return
	}
	for _, a := range slices.Clone(l.addrs) {
		if a.Prefix.Addr().Is6() {
			s.dropAddr(l, a)
		}
	}
}

// SetMTU implements hostnet.Namespace. The limits are those of a TUN.
func (n *Namespace) SetMTU(ifindex, mtu int) error {
	return n.onLink("set mtu", ifindex, func(_ *space, l *link) error {
		if mtu < 68 || mtu > 65535 {
			return syscall.EINVAL
		}
		l.MTU = mtu
		return nil
	})
}

// SetName implements hostnet.Namespace.
func (n *Namespace) SetName(ifindex int, name string) error {
	return n.onLink("set name", ifindex, func(s *space, l *link) error {
		switch o := s.byName(name); {
		case !validName(name):
			return syscall.EINVAL
		case o != nil && o != l:
			return syscall.EEXIST
		}
		l.Name = name
		if l.tun != nil {
			l.tun.Rename(name)
		}
		return nil
	})
}

// SetTxQueueLen implements hostnet.Namespace.
func (n *Namespace) SetTxQueueLen(ifindex, length int) error {
	return n.onLink("set txqueuelen", ifindex, func(_ *space, l *link) error {
		l.TxQueueLen = length
		return nil
	})
}

// SetAlias implements hostnet.Namespace.
func (n *Namespace) SetAlias(ifindex int, alias string) error {
	return n.onLink("set alias", ifindex, func(_ *space, l *link) error {
		l.Alias = alias
		return nil
	})
}

// SetAddrGenMode implements hostnet.Namespace.
func (n *Namespace) SetAddrGenMode(ifindex int, m hostnet.AddrGenMode) error {
	return n.onLink("set addrgenmode", ifindex, func(_ *space, l *link) error {
		l.AddrGenMode = m
		return nil
	})
}

// Move implements hostnet.Namespace, towards another Namespace of this
// package. As in the kernel, the link is there when others hear that it left.
func (n *Namespace) Move(ifindex int, to hostnet.Namespace) error {
	t, ok := to.(*Namespace)
	if !ok || t.s.host != n.s.host {
		return &hostnet.OpError{Op: "move", Link: strconv.Itoa(ifindex), Err: errors.ErrUnsupported}
	}
	if t.s == n.s {
		return nil
	}
	defer n.s.deliver()
	defer t.s.deliver()
	first, second := n.s, t.s
	if second.id.Ino < first.id.Ino {
		first, second = second, first
	}
	first.mu.Lock()
	defer first.mu.Unlock()
	second.mu.Lock()
	defer second.mu.Unlock()
	l := n.s.links[ifindex]
	var err error
	switch {
	case n.closed || t.closed:
		err = hostnet.ErrClosed
	case l == nil:
		err = syscall.ENODEV
	case t.s.byName(l.Name) != nil:
		err = syscall.EEXIST
	default:
		n.s.setUp(l, false)
		n.s.remove(l, true)
		l.joined = nil
		t.s.insert(l)
		return nil
	}
	return &hostnet.OpError{Op: "move", Link: strconv.Itoa(ifindex), Err: err}
}

// DeleteLink implements hostnet.Namespace.
func (n *Namespace) DeleteLink(ifindex int) error {
	var device *tuntest.Host
	err := n.onLink("delete", ifindex, func(s *space, l *link) error {
		device = l.tun
		s.remove(l, false)
		return nil
	})
	if device != nil {
		device.Remove()
	}
	return err
}

// remove takes a link with its addresses and routes out. The caller holds mu.
func (s *space) remove(l *link, moved bool) {
	for _, a := range slices.Clone(l.addrs) {
		s.dropAddr(l, a)
	}
	for k, r := range s.routes {
		if r.route.OIF == l.Index {
			delete(s.routes, k)
			s.event(hostnet.Event{Type: hostnet.EventRoute, Family: hostnet.FamilyOf(r.prefix.Addr())})
		}
	}
	delete(s.links, l.Index)
	s.event(hostnet.Event{Type: hostnet.EventLinkGone, Link: l.Link, Moved: moved})
}

// SetSpeed implements hostnet.Namespace; see Speed.
func (n *Namespace) SetSpeed(ifname string, mbps int, d hostnet.Duplex) error {
	return n.do("set speed", ifname, func(s *space) error {
		l := s.byName(ifname)
		if l == nil {
			return syscall.ENODEV
		}
		l.speed = Speed{mbps, d}
		return nil
	})
}

// Speed returns what SetSpeed was last told for a link.
func (n *Namespace) Speed(ifname string) (sp Speed) {
	_ = n.do("get speed", ifname, func(s *space) error {
		if l := s.byName(ifname); l != nil {
			sp = l.speed
		}
		return nil
	})
	return sp
}

// SetGSO implements hostnet.Namespace; see GSO.
func (n *Namespace) SetGSO(ifname string, on bool) error {
	return n.do("set generic segmentation", ifname, func(s *space) error {
		l := s.byName(ifname)
		if l == nil {
			return syscall.ENODEV
		}
		l.noGSO = !on
		return nil
	})
}

// GSO returns what SetGSO was last told for a link; links start with it on.
func (n *Namespace) GSO(ifname string) (on bool) {
	_ = n.do("get generic segmentation", ifname, func(s *space) error {
		if l := s.byName(ifname); l != nil {
			on = !l.noGSO
		}
		return nil
	})
	return on
}

func sysctlKey(f hostnet.Family, key string) string { return f.String() + "." + key }

// Sysctl implements hostnet.Namespace; a key that was never set reads "0".
func (n *Namespace) Sysctl(f hostnet.Family, ifname, key string) (value string, err error) {
	err = n.do("read sysctl "+key, ifname, func(s *space) error {
		l := s.byName(ifname)
		if l == nil {
			return syscall.ENOENT
		}
		if value = l.sysctls[sysctlKey(f, key)]; value == "" {
			value = "0"
		}
		return nil
	})
	return value, err
}

// SetSysctl implements hostnet.Namespace.
func (n *Namespace) SetSysctl(f hostnet.Family, ifname, key, value string) error {
	return n.do("write sysctl "+key, ifname, func(s *space) error {
		l := s.byName(ifname)
		if l == nil {
			return syscall.ENOENT
		}
		if l.sysctls == nil {
			l.sysctls = make(map[string]string)
		}
		l.sysctls[sysctlKey(f, key)] = value
		return nil
	})
}
