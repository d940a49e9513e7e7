package rtnlface

import (
	"slices"
	"syscall"

	"github.com/mdlayher/netlink"

	"ipoib/datapath"
	"ipoib/nl"
	"ipoib/nl/rtlink"
	"ipoib/nl/rtnl"
	"ipoib/rdma"
)

// kindData is IFLA_LINKINFO of a request.
type kindData struct {
	kind string
	// given is set when there is IFLA_INFO_DATA.
	given  bool
	pkey   *rdma.PKey
	mode   *datapath.Mode
	umcast *bool
}

// readKind reads IFLA_LINKINFO (the beginning of rtnl_newlink).
func readKind(r *rtnl.Request) (k kindData, err error) {
	a, ok := r.Attrs.Get(rtlink.AttrLinkinfo)
	if !ok {
		return k, nil
	}
	info, err := nl.ParseNest(a, rtlink.InfoPolicy, nl.Liberal)
	if err != nil {
		return k, err
	}
	if a, ok := info.Get(rtlink.InfoKind); ok {
		k.kind = a.String()
	}
	data, ok := info.Get(rtlink.InfoData)
	if !ok {
		return k, nil
	}
	k.given = true
	if k.kind != rtlink.KindIPoIB {
		return k, nil
	}
	attrs, err := nl.ParseNest(data, rtlink.IPoIBPolicy, nl.Liberal)
	if err != nil {
		return k, err
	}
	if a, ok := attrs.Get(rtlink.IPoIBPKey); ok {
		k.pkey = new(rdma.PKey(a.Uint16()))
	}
	if a, ok := attrs.Get(rtlink.IPoIBMode); ok {
		k.mode = new(datapath.Mode(a.Uint16()))
	}
	if a, ok := attrs.Get(rtlink.IPoIBUmcast); ok {
		k.umcast = new(a.Uint16() > 0)
	}
	return k, nil
}

// newLink makes a link, or changes one (rtnl_newlink).
func (f *Face) newLink(r *rtnl.Request) (*datapath.Interface, error) {
	if err := uniqueNetNS(r); err != nil {
		return nil, err
	}
	h := headerOf(r.FamilyHeader)
	if h.index < 0 {
		return nil, nl.Errorf(syscall.EINVAL, "ifindex can't be negative")
	}
	i, named := f.find(r, h)
	k, err := readKind(r)
	if err != nil {
		return nil, err
	}
	if i != nil {
		switch {
		case r.Header.Flags&netlink.Excl != 0:
			return nil, syscall.EEXIST
		case r.Header.Flags&netlink.Replace != 0:
			return nil, syscall.EOPNOTSUPP
		case k.given && k.kind != rtlink.KindIPoIB:
			return nil, syscall.EOPNOTSUPP
		}
		return nil, f.change(r, h, i, k)
	}
	if r.Header.Flags&netlink.Create == 0 {
		if !named && r.Attrs.Has(rtlink.AttrGroup) {
			return nil, f.changeGroup(r, h)
		}
		return nil, syscall.ENODEV
	}
	if slices.ContainsFunc([]uint16{rtlink.AttrMap, rtlink.AttrProtinfo}, r.Attrs.Has) {
		return nil, syscall.EOPNOTSUPP
	}
	if k.kind != rtlink.KindIPoIB {
		return nil, f.refuseKind(r, k.kind)
	}
	return f.create(r, h, k)
}

// stacked are kinds that exist in every kernel and cannot be put on an IPoIB
// link, with what the kernel says of that.
var stacked = map[string]error{
	"vlan":    nl.Errorf(syscall.EOPNOTSUPP, "8021q: VLANs not supported on device"),
	"macvlan": syscall.EINVAL,
	"macvtap": syscall.EINVAL,
	"ipvlan":  syscall.EINVAL,
	"ipvtap":  syscall.EINVAL,
}

func (f *Face) refuseKind(r *rtnl.Request, kind string) error {
	if a, ok := r.Attrs.Get(rtlink.AttrLink); ok && f.drv.ByIndex(hostID(r.NetNS()), int(a.Int32())) != nil {
		if err, ok := stacked[kind]; ok {
			return err
		}
	}
	return nl.Errorf(syscall.EOPNOTSUPP, "Unknown device type")
}

// queueAttrs are checked when a link is made (rtnl_create_link). One queue is
// what an interface has, however many are asked for.
var queueAttrs = []refusal{
	{rtlink.AttrNumTxQueues, "Invalid number of transmit queues"},
	{rtlink.AttrNumRxQueues, "Invalid number of receive queues"},
}

// create makes a child (rtnl_newlink_create, ipoib_new_child_link).
func (f *Face) create(r *rtnl.Request, h header, k kindData) (*datapath.Interface, error) {
	if r.Attrs.Has(rtlink.AttrLinkNetNSID) {
		return nil, nl.Errorf(syscall.EINVAL, "Unknown network namespace id")
	}
	c, err := f.readChange(r, h, true)
	if err != nil {
		return nil, err
	}
	for _, q := range queueAttrs {
		if a, ok := r.Attrs.Get(q.attr); ok && (a.Uint32() < 1 || a.Uint32() > rtlink.MaxQueues) {
			return nil, nl.Errorf(syscall.EINVAL, "%s", q.msg)
		}
	}
	if c.settings.MTU != nil && *c.settings.MTU < 0 {
		// All other values are replaced by what the port can do.
		return nil, nl.Errorf(syscall.EINVAL, "mtu less than device minimum")
	}
	if a, ok := r.Attrs.Get(rtlink.AttrIfname); ok && a.String() == "" {
		return nil, syscall.EINVAL
	}
	below, ok := r.Attrs.Get(rtlink.AttrLink)
	if !ok {
		return nil, syscall.EINVAL
	}
	p := f.drv.ByIndex(hostID(r.NetNS()), int(below.Int32()))
	if p == nil {
		return nil, syscall.ENODEV
	}
	cfg := datapath.ChildConfig{
		Ifindex: int(h.index), PKey: k.pkey, Mode: k.mode, Umcast: k.umcast,
	}
	if s := c.settings; s.Name != nil {
		cfg.Name = *s.Name
	}
	if c.settings.Addr != nil {
		cfg.Addr = *c.settings.Addr
	}
	if c.settings.Alias != nil {
		cfg.Alias = *c.settings.Alias
	}
	if c.txqlen != nil {
		cfg.TxQueueLen = *c.txqlen
	}
	if cfg.NS, err = f.targetNetNS(r); err != nil {
		return nil, err
	}
	i, err := f.drv.NewChild(p, cfg)
	if err != nil {
		return nil, err
	}
	if err := f.finish(i, c); err != nil {
		_ = f.drv.Delete(i)
		return i, err
	}
	return i, nil
}

// finish gives a new link what NewChild does not know.
func (f *Face) finish(i *datapath.Interface, c *change) error {
	if c.addrGen != nil {
		if err := i.SetAddrGenMode(*c.addrGen); err != nil {
			return err
		}
	}
	if len(c.host) > 0 {
		if err := i.SetHostLink(c.host); err != nil {
			return err
		}
	}
	return i.SetFlags(c.flags, c.mask)
}

// inGroup lists the links of a group (IFLA_GROUP) in the client's namespace.
func (f *Face) inGroup(r *rtnl.Request, group uint32) (out []*datapath.Interface, err error) {
	ns := hostID(r.NetNS())
	list := f.drv.Interfaces(ns)
	if len(list) == 0 {
		return nil, nil
	}
	raw, err := f.drv.HostLinks(ns)
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		l, err := rtlink.Decode(raw[i.Info().Ifindex])
		if err == nil && l.Group != nil && *l.Group == group {
			out = append(out, i)
		}
	}
	return out, nil
}

// changeGroup changes all links of a group (rtnl_group_changelink).
func (f *Face) changeGroup(r *rtnl.Request, h header) error {
	a, _ := r.Attrs.Get(rtlink.AttrGroup)
	list, err := f.inGroup(r, a.Uint32())
	if err != nil {
		return err
	}
	for _, i := range list {
		if err := f.change(r, h, i, kindData{}); err != nil {
			return err
		}
	}
	return nil
}

// delLink deletes a link (rtnl_dellink).
func (f *Face) delLink(r *rtnl.Request) (*datapath.Interface, error) {
	if r.Attrs.Has(rtlink.AttrNetNSPID) || r.Attrs.Has(rtlink.AttrNetNSFD) {
		return nil, nl.Errorf(syscall.EOPNOTSUPP, "specified netns attribute not supported")
	}
	if r.Attrs.Has(rtlink.AttrTargetNetNSID) {
		return nil, syscall.EINVAL
	}
	i, named := f.find(r, headerOf(r.FamilyHeader))
	if named {
		if i == nil {
			return nil, syscall.ENODEV
		}
		return i, f.drv.Delete(i)
	}
	a, ok := r.Attrs.Get(rtlink.AttrGroup)
	if !ok {
		return nil, syscall.EINVAL
	}
	list, err := f.inGroup(r, a.Uint32())
	switch {
	case err != nil:
		return nil, err
	case a.Uint32() == 0:
		return nil, syscall.EPERM // INIT_NETDEV_GROUP
	case len(list) == 0:
		return nil, syscall.ENODEV
	}
	for _, i := range list {
		if err := f.drv.Delete(i); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
