package rtnlface

import (
	"strings"
	"syscall"

	"ipoib/datapath"
	"ipoib/datapath/encap"
	"ipoib/datapath/hostnet"
	"ipoib/nl"
	"ipoib/nl/rtlink"
	"ipoib/nl/rtnl"
)

// refusal is what an attribute gets that an IPoIB interface cannot have.
type refusal struct {
	attr uint16
	msg  string
}

// unsupported are the attributes that the kernel refuses for such a device,
// with EOPNOTSUPP, and the one that we do.
var unsupported = []refusal{
	{attr: rtlink.AttrMap},
	{rtlink.AttrBroadcast, "broadcast address cannot be set"},
	{attr: rtlink.AttrCarrier},
	{attr: rtlink.AttrVFInfoList},
	{attr: rtlink.AttrVFPorts},
	{attr: rtlink.AttrPortSelf},
	{rtlink.AttrProtoDown, "Protodown not supported by device"},
	{rtlink.AttrProtoDownReason, "Protodown not supported by device"},
	{attr: rtlink.AttrXDP},
	{attr: rtlink.AttrLinkNetNSID},
}

// hostAttrs are the attributes that the kernel's TUN holds and nobody here
// looks at, in the order in which the kernel applies them (do_setlink).
var hostAttrs = []uint16{
	rtlink.AttrGroup, rtlink.AttrMaster, rtlink.AttrGSOMaxSize, rtlink.AttrGSOMaxSegs, rtlink.AttrGROMaxSize,
	rtlink.AttrOperstate, rtlink.AttrLinkmode,
}

// change is what a request asks for, read and checked for form.
type change struct {
	kind kindData
	// settings are checked together before one of them is applied.
	settings datapath.Settings
	flags    uint32
	mask     uint32
	txqlen   *int
	addrGen  *hostnet.AddrGenMode
	host     []byte
	ns       hostnet.Namespace
}

// readChange reads what a request wants of an existing link, or of one to be
// made. rename says that a name is a new one.
func (f *Face) readChange(r *rtnl.Request, h header, rename bool) (*change, error) {
	c := &change{flags: h.flags, mask: h.change}
	if c.mask == 0 && c.flags != 0 {
		c.mask = ^uint32(0) // rtnl_dev_combine_flags
	}
	for _, u := range unsupported {
		if a, ok := r.Attrs.Get(u.attr); ok {
			return nil, nl.BadAttr(syscall.EOPNOTSUPP, a, u.msg)
		}
	}
	if a, ok := r.Attrs.Get(rtlink.AttrAddress); ok {
		if len(a.Data) < len(encap.HardwareAddr{}) {
			return nil, syscall.EINVAL
		}
		c.settings.Addr = new(encap.HardwareAddr(a.Data[:len(encap.HardwareAddr{})]))
	}
	if a, ok := r.Attrs.Get(rtlink.AttrMTU); ok {
		c.settings.MTU = new(int(a.Int32()))
	}
	if a, ok := r.Attrs.Get(rtlink.AttrIfname); ok && rename && a.String() != "" {
		c.settings.Name = new(a.String())
	}
	if a, ok := r.Attrs.Get(rtlink.AttrIfalias); ok {
		c.settings.Alias = new(strings.TrimRight(string(a.Data), "\x00"))
	}
	if a, ok := r.Attrs.Get(rtlink.AttrTxqlen); ok {
		if a.Int32() < 0 {
			return nil, syscall.ERANGE // dev_change_tx_queue_len takes it as unsigned
		}
		c.txqlen = new(int(a.Int32()))
	}
	if a, ok := r.Attrs.Get(rtlink.AttrAFSpec); ok {
		if err := c.readAFSpec(a); err != nil {
			return nil, err
		}
	}
	var e nl.Encoder
	for _, t := range hostAttrs {
		if a, ok := r.Attrs.Get(t); ok {
			e.Put(t, a.Data)
		}
	}
	c.host = e.Bytes()
	return c, nil
}

// Address families and attributes of IFLA_AF_SPEC.
const (
	afInet  = 2
	afInet6 = 10
	// inet6Token is IFLA_INET6_TOKEN.
	inet6Token = 7
)

// readAFSpec reads the address generation mode; nothing else of a protocol is
// set through the link (validate_linkmsg, inet6_set_link_af).
func (c *change) readAFSpec(spec nl.Attr) error {
	for af := range spec.Children() {
		if af.Type != afInet && af.Type != afInet6 {
			return syscall.EAFNOSUPPORT
		}
		if af.Type == afInet {
			return nl.BadAttr(syscall.EOPNOTSUPP, af, "")
		}
		for a := range af.Children() {
			if a.Type == inet6Token {
				return nl.BadAttr(syscall.EOPNOTSUPP, a, "")
			}
		}
	}
	if m, ok := rtlink.AddrGenMode(spec.Data); ok {
		if m > uint8(hostnet.AddrGenRandom) {
			return syscall.EINVAL
		}
		c.addrGen = new(hostnet.AddrGenMode(m))
	}
	return nil
}

// apply changes a link. force asks for a message to the group also when
// nothing changed, as a change of kind data does.
func (f *Face) apply(i *datapath.Interface, c *change) error {
	force := c.kind.given || len(c.host) > 0
	err := f.applyEach(i, c)
	if told := f.drain(nil, nil); err == nil && force && told[i] == 0 {
		info := i.Info()
		f.send(nil, i, &info, rtlink.NewLink, 0, nil)
	}
	return err
}

// applyEach calls the setters. What the host may refuse comes first: a move,
// a new name.
func (f *Face) applyEach(i *datapath.Interface, c *change) error {
	if err := i.Check(c.settings); err != nil {
		if c.ns != nil {
			_ = c.ns.Close()
		}
		return err
	}
	s := &c.settings
	steps := []struct {
		wanted bool
		do     func() error
	}{
		{c.ns != nil, func() error { return i.SetNamespace(c.ns) }},
		{s.Name != nil, func() error { return i.SetName(*s.Name) }},
		{len(c.host) > 0, func() error { return i.SetHostLink(c.host) }},
		{s.Mode != nil, func() error { return i.SetMode(*s.Mode) }},
		{c.kind.umcast != nil, func() error { return i.SetUmcast(*c.kind.umcast) }},
		{s.Addr != nil, func() error { return i.SetAddress(*s.Addr) }},
		{s.MTU != nil, func() error { return i.SetMTU(*s.MTU) }},
		{s.Alias != nil, func() error { return i.SetAlias(*s.Alias) }},
		{c.mask != 0, func() error { return i.SetFlags(c.flags, c.mask) }},
		{c.txqlen != nil, func() error { return i.SetTxQueueLen(*c.txqlen) }},
		{c.addrGen != nil, func() error { return i.SetAddrGenMode(*c.addrGen) }},
	}
	for _, st := range steps {
		if !st.wanted {
			continue
		}
		if err := st.do(); err != nil {
			return err
		}
	}
	return nil
}

// setLink changes a link (rtnl_setlink).
func (f *Face) setLink(r *rtnl.Request) (*datapath.Interface, error) {
	if err := uniqueNetNS(r); err != nil {
		return nil, err
	}
	h := headerOf(r.FamilyHeader)
	i, named := f.find(r, h)
	switch {
	case !named:
		return nil, syscall.EINVAL
	case i == nil:
		return nil, syscall.ENODEV
	}
	return nil, f.change(r, h, i, kindData{})
}

// change applies a request to an existing link.
func (f *Face) change(r *rtnl.Request, h header, i *datapath.Interface, k kindData) error {
	c, err := f.readChange(r, h, h.index > 0)
	if err != nil {
		return err
	}
	c.kind = k
	c.settings.Mode = k.mode
	if r.Attrs.Has(rtlink.AttrNewIfindex) {
		a, _ := r.Attrs.Get(rtlink.AttrNewIfindex)
		return nl.BadAttr(syscall.EOPNOTSUPP, a, "")
	}
	if c.ns, err = f.targetNetNS(r); err != nil {
		return err
	}
	return f.apply(i, c)
}

// newLinkProp and delLinkProp change alternative names (rtnl_linkprop).
func (f *Face) newLinkProp(r *rtnl.Request) (*datapath.Interface, error) {
	return nil, f.linkProp(r, (*datapath.Interface).AddAltNames)
}

func (f *Face) delLinkProp(r *rtnl.Request) (*datapath.Interface, error) {
	return nil, f.linkProp(r, (*datapath.Interface).RemoveAltNames)
}

func (f *Face) linkProp(r *rtnl.Request, do func(*datapath.Interface, []byte) error) error {
	if err := uniqueNetNS(r); err != nil {
		return err
	}
	i, named := f.find(r, headerOf(r.FamilyHeader))
	switch {
	case !named:
		return syscall.EINVAL
	case i == nil:
		return syscall.ENODEV
	}
	a, ok := r.Attrs.Get(rtlink.AttrPropList)
	if !ok {
		return nil
	}
	var e nl.Encoder
	e.Nest(rtlink.AttrPropList, func() { e.Raw(a.Data) })
	if err := do(i, e.Bytes()); err != nil {
		return err
	}
	info := i.Info()
	f.send(nil, i, &info, rtlink.NewLink, 0, nil)
	return nil
}
