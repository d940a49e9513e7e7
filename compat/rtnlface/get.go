package rtnlface

import (
	"slices"
	"syscall"

	"github.com/mdlayher/netlink"

	"ipoib/datapath"
	"ipoib/nl"
	"ipoib/nl/rtlink"
	"ipoib/nl/rtnl"
)

// getTexts are the extended-ack texts of one kind of RTM_GETLINK.
type getTexts struct {
	header, values, attribute string
	allowed                   []uint16
}

var (
	doTexts = getTexts{
		header: "Invalid header for get link", values: "Invalid values in header for get link request",
		attribute: "Unsupported attribute in get link request",
		allowed:   []uint16{rtlink.AttrIfname, rtlink.AttrAltIfname, rtlink.AttrExtMask, rtlink.AttrTargetNetNSID},
	}
	dumpTexts = getTexts{
		header: "Invalid header for link dump", values: "Invalid values in header for link dump request",
		attribute: "Unsupported attribute in link dump request",
		allowed:   []uint16{rtlink.AttrTargetNetNSID, rtlink.AttrExtMask, rtlink.AttrMaster, rtlink.AttrLinkinfo},
	}
)

// parseGet reads the attributes of an RTM_GETLINK (rtnl_valid_getlink_req,
// rtnl_valid_dump_ifinfo_req).
func parseGet(r *rtnl.Request, dump bool) (nl.Attrs, error) {
	short := len(r.FamilyHeader) < rtlink.HeaderLen
	if !r.Strict() {
		if !dump {
			return r.Parse(rtlink.HeaderLen, rtlink.Policy, nl.Liberal)
		}
		size := rtlink.HeaderLen
		if short {
			size = 1 // struct rtgenmsg, of clients that know no better
		}
		attrs, err := r.Parse(size, rtlink.Policy, nl.Liberal)
		if err != nil {
			return nl.Attrs{}, nil // the dump is not filtered then
		}
		return attrs, nil
	}
	texts := doTexts
	if dump {
		texts = dumpTexts
	}
	if short {
		return nl.Attrs{}, nl.Errorf(syscall.EINVAL, "%s", texts.header)
	}
	h := headerOf(r.FamilyHeader)
	if h.pad != 0 || h.typ != 0 || h.flags != 0 || h.change != 0 {
		return nl.Attrs{}, nl.Errorf(syscall.EINVAL, "%s", texts.values)
	}
	if dump && h.index != 0 {
		return nl.Attrs{}, nl.Errorf(syscall.EINVAL, "Filter by device index not supported for link dumps")
	}
	attrs, err := r.Parse(rtlink.HeaderLen, rtlink.Policy, nl.DeprecatedStrict)
	if err != nil {
		return attrs, err
	}
	for a := range attrs.All() {
		if !slices.Contains(texts.allowed, a.Type) {
			return attrs, nl.Errorf(syscall.EINVAL, "%s", texts.attribute)
		}
	}
	return attrs, nil
}

// getLink answers for one link (rtnl_getlink).
func (f *Face) getLink(r *rtnl.Request) error {
	if r.Attrs.Has(rtlink.AttrNetNSPID) || r.Attrs.Has(rtlink.AttrNetNSFD) {
		return nl.Errorf(syscall.EOPNOTSUPP, "specified netns attribute not supported")
	}
	if r.Attrs.Has(rtlink.AttrTargetNetNSID) {
		return syscall.EINVAL // no ids are known here
	}
	i, named := f.find(r, headerOf(r.FamilyHeader))
	switch {
	case !named:
		return syscall.EINVAL
	case i == nil:
		return syscall.ENODEV
	}
	info := i.Info()
	raw, err := i.HostLink()
	if err != nil {
		return err
	}
	return r.Reply(rtlink.NewLink, 0, func(e *nl.Encoder) error {
		l := link(i, &info, raw)
		addVFs(l, r.Attrs)
		l.Append(e)
		return nil
	})
}

// addVFs says of a device with an adapter below it that this has no virtual
// functions, if the request asks for them (rtnl_fill_vf).
func addVFs(l *rtlink.Link, attrs nl.Attrs) {
	if a, ok := attrs.Get(rtlink.AttrExtMask); !ok || a.Uint32()&rtlink.FilterVF == 0 || l.ParentDev == "" {
		return
	}
	l.NumVF = new(uint32)
	l.Other = append(l.Other, rtlink.Raw{Type: rtlink.AttrVFInfoList})
}

// linkFilter selects links of a dump by master and kind.
type linkFilter struct {
	master uint32
	kind   string
	// on is set when something is filtered.
	on bool
}

// noMaster is IFLA_MASTER -1: links without a master.
const noMaster = ^uint32(0)

func filterOf(attrs nl.Attrs) (out linkFilter) {
	if a, ok := attrs.Get(rtlink.AttrMaster); ok {
		out.master = a.Uint32()
		out.on = out.master != 0
	}
	if a, ok := attrs.Get(rtlink.AttrLinkinfo); ok {
		info, err := nl.ParseNest(a, rtlink.InfoPolicy, nl.Liberal)
		if k, ok := info.Get(rtlink.InfoKind); err == nil && ok && k.String() == rtlink.KindIPoIB {
			// Other kinds are not registered here, which is no filter.
			out.kind = rtlink.KindIPoIB
			out.on = true
		}
	}
	return out
}

// match reports whether a link passes (link_dump_filtered). All links here are
// of the one kind that can be asked for.
func (f linkFilter) match(l *rtlink.Link) bool {
	switch f.master {
	case 0:
		return true
	case noMaster:
		return l.Master == nil
	}
	return l.Master != nil && *l.Master == f.master
}

// dumpLinks lists the links of the client's namespace (rtnl_dump_ifinfo).
func (f *Face) dumpLinks(r *rtnl.Request) (*nl.Dump, error) {
	if r.Attrs.Has(rtlink.AttrTargetNetNSID) {
		return nil, nl.Errorf(syscall.EINVAL, "Invalid target network namespace id")
	}
	ns := hostID(r.NetNS())
	list := f.drv.Interfaces(ns)
	d := &nl.Dump{Type: rtlink.NewLink}
	filter := filterOf(r.Attrs)
	if filter.on {
		d.Flags = netlink.DumpFiltered
	}
	var raw map[int][]byte
	if len(list) > 0 {
		var err error
		if raw, err = f.drv.HostLinks(ns); err != nil {
			return nil, err
		}
	}
	d.Next = nl.Each(list, func(e *nl.Encoder, i *datapath.Interface) error {
		info := i.Info()
		b, ok := raw[info.Ifindex]
		delete(raw, info.Ifindex)
		if !ok || info.NS != ns {
			return nl.ErrSkip // it went, or moved, since the dump began
		}
		l := link(i, &info, b)
		if !filter.match(l) {
			return nl.ErrSkip
		}
		addVFs(l, r.Attrs)
		l.Append(e)
		return nil
	})
	return d, nil
}
