package datapath

import (
	"cmp"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/jonboulle/clockwork"

	"ipoib/datapath/hostnet"
	"ipoib/datapath/tun"
	"ipoib/rdma"
)

// System is what the driver needs from outside.
type System struct {
	// Host opens network namespaces.
	Host hostnet.Host
	// OpenTUN opens a TUN device (tun.Open).
	OpenTUN func(tun.Config) (tun.Device, error)
	// Poller reads the TUN devices; nil reads each on a goroutine of its own.
	Poller *tun.Poller
	// NewSubnetAdmin makes the SA client of a port, which calls changed when
	// the SA's capabilities are others than before; nil is the function of
	// that name.
	NewSubnetAdmin func(p rdma.Port, changed func()) (SubnetAdmin, error)
	// RequestPKey asks whoever manages the subnet that the port becomes a
	// member of a partition; nil where nobody can be asked. Its success is
	// seen in the P_Key table.
	// ReleasePKey takes such a request back.
	RequestPKey, ReleasePKey func(rdma.Port, rdma.PKey)
	// Clock, Seed and Log default to the real clock, 0 and nothing.
	Clock clockwork.Clock
	Seed  uint64
	Log   *slog.Logger
}

// Driver holds the ports and interfaces of one service: what the module
// ib_ipoib is to the kernel.
type Driver struct {
	// Debug are the debug levels, which may change at any time.
	Debug DebugLevels

	sys    System
	params Params
	limit  limiter

	mu     sync.Mutex
	rng    *rand.Rand // guarded by mu, as is all below
	ports  []*port
	ifaces []*Interface
	spaces map[hostnet.ID]*netns
	subs   map[int]func(Change)
	nextID int

	// topology serializes what makes and removes interfaces.
	topology sync.Mutex

	// closers are the TUNs that the kernel has not let go of yet; closing has
	// an element for each.
	closers sync.WaitGroup
	closing chan struct{}
}

// maxClosing bounds the TUNs that are being closed: each takes a thread.
const maxClosing = 32

// New returns a driver without ports.
func New(sys System, params Params) *Driver {
	if sys.Clock == nil {
		sys.Clock = clockwork.NewRealClock()
	}
	if sys.Log == nil {
		sys.Log = slog.New(slog.DiscardHandler)
	}
	if sys.NewSubnetAdmin == nil {
		sys.NewSubnetAdmin = func(p rdma.Port, changed func()) (SubnetAdmin, error) {
			return NewSubnetAdmin(p, sys.Clock, sys.Log, changed)
		}
	}
	return &Driver{
		sys: sys, params: params.Normalize(),
		limit:  limiter{clock: sys.Clock, sites: make(map[string]*site)},
		rng:    rand.New(rand.NewPCG(sys.Seed, 0x4391)),
		spaces: make(map[hostnet.ID]*netns), subs: make(map[int]func(Change)),
		closing: make(chan struct{}, maxClosing),
	}
}

// Params returns the parameters as they are in effect.
func (d *Driver) Params() Params { return d.params }

// Change tells of an interface that is new (Old is nil), changed, or gone (New
// is nil).
type Change struct {
	Interface *Interface
	Old, New  *Info
}

// Subscribe calls fn for every change, until the returned function is called;
// for one that is on its way then it may be called a moment later. fn is called
// on the loops of interfaces: it must not block, nor call setters.
func (d *Driver) Subscribe(fn func(Change)) (cancel func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := d.nextID
	d.nextID++
	d.subs[id] = fn
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.subs, id)
	}
}

func (d *Driver) notify(c Change) {
	d.mu.Lock()
	fns := make([]func(Change), 0, len(d.subs))
	for _, fn := range d.subs {
		fns = append(fns, fn)
	}
	d.mu.Unlock()
	for _, fn := range fns {
		fn(c)
	}
}

// Interfaces lists the interfaces of a namespace by ifindex, or of all
// namespaces for the zero ID.
func (d *Driver) Interfaces(ns hostnet.ID) []*Interface {
	d.mu.Lock()
	list := slices.Clone(d.ifaces)
	d.mu.Unlock()
	list = slices.DeleteFunc(list, func(i *Interface) bool {
		return ns != (hostnet.ID{}) && i.info.Load().NS != ns
	})
	slices.SortFunc(list, func(a, b *Interface) int {
		x, y := a.info.Load(), b.info.Load()
		return cmp.Or(cmp.Compare(x.NS.Ino, y.NS.Ino), cmp.Compare(x.Ifindex, y.Ifindex))
	})
	return list
}

// ByName returns an interface of a namespace, or nil.
func (d *Driver) ByName(ns hostnet.ID, name string) *Interface {
	return d.find(func(i *Info) bool { return i.Name == name && i.NS == ns })
}

// ByAltName returns an interface of a namespace by any name that the host
// knows it by, or nil.
func (d *Driver) ByAltName(ns hostnet.ID, name string) *Interface {
	if i := d.ByName(ns, name); i != nil {
		return i
	}
	n, err := d.space(ns)
	if err != nil {
		return nil
	}
	l, err := n.ns.LinkByName(name)
	if err != nil {
		return nil
	}
	return d.ByIndex(ns, l.Index)
}

// ByIndex returns an interface of a namespace, or nil.
func (d *Driver) ByIndex(ns hostnet.ID, ifindex int) *Interface {
	return d.find(func(i *Info) bool { return i.Ifindex == ifindex && i.NS == ns })
}

func (d *Driver) find(match func(*Info) bool) *Interface {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, i := range d.ifaces {
		if match(i.info.Load()) {
			return i
		}
	}
	return nil
}

// children returns the children of a parent.
func (d *Driver) children(p *Interface) []*Interface {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []*Interface
	for _, i := range d.ifaces {
		if i.parent == p {
			out = append(out, i)
		}
	}
	return out
}

// onPort returns the interfaces of a port, children first.
func (d *Driver) onPort(p *port) []*Interface {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []*Interface
	for _, i := range d.ifaces {
		if i.port == p {
			out = append(out, i)
		}
	}
	slices.SortStableFunc(out, func(a, b *Interface) int {
		return cmp.Compare(boolInt(a.parent == nil), boolInt(b.parent == nil))
	})
	return out
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// PortConfig says how the parent interface of a port is made.
type PortConfig struct {
	// Port is the port of the channel adapter.
	Port rdma.Port
	// NS is the network namespace of the interface; the driver takes it over.
	NS hostnet.Namespace
	// Name is the interface name; "ib%d" lets the kernel count.
	Name string
	// Restore is the state that an interface had before; nil makes a new one.
	Restore *State
}

// AddPort makes the parent interface of a port.
func (d *Driver) AddPort(cfg PortConfig) (*Interface, error) {
	d.topology.Lock()
	defer d.topology.Unlock()
	if cfg.Name == "" {
		cfg.Name = "ib%d"
	}
	p := &port{drv: d, rdma: cfg.Port}
	sa, err := d.sys.NewSubnetAdmin(cfg.Port, p.onCapabilities)
	if err != nil {
		_ = cfg.NS.Close()
		return nil, system("add port", cfg.Name, err)
	}
	p.sa = sa
	p.openCM()
	pk, err := cfg.Port.PKey(0)
	if err != nil {
		pk = rdma.PKeyDefault
	}
	cc := createConfig{port: p, ns: cfg.NS, name: cfg.Name, pkey: pk.Full(), restore: cfg.Restore}
	if cfg.Restore != nil {
		cc.addr = cfg.Restore.GUID
	}
	i, err := d.create(cc)
	if err != nil {
		p.closeClients()
		return nil, err
	}
	p.cancel = []func(){cfg.Port.Device().SubscribeEvents(p.onEvent), sa.SubscribeGroups(p.onGroup)}
	d.mu.Lock()
	d.ports = append(d.ports, p)
	d.mu.Unlock()
	i.start()
	return i, nil
}

// RemovePort removes the interfaces of a device's port. keep leaves their TUNs
// to a later process.
func (d *Driver) RemovePort(rp rdma.Port, keep bool) {
	d.topology.Lock()
	defer d.topology.Unlock()
	d.mu.Lock()
	at := slices.IndexFunc(d.ports, func(p *port) bool {
		return p.rdma.GUID() == rp.GUID() && p.rdma.Device() == rp.Device()
	})
	if at < 0 {
		d.mu.Unlock()
		return
	}
	p := d.ports[at]
	d.ports = slices.Delete(d.ports, at, at+1)
	d.mu.Unlock()
	d.closePort(p, keep)
}

func (d *Driver) closePort(p *port, keep bool) {
	for _, fn := range p.cancel {
		fn()
	}
	// The kernel waits for its readers with each device that goes, so that
	// many go together; parents are last.
	var gone sync.WaitGroup
	some := make(chan struct{}, removals)
	var parents []*Interface
	for _, i := range d.onPort(p) {
		if i.parent == nil {
			parents = append(parents, i)
			continue
		}
		some <- struct{}{}
		gone.Go(func() {
			i.remove(keep)
			<-some
		})
	}
	gone.Wait()
	for _, i := range parents {
		i.remove(keep)
	}
	p.closeClients()
}

// removals is how many interfaces are removed at a time.
const removals = 32

// Close removes all interfaces. With keep their TUNs stay, with addresses and
// routes, for the next process to take over.
func (d *Driver) Close(keep bool) {
	d.topology.Lock()
	defer d.topology.Unlock()
	d.mu.Lock()
	ports := d.ports
	d.ports = nil
	d.mu.Unlock()
	for _, p := range ports {
		d.closePort(p, keep)
	}
	d.closers.Wait()
}
