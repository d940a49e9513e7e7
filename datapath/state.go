package datapath

import (
	"ipoib/datapath/hostnet"
	"ipoib/rdma"
)

// State is what is kept of an interface for the next process: what the
// kernel's TUN does not hold.
type State struct {
	Name string `json:"name"`
	// NS is the network namespace; NSName its name in /run/netns, or "".
	NS     hostnet.ID `json:"ns"`
	NSName string     `json:"ns_name,omitempty"`
	// Device and Port name the port, from 1.
	Device string `json:"device"`
	Port   int    `json:"port"`
	// Parent is the parent's name and namespace, of children.
	Child    bool       `json:"child,omitempty"`
	Parent   string     `json:"parent,omitempty"`
	ParentNS hostnet.ID `json:"parent_ns"`
	Legacy   bool       `json:"legacy,omitempty"`
	PKey     rdma.PKey  `json:"pkey"`
	// QPN is asked for again, so that peers keep the address.
	QPN    rdma.QPN  `json:"qpn"`
	GUID   rdma.GUID `json:"guid,omitempty"`
	Mode   Mode      `json:"mode"`
	Umcast bool      `json:"umcast,omitempty"`
	// NoARP and NoLinkLocal are IFF_NOARP and the address generation mode
	// none.
	NoARP       bool `json:"noarp,omitempty"`
	NoLinkLocal bool `json:"no_link_local,omitempty"`
	// Features are those that were switched to other than the default, by
	// name.
	Features map[string]bool `json:"features,omitempty"`
	RxUsecs  uint32          `json:"rx_usecs,omitempty"`
	RxFrames uint32          `json:"rx_frames,omitempty"`
}

// States returns the state of all interfaces, parents before children.
func (d *Driver) States() []State {
	var parents, children []State
	for _, i := range d.Interfaces(hostnet.ID{}) {
		info := i.Info()
		s := State{
			Name: info.Name, NS: info.NS, NSName: info.NSName, Device: info.Device, Port: info.Port,
			Legacy: info.Legacy, PKey: info.PKey, QPN: info.QPN, Mode: info.Mode, Umcast: info.Umcast,
			NoARP: info.NoARP, NoLinkLocal: info.AddrGenMode == hostnet.AddrGenNone,
			Features: i.featureWishes(), RxUsecs: info.Coalesce.RxUsecs, RxFrames: info.Coalesce.RxFrames,
		}
		if info.AddrSet {
			s.GUID = info.Addr.GID().GUID()
		}
		if i.parent == nil {
			parents = append(parents, s)
			continue
		}
		p := i.parent.Info()
		s.Child, s.Parent, s.ParentNS = true, p.Name, p.NS
		children = append(children, s)
	}
	return append(parents, children...)
}

// RestoreChild makes a child as it was, taking over the TUN that was left. It
// takes ns over.
func (d *Driver) RestoreChild(p *Interface, ns hostnet.Namespace, s State) (*Interface, error) {
	d.topology.Lock()
	defer d.topology.Unlock()
	i, err := d.create(createConfig{
		port: p.port, parent: p, legacy: s.Legacy, ns: ns, name: s.Name, pkey: s.PKey, addr: s.GUID, restore: &s,
	})
	if err != nil {
		return nil, err
	}
	i.start()
	return i, nil
}
