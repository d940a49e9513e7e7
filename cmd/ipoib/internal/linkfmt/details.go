package linkfmt

import (
	"encoding/hex"
	"fmt"

	"ipoib/nl/rtlink"
)

// details prints what -d adds.
func (p *Printer) details(l *rtlink.Link, f Filter) {
	p.u32("promiscuity", " promiscuity %d ", l.Promiscuity)
	p.u32("allmulti", " allmulti %d ", l.Allmulti)
	p.u32("min_mtu", "minmtu %d ", l.MinMTU)
	p.u32("max_mtu", "maxmtu %d ", l.MaxMTU)
	if l.Info != nil {
		p.info(l.Info)
	}
	if f.Link && l.AddrGenMode != nil {
		name := fmt.Sprintf("%#.2x", *l.AddrGenMode)
		if int(*l.AddrGenMode) < len(addrGenModes) {
			name = addrGenModes[*l.AddrGenMode]
		}
		p.str("inet6_addr_gen_mode", "addrgenmode %s ", name)
	}
	p.u32("num_tx_queues", "numtxqueues %d ", l.NumTxQueues)
	p.u32("num_rx_queues", "numrxqueues %d ", l.NumRxQueues)
	p.u32("gso_max_size", "gso_max_size %d ", l.GSOMaxSize)
	p.u32("gso_max_segs", "gso_max_segs %d ", l.GSOMaxSegs)
	p.u32("tso_max_size", "tso_max_size %d ", l.TSOMaxSize)
	p.u32("tso_max_segs", "tso_max_segs %d ", l.TSOMaxSegs)
	p.u32("gro_max_size", "gro_max_size %d ", l.GROMaxSize)
	for _, v := range []struct{ key, format, s string }{
		{"phys_port_name", "portname %s ", l.PhysPortName},
		{"phys_port_id", "portid %s ", hex.EncodeToString(l.PhysPortID)},
		{"phys_switch_id", "switchid %s ", hex.EncodeToString(l.PhysSwitchID)},
		{"parentbus", "parentbus %s ", l.ParentBus},
		{"parentdev", "parentdev %s ", l.ParentDev},
	} {
		if v.s != "" {
			p.str(v.key, v.format, v.s)
		}
	}
}

// info prints the kind of a link with its data.
func (p *Printer) info(i *rtlink.Info) {
	p.object("linkinfo")
	if i.Kind != "" {
		p.nl()
		p.str("info_kind", "    %s ", i.Kind)
		if print := kinds[i.Kind]; print != nil {
			p.object("info_data")
			if i.Data != nil {
				print(p, i.Data)
			}
			p.endObject()
		}
	}
	if i.SlaveKind != "" {
		p.nl()
		if p.json != nil {
			p.str("info_slave_kind", "", i.SlaveKind)
		} else {
			p.str("", "    %s_slave ", i.SlaveKind)
		}
		if print := kinds[i.SlaveKind+"_slave"]; print != nil {
			p.object("info_slave_data")
			if i.SlaveData != nil {
				print(p, i.SlaveData)
			}
			p.endObject()
		}
	}
	p.endObject()
}

// kinds prints the data of the kinds that are known.
var kinds = map[string]func(*Printer, []byte){
	rtlink.KindIPoIB: ipoibData,
	"bridge":         bridgeData,
	"bridge_slave":   bridgePortData,
	"macvlan":        macvlanData,
	"macvtap":        macvlanData,
	"tun":            tunData,
	"vlan":           vlanData,
}

// ipoibData prints up to the first attribute that is missing
// (ip/iplink_ipoib.c: ipoib_print_opt).
func ipoibData(p *Printer, b []byte) {
	d := rtlink.DecodeIPoIB(b)
	if d.PKey == nil {
		return
	}
	p.str("key", "pkey %s ", fmt.Sprintf("%#.4x", *d.PKey))
	if d.Mode == nil {
		return
	}
	mode := "unknown"
	if m := *d.Mode; m < 2 {
		mode = [...]string{"datagram", "connected"}[m]
	}
	p.str("mode", "mode %s ", mode)
	if d.Umcast == nil {
		return
	}
	p.str("umcast", "umcast %s ", fmt.Sprintf("%.4x", *d.Umcast))
}
