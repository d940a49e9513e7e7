package datapath

import (
	"fmt"
	"syscall"

	"ipoib/datapath/encap"
	"ipoib/datapath/hostnet"
	"ipoib/rdma"
)

// ChildConfig says how a child interface is made by an RTM_NEWLINK request
// (kernel ipoib_new_child_link). Zero values have the driver's defaults.
type ChildConfig struct {
	// NS is the namespace of the new link; nil is the parent's. Taken over.
	NS hostnet.Namespace
	// Name is the interface name; "" is "ipoib%d".
	Name string
	// Ifindex is the interface index; 0 lets the kernel choose.
	Ifindex int
	// PKey is nil for the parent's.
	PKey *rdma.PKey
	// Mode and Umcast are set when not nil.
	Mode   *Mode
	Umcast *bool
	// Addr is the address asked for: its GID's GUID becomes the child's, if
	// any octet is set.
	Addr encap.HardwareAddr
	// TxQueueLen is set when not 0, Alias when not "".
	TxQueueLen int
	Alias      string
}

// parentNameLen is how much of the parent's name a legacy child's keeps.
const parentNameLen = 10

// ChildName returns the name that create_child gives: parent and P_Key as it
// was written (kernel ipoib_vlan_add).
func ChildName(parent string, pkey uint16) string {
	return fmt.Sprintf("%.*s.%04x", parentNameLen, parent, pkey)
}

// checkParent refuses what cannot have children.
func (d *Driver) checkParent(op string, p *Interface) error {
	if p == nil {
		return refuse(op, "", syscall.ENODEV, "")
	}
	if p.parent != nil {
		p.warnf("child creation disallowed for child devices")
		return refuse(op, p.Name(), syscall.EINVAL, "")
	}
	return nil
}

// NewChild makes a child as an RTM_NEWLINK request does: any P_Key is allowed,
// also one that is there already.
func (d *Driver) NewChild(p *Interface, cfg ChildConfig) (*Interface, error) {
	const op = "new link"
	d.topology.Lock()
	defer d.topology.Unlock()
	fail := func(err error) (*Interface, error) {
		if cfg.NS != nil {
			_ = cfg.NS.Close()
		}
		return nil, err
	}
	if err := d.checkParent(op, p); err != nil {
		return fail(err)
	}
	info := p.Info()
	pkey := info.PKey
	if cfg.PKey == nil {
		p.debugf("no pkey specified, using parent pkey")
	} else if pkey = *cfg.PKey; !pkey.IsValid() {
		return fail(refuse(op, cfg.Name, syscall.EINVAL, ""))
	}
	if cfg.Mode != nil {
		if err := p.checkMode(op, *cfg.Mode); err != nil {
			return fail(err)
		}
	}
	name := cfg.Name
	if name == "" {
		name = "ipoib%d"
	}
	ns := cfg.NS
	cfg.NS = nil
	if ns == nil {
		var err error
		if ns, err = p.namespace(); err != nil {
			return nil, system(op, name, err)
		}
	}
	guid := info.Addr.GID().GUID()
	if !info.AddrSet {
		guid = 0
	}
	if !cfg.Addr.IsZero() {
		guid = cfg.Addr.GID().GUID()
	}
	i, err := d.create(createConfig{port: p.port, parent: p, ns: ns, name: name, index: cfg.Ifindex, pkey: pkey, addr: guid})
	if err != nil {
		return nil, err
	}
	i.start()
	if err := i.configure(cfg); err != nil {
		i.remove(false)
		return nil, err
	}
	return i, nil
}

// configure applies the settings that a new link came with.
func (i *Interface) configure(cfg ChildConfig) error {
	if cfg.TxQueueLen != 0 {
		if err := i.SetTxQueueLen(cfg.TxQueueLen); err != nil {
			return err
		}
	}
	if cfg.Alias != "" {
		if err := i.SetAlias(cfg.Alias); err != nil {
			return err
		}
	}
	if cfg.Umcast != nil {
		if err := i.SetUmcast(*cfg.Umcast); err != nil {
			return err
		}
	}
	if cfg.Mode != nil {
		return i.SetMode(*cfg.Mode)
	}
	return nil
}

// CreateChild makes a child as writing to create_child does: its P_Key must
// be new among the parent and the children made this way (kernel
// ipoib_vlan_add). The comparison is of the full-member form.
func (d *Driver) CreateChild(p *Interface, pkey rdma.PKey) (*Interface, error) {
	const op = "create_child"
	d.topology.Lock()
	defer d.topology.Unlock()
	if err := d.checkParent(op, p); err != nil {
		return nil, err
	}
	if !pkey.IsValid() {
		return nil, refuse(op, p.Name(), syscall.EINVAL, "")
	}
	info := p.Info()
	if info.PKey == pkey.Full() {
		return nil, refuse(op, p.Name(), errNotUnique, "")
	}
	for _, c := range d.children(p) {
		if c.legacy && c.Info().PKey == pkey.Full() {
			return nil, refuse(op, p.Name(), errNotUnique, "")
		}
	}
	ns, err := p.namespace()
	if err != nil {
		return nil, system(op, p.Name(), err)
	}
	guid := info.Addr.GID().GUID()
	if !info.AddrSet {
		guid = 0
	}
	i, err := d.create(createConfig{
		port: p.port, parent: p, legacy: true, ns: ns, name: ChildName(info.Name, uint16(pkey)), pkey: pkey, addr: guid,
	})
	if err != nil {
		return nil, err
	}
	i.start()
	return i, nil
}

// DeleteChild removes a child made by CreateChild, by its P_Key with the full
// bit (kernel ipoib_vlan_delete).
func (d *Driver) DeleteChild(p *Interface, pkey rdma.PKey) error {
	d.topology.Lock()
	defer d.topology.Unlock()
	for _, c := range d.children(p) {
		if c.legacy && c.Info().PKey == pkey {
			c.remove(false)
			return nil
		}
	}
	return refuse("delete_child", p.Name(), syscall.ENODEV, "")
}

// Delete removes an interface as RTM_DELLINK does. Of a parent it succeeds
// and does nothing (kernel ipoib_del_child_link).
func (d *Driver) Delete(i *Interface) error {
	d.topology.Lock()
	defer d.topology.Unlock()
	if i.parent == nil {
		return nil
	}
	i.remove(false)
	return nil
}

// Namespace opens the namespace that the interface is in once more; the caller
// closes it. ENODEV when the interface is gone.
func (i *Interface) Namespace() (hostnet.Namespace, error) { return i.namespace() }

// namespace opens the namespace of the interface once more.
func (i *Interface) namespace() (hostnet.Namespace, error) {
	var ns hostnet.Namespace
	err := error(errGone("open namespace", i.Name()))
	ok := i.loop.call(func() {
		f := i.ns.ns.File()
		var e error
		if f == nil {
			ns, e = i.drv.sys.Host.ByID(i.ns.id)
		} else {
			ns, e = i.drv.sys.Host.ByFile(f)
		}
		if err = nil; e != nil {
			err = system("open namespace", i.name, e)
		}
	})
	if !ok || err != nil {
		return nil, err
	}
	return ns, nil
}
