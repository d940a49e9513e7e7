package soft

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/jonboulle/clockwork"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// Options are the effects that a fabric needs from outside.
type Options struct {
	// Clock drives timers; nil is the real one.
	Clock clockwork.Clock
	// Seed makes faults repeatable.
	Seed uint64
	// Log takes messages about the fabric; nil discards them.
	Log *slog.Logger
}

// Fabric is a set of nodes and links.
type Fabric struct {
	clock   clockwork.Clock
	log     *slog.Logger
	buffers *rdma.BufferPool

	mu    sync.Mutex
	rng   *rand.Rand // guarded by mu, as is all below
	nodes []*node
	hcas  map[string]*HCA
	guids map[rdma.GUID]*node
}

// NewFabric returns a fabric without nodes.
func NewFabric(o Options) *Fabric {
	if o.Clock == nil {
		o.Clock = clockwork.NewRealClock()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Fabric{
		clock: o.Clock, log: o.Log, buffers: rdma.NewBufferPool(),
		rng:  rand.New(rand.NewPCG(o.Seed, 0x1b)),
		hcas: make(map[string]*HCA), guids: make(map[rdma.GUID]*node),
	}
}

// HCAConfig describes a channel adapter to add. Zero values have defaults.
type HCAConfig struct {
	// Name is the device name, "soft0".
	Name string
	// Ports is the number of ports, 1 by default.
	Ports int
	// NodeGUID identifies the node. PortGUIDs, if set, are those of its
	// ports; else port i has NodeGUID+i, as some tools expect.
	NodeGUID  rdma.GUID
	PortGUIDs []rdma.GUID
	// Desc is the node description, "<host> <name>".
	Desc string
	// MTU is the largest MTU, 4096 by default.
	MTU rdma.MTU
	// Speed and Width of the links, EDR and 4X by default.
	Speed rdma.LinkSpeed
	Width rdma.LinkWidth
	// PKeys is the length of the P_Key tables, a multiple of 32, 128 by
	// default as many adapters have.
	PKeys int
	// Profile is the set of capabilities.
	Profile Profile
}

// SwitchConfig describes a switch to add.
type SwitchConfig struct {
	NodeGUID rdma.GUID
	Desc     string
	// Ports is the number of external ports, 36 by default.
	Ports int
	MTU   rdma.MTU
	Speed rdma.LinkSpeed
	Width rdma.LinkWidth
	// PKeys is the length of the P_Key table of each port, as of an HCA.
	PKeys int
}

// Limits of nodes.
const (
	maxHCAPorts    = 8
	maxSwitchPorts = 254
	defaultPorts   = 36
)

func linkDefaults(m *rdma.MTU, s *rdma.LinkSpeed, w *rdma.LinkWidth, pkeys *int) error {
	if *pkeys == 0 {
		*pkeys = defaultPKeys
	}
	if *m == 0 {
		*m = rdma.MTU4096
	}
	if *s == 0 {
		*s = rdma.SpeedEDR
	}
	if *w == 0 {
		*w = rdma.Width4X
	}
	switch {
	case *pkeys < 0 || *pkeys > 1<<15 || *pkeys%mad.PKeysPerBlock != 0:
		return fmt.Errorf("%d P_Keys: %w", *pkeys, rdma.ErrInvalid)
	case !m.IsValid():
		return fmt.Errorf("MTU code %d: %w", *m, rdma.ErrInvalid)
	case rdma.LinkRate(*w, *s) == 0:
		return fmt.Errorf("link %v %v: %w", *w, *s, rdma.ErrInvalid)
	}
	return nil
}

// AddHCA adds a channel adapter; its ports are down until they are connected.
func (f *Fabric) AddHCA(cfg HCAConfig) (*HCA, error) {
	fail := func(err error) (*HCA, error) {
		return nil, &rdma.OpError{Op: "add_hca", Device: cfg.Name, Err: err}
	}
	if cfg.Ports == 0 {
		cfg.Ports = 1
	}
	caps, ok := cfg.Profile.caps()
	switch {
	case cfg.Name == "" || cfg.NodeGUID == 0 || len(cfg.Desc) > 64 || !ok:
		return fail(rdma.ErrInvalid)
	case cfg.PortGUIDs != nil && (len(cfg.PortGUIDs) != cfg.Ports || slices.Contains(cfg.PortGUIDs, 0)):
		return fail(fmt.Errorf("%d port GUIDs for %d ports: %w", len(cfg.PortGUIDs), cfg.Ports, rdma.ErrInvalid))
	case cfg.Ports < 1 || cfg.Ports > maxHCAPorts:
		return fail(fmt.Errorf("%d ports, 1 to %d are possible: %w", cfg.Ports, maxHCAPorts, rdma.ErrInvalid))
	}
	if err := linkDefaults(&cfg.MTU, &cfg.Speed, &cfg.Width, &cfg.PKeys); err != nil {
		return fail(err)
	}
	h := &HCA{
		node: &node{
			fabric: f, kind: kindCA, guid: cfg.NodeGUID, sysGUID: cfg.NodeGUID, desc: cfg.Desc, pkeys: cfg.PKeys,
		},
		name: cfg.Name,
	}
	h.mcast.groups = make(map[rdma.GID][]*qp)
	h.attr = rdma.DeviceAttr{
		NodeGUID: cfg.NodeGUID, SystemImageGUID: cfg.NodeGUID, NodeType: uint8(kindCA), NodeDesc: cfg.Desc,
		FirmwareVersion: "1.0.0", HWVersion: "0", HCAType: "softHCA", BoardID: "SOFT0000001",
		BusInfo: "ipoib:" + cfg.Name, Caps: caps, PortCount: cfg.Ports,
		MaxSGE: maxSGE, MaxSRQSGE: maxSGE - 1, MaxQPWR: maxQPWR, MaxCQE: maxCQE,
	}
	h.ports = make([]*port, cfg.Ports+1)
	guids := []rdma.GUID{cfg.NodeGUID}
	for i := 1; i <= cfg.Ports; i++ {
		guid := cfg.NodeGUID + rdma.GUID(i)
		if cfg.PortGUIDs != nil {
			guid = cfg.PortGUIDs[i-1]
		}
		p := newPort(h.node, i, guid)
		p.hca = h
		p.initInfo(cfg.MTU, cfg.Speed, cfg.Width)
		h.ports[i] = p
		guids = append(guids, p.guid)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hcas[cfg.Name] != nil {
		return fail(rdma.ErrInUse)
	}
	if err := f.addLocked(h.node, guids); err != nil {
		return fail(err)
	}
	f.hcas[cfg.Name] = h
	return h, nil
}

// AddSwitch adds a switch; its management port is up at once.
func (f *Fabric) AddSwitch(cfg SwitchConfig) (*Switch, error) {
	fail := func(err error) (*Switch, error) {
		return nil, &rdma.OpError{Op: "add_switch", Device: cfg.Desc, Err: err}
	}
	if cfg.Ports == 0 {
		cfg.Ports = defaultPorts
	}
	switch {
	case cfg.NodeGUID == 0 || len(cfg.Desc) > 64:
		return fail(rdma.ErrInvalid)
	case cfg.Ports < 1 || cfg.Ports > maxSwitchPorts:
		return fail(fmt.Errorf("%d ports, 1 to %d are possible: %w", cfg.Ports, maxSwitchPorts, rdma.ErrInvalid))
	}
	if err := linkDefaults(&cfg.MTU, &cfg.Speed, &cfg.Width, &cfg.PKeys); err != nil {
		return fail(err)
	}
	n := &node{
		fabric: f, kind: kindSwitch, guid: cfg.NodeGUID, sysGUID: cfg.NodeGUID, desc: cfg.Desc,
		pkeys: cfg.PKeys, lft: new(lft), mft: new(mft),
	}
	n.sw.init(cfg.PKeys)
	n.ports = make([]*port, cfg.Ports+1)
	for i := range n.ports {
		n.ports[i] = newPort(n, i, cfg.NodeGUID)
		n.ports[i].initInfo(cfg.MTU, cfg.Speed, cfg.Width)
	}
	n.ports[0].managementUp()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.addLocked(n, []rdma.GUID{cfg.NodeGUID}); err != nil {
		return fail(err)
	}
	return &Switch{n}, nil
}

func (f *Fabric) addLocked(n *node, guids []rdma.GUID) error {
	for i, g := range guids {
		if f.guids[g] != nil || slices.Contains(guids[:i], g) {
			return fmt.Errorf("GUID %v: %w", g, rdma.ErrInUse)
		}
	}
	for _, g := range guids {
		f.guids[g] = n
	}
	f.nodes = append(f.nodes, n)
	return nil
}

// remove unplugs a node: its links go, and with them its place in the fabric.
func (f *Fabric) remove(n *node) {
	for _, p := range n.externalPorts() {
		if l := p.link.Load(); l != nil {
			l.Disconnect()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes = slices.DeleteFunc(f.nodes, func(o *node) bool { return o == n })
	for g, o := range f.guids {
		if o == n {
			delete(f.guids, g)
		}
	}
	for name, h := range f.hcas {
		if h.node == n {
			delete(f.hcas, name)
		}
	}
	n.traps.close()
}

// Buffers is the pool that the fabric's devices share.
func (f *Fabric) Buffers() *rdma.BufferPool { return f.buffers }

// HCA returns a channel adapter by name.
func (f *Fabric) HCA(name string) (*HCA, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, ok := f.hcas[name]
	return h, ok
}

// HCAs returns the channel adapters in the order they were added.
func (f *Fabric) HCAs() []*HCA {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*HCA
	for _, n := range f.nodes {
		for _, h := range f.hcas {
			if h.node == n {
				out = append(out, h)
			}
		}
	}
	return out
}

// errNoFreePort is returned when a switch has no port left.
var errNoFreePort = errors.New("switch has no free port")

// FreePort returns the lowest external port of the switch without a link.
func (s *Switch) FreePort() (int, error) {
	for _, p := range s.externalPorts() {
		if p.link.Load() == nil {
			return p.num, nil
		}
	}
	return 0, &rdma.OpError{Op: "free_port", Device: s.Description(), Err: errNoFreePort}
}
