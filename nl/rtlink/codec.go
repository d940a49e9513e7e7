package rtlink

import (
	"encoding/binary"
	"errors"

	"ipoib/nl"
)

// ErrShort is returned for a message shorter than struct ifinfomsg.
var ErrShort = errors.New("rtlink: message is shorter than its header")

// field is how one attribute is written and read. put writes nothing when the
// attribute is absent. get ignores a payload that is too short.
type field struct {
	t   uint16
	put func(*nl.Encoder, uint16, *Link)
	get func(nl.Attr, *Link, *store)
}

func u8(t uint16, at func(*Link) **uint8) field {
	return field{t,
		func(e *nl.Encoder, t uint16, l *Link) {
			if p := *at(l); p != nil {
				e.U8(t, *p)
			}
		},
		func(a nl.Attr, l *Link, s *store) {
			if len(a.Data) >= 1 {
				*at(l) = s.newU8(a.Uint8())
			}
		},
	}
}

func u32(t uint16, at func(*Link) **uint32) field {
	return field{t,
		func(e *nl.Encoder, t uint16, l *Link) {
			if p := *at(l); p != nil {
				e.U32(t, *p)
			}
		},
		func(a nl.Attr, l *Link, s *store) {
			if len(a.Data) >= 4 {
				*at(l) = s.newU32(a.Uint32())
			}
		},
	}
}

func s32(t uint16, at func(*Link) **int32) field {
	return field{t,
		func(e *nl.Encoder, t uint16, l *Link) {
			if p := *at(l); p != nil {
				e.S32(t, *p)
			}
		},
		func(a nl.Attr, l *Link, _ *store) {
			if len(a.Data) >= 4 {
				*at(l) = new(a.Int32())
			}
		},
	}
}

func text(t uint16, at func(*Link) *string) field {
	return field{t,
		func(e *nl.Encoder, t uint16, l *Link) {
			if s := *at(l); s != "" {
				e.String(t, s)
			}
		},
		func(a nl.Attr, l *Link, _ *store) { *at(l) = a.String() },
	}
}

func octets(t uint16, at func(*Link) *[]byte) field {
	return field{t,
		func(e *nl.Encoder, t uint16, l *Link) {
			if b := *at(l); b != nil {
				e.Put(t, b)
			}
		},
		func(a nl.Attr, l *Link, _ *store) { *at(l) = a.Data },
	}
}

// fields is the attributes in the order in which Linux 6.18 sends them
// (rtnl_fill_ifinfo).
var fields = []field{
	text(AttrIfname, func(l *Link) *string { return &l.Name }),
	u32(AttrTxqlen, func(l *Link) **uint32 { return &l.TxQueueLen }),
	u8(AttrOperstate, func(l *Link) **uint8 { return &l.Operstate }),
	u8(AttrLinkmode, func(l *Link) **uint8 { return &l.Linkmode }),
	u32(AttrMTU, func(l *Link) **uint32 { return &l.MTU }),
	u32(AttrMinMTU, func(l *Link) **uint32 { return &l.MinMTU }),
	u32(AttrMaxMTU, func(l *Link) **uint32 { return &l.MaxMTU }),
	u32(AttrGroup, func(l *Link) **uint32 { return &l.Group }),
	u32(AttrPromiscuity, func(l *Link) **uint32 { return &l.Promiscuity }),
	u32(AttrAllmulti, func(l *Link) **uint32 { return &l.Allmulti }),
	u32(AttrNumTxQueues, func(l *Link) **uint32 { return &l.NumTxQueues }),
	u32(AttrGSOMaxSegs, func(l *Link) **uint32 { return &l.GSOMaxSegs }),
	u32(AttrGSOMaxSize, func(l *Link) **uint32 { return &l.GSOMaxSize }),
	u32(AttrGROMaxSize, func(l *Link) **uint32 { return &l.GROMaxSize }),
	u32(AttrGSOIPv4MaxSize, func(l *Link) **uint32 { return &l.GSOIPv4MaxSize }),
	u32(AttrGROIPv4MaxSize, func(l *Link) **uint32 { return &l.GROIPv4MaxSize }),
	u32(AttrTSOMaxSize, func(l *Link) **uint32 { return &l.TSOMaxSize }),
	u32(AttrTSOMaxSegs, func(l *Link) **uint32 { return &l.TSOMaxSegs }),
	u32(AttrNumRxQueues, func(l *Link) **uint32 { return &l.NumRxQueues }),
	u32(AttrMaster, func(l *Link) **uint32 { return &l.Master }),
	u8(AttrCarrier, func(l *Link) **uint8 { return &l.Carrier }),
	text(AttrIfalias, func(l *Link) *string { return &l.Alias }),
	u32(AttrCarrierChanges, func(l *Link) **uint32 { return &l.CarrierChanges }),
	u32(AttrCarrierUpCount, func(l *Link) **uint32 { return &l.CarrierUp }),
	u32(AttrCarrierDownCount, func(l *Link) **uint32 { return &l.CarrierDown }),
	u8(AttrProtoDown, func(l *Link) **uint8 { return &l.ProtoDown }),
	{AttrProtoDownReason, putProtoDownReason, getProtoDownReason},
	u32(AttrEvent, func(l *Link) **uint32 { return &l.Event }),
	octets(AttrAddress, func(l *Link) *[]byte { return &l.Address }),
	octets(AttrBroadcast, func(l *Link) *[]byte { return &l.Broadcast }),
	octets(AttrPhysPortID, func(l *Link) *[]byte { return &l.PhysPortID }),
	text(AttrPhysPortName, func(l *Link) *string { return &l.PhysPortName }),
	octets(AttrPhysSwitchID, func(l *Link) *[]byte { return &l.PhysSwitchID }),
	stats(AttrStats64, 8, func(l *Link) **Stats { return &l.Stats64 }),
	stats(AttrStats, 4, func(l *Link) **Stats { return &l.Stats32 }),
	u32(AttrNumVF, func(l *Link) **uint32 { return &l.NumVF }),
	{AttrLinkinfo, putInfo, getInfo},
	octets(AttrPermAddress, func(l *Link) *[]byte { return &l.PermAddress }),
	u32(AttrLink, func(l *Link) **uint32 { return &l.Link }),
	s32(AttrLinkNetNSID, func(l *Link) **int32 { return &l.LinkNetNSID }),
	s32(AttrNewNetNSID, func(l *Link) **int32 { return &l.NewNetNSID }),
	s32(AttrNewIfindex, func(l *Link) **int32 { return &l.NewIfindex }),
	text(AttrQdisc, func(l *Link) *string { return &l.Qdisc }),
	{AttrAFSpec, putAFSpec, getAFSpec},
	{AttrPropList, putPropList, getPropList},
	text(AttrParentDevName, func(l *Link) *string { return &l.ParentDev }),
	text(AttrParentDevBusName, func(l *Link) *string { return &l.ParentBus }),
}

// byType finds a field by attribute type.
var byType = func() (tab [AttrTailroom + 1]*field) {
	for i := range fields {
		tab[fields[i].t] = &fields[i]
	}
	return tab
}()

// Decode reads a message behind its nlmsghdr. The result shares memory with b.
func Decode(b []byte) (*Link, error) {
	if len(b) < HeaderLen {
		return nil, ErrShort
	}
	ne := binary.NativeEndian
	l := &Link{
		Family: b[0], Type: ne.Uint16(b[2:]), Index: int32(ne.Uint32(b[4:])),
		Flags: ne.Uint32(b[8:]), Change: ne.Uint32(b[12:]),
	}
	s := new(store)
	for a := range Attrs(b[HeaderLen:]) {
		if int(a.Type) < len(byType) && byType[a.Type] != nil {
			byType[a.Type].get(a, l, s)
			continue
		}
		if l.Other == nil {
			l.Other = s.other[:0]
		}
		l.Other = append(l.Other, Raw{Type: a.Type, Nested: a.Nested, Data: a.Data})
	}
	return l, nil
}

// Append appends the message behind its nlmsghdr to e.
func (l *Link) Append(e *nl.Encoder) {
	AppendHeader(e, l.Family, l.Type, l.Index, l.Flags, l.Change)
	for i := range fields {
		fields[i].put(e, fields[i].t, l)
	}
	for _, r := range l.Other {
		if r.Nested {
			e.Nest(r.Type, func() { e.Raw(r.Data) })
			continue
		}
		e.Put(r.Type, r.Data)
	}
}

// AppendHeader appends a struct ifinfomsg to e.
func AppendHeader(e *nl.Encoder, family uint8, typ uint16, index int32, flags, change uint32) {
	var b [HeaderLen]byte
	b[0] = family
	binary.NativeEndian.PutUint16(b[2:], typ)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], change)
	e.Raw(b[:])
}

func putInfo(e *nl.Encoder, t uint16, l *Link) {
	i := l.Info
	if i == nil {
		return
	}
	e.NestNoFlag(t, func() {
		if i.Kind != "" {
			e.String(InfoKind, i.Kind)
		}
		if i.XStats != nil {
			e.Put(InfoXStats, i.XStats)
		}
		if i.Data != nil {
			e.Put(InfoData, i.Data)
		}
		if i.SlaveKind != "" {
			e.String(InfoSlaveKind, i.SlaveKind)
		}
		if i.SlaveData != nil {
			e.Put(InfoSlaveData, i.SlaveData)
		}
	})
}

func getInfo(a nl.Attr, l *Link, s *store) {
	i := &s.info
	*i = Info{} // of a repeated attribute the last one counts
	for c := range a.Children() {
		switch c.Type {
		case InfoKind:
			i.Kind = c.String()
		case InfoData:
			i.Data = c.Data
		case InfoXStats:
			i.XStats = c.Data
		case InfoSlaveKind:
			i.SlaveKind = c.String()
		case InfoSlaveData:
			i.SlaveData = c.Data
		}
	}
	l.Info = i
}

func putProtoDownReason(e *nl.Encoder, t uint16, l *Link) {
	if l.ProtoDownReason != nil {
		e.Nest(t, func() { e.U32(ProtoDownReasonValue, *l.ProtoDownReason) })
	}
}

func getProtoDownReason(a nl.Attr, l *Link, s *store) {
	for c := range a.Children() {
		if c.Type == ProtoDownReasonValue && len(c.Data) >= 4 {
			l.ProtoDownReason = s.newU32(c.Uint32())
		}
	}
}

func putPropList(e *nl.Encoder, t uint16, l *Link) {
	if len(l.AltNames) == 0 {
		return
	}
	e.Nest(t, func() {
		for _, s := range l.AltNames {
			e.String(AttrAltIfname, s)
		}
	})
}

func getPropList(a nl.Attr, l *Link, _ *store) {
	for c := range a.Children() {
		if c.Type == AttrAltIfname {
			l.AltNames = append(l.AltNames, c.String())
		}
	}
}
