package linkfmt

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// optType is how an attribute of a kind is printed.
type optType uint8

const (
	optU8 optType = iota
	optU16
	optU32
	optU64
	optHex16    // u16 as 0x...
	optOnOff    // u8
	optTextOnly // u8 as on or off, not in JSON
	optBridgeID
	optTimer // u64 in 1/100 s
	optMAC
	optProtocol // EtherType
	optFunc
)

// opt is one attribute of a kind: key is its JSON member; format has one %s or
// %d. Attributes are printed in the order of a table.
type opt struct {
	attr        uint16
	typ         optType
	key, format string
	print       func(p *Printer, a nl.Attr)
}

// table returns the printer of a kind whose attributes are listed.
func table(opts []opt) func(*Printer, []byte) {
	return func(p *Printer, b []byte) {
		tb := map[uint16]nl.Attr{}
		for a := range rtlink.Attrs(b) {
			tb[a.Type] = a
		}
		for _, o := range opts {
			if a, ok := tb[o.attr]; ok {
				o.put(p, a)
			}
		}
	}
}

func (o *opt) put(p *Printer, a nl.Attr) {
	switch o.typ {
	case optU8:
		p.num(o.key, o.format, int64(a.Uint8()))
	case optU16:
		p.num(o.key, o.format, int64(a.Uint16()))
	case optU32:
		p.num(o.key, o.format, int64(a.Uint32()))
	case optU64:
		p.raw(o.key, o.format, strconv.FormatUint(a.Uint64(), 10))
	case optHex16:
		p.hex(o.key, o.format, uint64(a.Uint16()))
	case optOnOff:
		p.onOff(o.key, o.format, a.Uint8() != 0)
	case optTextOnly:
		if p.json == nil {
			p.onOff("", o.format, a.Uint8() != 0)
		}
	case optBridgeID:
		if id := a.Data; len(id) >= 8 {
			p.str(o.key, o.format, fmt.Sprintf("%.2x%.2x.%x:%x:%x:%x:%x:%x",
				id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7]))
		}
	case optTimer:
		v := a.Uint64()
		if p.json != nil {
			p.raw(o.key, "", fmt.Sprintf("%d.%02d", v/100, v%100))
		} else {
			p.Text(fmt.Sprintf("%s %4d.%02d ", o.key, v/100, v%100))
		}
	case optMAC:
		p.str(o.key, o.format, Address(a.Data, rtlink.TypeEther))
	case optProtocol:
		p.str(o.key, o.format, p.protocol(a))
	case optFunc:
		o.print(p, a)
	}
}

// protocol returns the name of an EtherType that VLANs use.
func (p *Printer) protocol(a nl.Attr) string {
	if len(a.Data) < 2 {
		return "[0]"
	}
	switch id := binary.BigEndian.Uint16(a.Data); {
	case id == 0x8100 && !p.o.Numeric:
		return "802.1Q"
	case id == 0x88a8 && !p.o.Numeric:
		return "802.1ad"
	default:
		return "[" + strconv.Itoa(int(id)) + "]"
	}
}

// tunData prints a TUN (ip/iptuntap.c: tun_print_opt). Owners are printed as
// numbers.
var tunData = table([]opt{
	{3, optFunc, "", "", func(p *Printer, a nl.Attr) {
		switch a.Uint8() {
		case 1:
			p.str("type", "type %s ", "tun")
		case 2:
			p.str("type", "type %s ", "tap")
		default:
			p.str("type", "type %s ", "UNKNOWN:"+strconv.Itoa(int(a.Uint8())))
		}
	}},
	{4, optOnOff, "pi", "pi %s ", nil},
	{5, optOnOff, "vnet_hdr", "vnet_hdr %s ", nil},
	{7, optFunc, "", "", func(p *Printer, a nl.Attr) { p.flag("multi_queue", "multi_queue ", a.Uint8() != 0) }},
	{8, optU32, "numqueues", "numqueues %d ", nil},
	{9, optU32, "numdisabled", "numdisabled %d ", nil},
	{6, optOnOff, "persist", "persist %s ", nil},
	{1, optU32, "user", "user %d ", nil},
	{2, optU32, "group", "group %d ", nil},
})

// vlanFlags are in the order in which they are printed.
var vlanFlags = []bitName{{1, "REORDER_HDR"}, {2, "GVRP"}, {8, "MVRP"}, {4, "LOOSE_BINDING"}, {16, "BRIDGE_BINDING"}}

// vlanData prints a VLAN (ip/iplink_vlan.c: vlan_print_opt) without its
// priority maps.
var vlanData = table([]opt{
	{5, optProtocol, "protocol", "protocol %s ", nil},
	{1, optU16, "id", "id %d ", nil},
	{2, optFunc, "", "", func(p *Printer, a nl.Attr) {
		p.array("flags", "<")
		p.bits(vlanFlags, a.Uint32())
		p.endArray("> ")
	}},
})

// macvlanData prints a macvlan (ip/iplink_macvlan.c: macvlan_print_opt)
// without the list of source mode.
var macvlanData = table([]opt{
	{1, optFunc, "", "", func(p *Printer, a nl.Attr) {
		name, ok := map[uint32]string{1: "private", 2: "vepa", 4: "bridge", 8: "passthru", 16: "source"}[a.Uint32()]
		if !ok {
			name = "unknown"
		}
		p.str("mode", "mode %s ", name)
	}},
	{2, optFunc, "", "", func(p *Printer, a nl.Attr) {
		if a.Uint16()&1 != 0 {
			p.flag("nopromisc", "nopromisc ", true)
		}
		if a.Uint16()&2 != 0 {
			p.flag("nodst", "nodst ", true)
		}
	}},
	{7, optU32, "bcqueuelen", "bcqueuelen %d ", nil},
	{8, optU32, "usedbcqueuelen", "usedbcqueuelen %d ", nil},
})
