package linkfmt

import (
	"fmt"
	"strings"

	"ipoib/nl"
)

// bridgeData prints a bridge (ip/iplink_bridge.c: bridge_print_opt). The
// designated root is the bridge's own id there, also when it is not.
var bridgeData = table([]opt{
	{1, optU32, "forward_delay", "forward_delay %d ", nil},
	{2, optU32, "hello_time", "hello_time %d ", nil},
	{3, optU32, "max_age", "max_age %d ", nil},
	{4, optU32, "ageing_time", "ageing_time %d ", nil},
	{5, optU32, "stp_state", "stp_state %d ", nil},
	{6, optU16, "priority", "priority %d ", nil},
	{7, optU8, "vlan_filtering", "vlan_filtering %d ", nil},
	{8, optProtocol, "vlan_protocol", "vlan_protocol %s ", nil},
	{11, optBridgeID, "bridge_id", "bridge_id %s ", nil},
	{11, optBridgeID, "root_id", "designated_root %s ", nil},
	{12, optU16, "root_port", "root_port %d ", nil},
	{13, optU32, "root_path_cost", "root_path_cost %d ", nil},
	{14, optU8, "topology_change", "topology_change %d ", nil},
	{15, optU8, "topology_change_detected", "topology_change_detected %d ", nil},
	{16, optTimer, "hello_timer", "", nil},
	{17, optTimer, "tcn_timer", "", nil},
	{18, optTimer, "topology_change_timer", "", nil},
	{19, optTimer, "gc_timer", "", nil},
	{39, optU16, "vlan_default_pvid", "vlan_default_pvid %d ", nil},
	{41, optU8, "vlan_stats_enabled", "vlan_stats_enabled %d ", nil},
	{45, optU8, "vlan_stats_per_port", "vlan_stats_per_port %d ", nil},
	{9, optHex16, "group_fwd_mask", "group_fwd_mask %s ", nil},
	{20, optMAC, "group_addr", "group_address %s ", nil},
	{23, optU8, "mcast_snooping", "mcast_snooping %d ", nil},
	{46, optFunc, "", "", func(p *Printer, a nl.Attr) {
		if len(a.Data) < 8 {
			return
		}
		val, mask := a.Uint32(), nl.Attr{Data: a.Data[4:]}.Uint32()
		for bit, name := range []string{"no_linklocal_learn", "mcast_vlan_snooping"} {
			if mask&(1<<bit) != 0 {
				p.num(name, name+" %d ", int64(val>>bit&1))
			}
		}
	}},
	{22, optU8, "mcast_router", "mcast_router %d ", nil},
	{24, optU8, "mcast_query_use_ifaddr", "mcast_query_use_ifaddr %d ", nil},
	{25, optU8, "mcast_querier", "mcast_querier %d ", nil},
	{26, optU32, "mcast_hash_elasticity", "mcast_hash_elasticity %d ", nil},
	{27, optU32, "mcast_hash_max", "mcast_hash_max %d ", nil},
	{28, optU32, "mcast_last_member_cnt", "mcast_last_member_count %d ", nil},
	{29, optU32, "mcast_startup_query_cnt", "mcast_startup_query_count %d ", nil},
	{30, optU64, "mcast_last_member_intvl", "mcast_last_member_interval %d ", nil},
	{31, optU64, "mcast_membership_intvl", "mcast_membership_interval %d ", nil},
	{32, optU64, "mcast_querier_intvl", "mcast_querier_interval %d ", nil},
	{33, optU64, "mcast_query_intvl", "mcast_query_interval %d ", nil},
	{34, optU64, "mcast_query_response_intvl", "mcast_query_response_interval %d ", nil},
	{35, optU64, "mcast_startup_query_intvl", "mcast_startup_query_interval %d ", nil},
	{42, optU8, "mcast_stats_enabled", "mcast_stats_enabled %d ", nil},
	{43, optU8, "mcast_igmp_version", "mcast_igmp_version %d ", nil},
	{44, optU8, "mcast_mld_version", "mcast_mld_version %d ", nil},
	{36, optU8, "nf_call_iptables", "nf_call_iptables %d ", nil},
	{37, optU8, "nf_call_ip6tables", "nf_call_ip6tables %d ", nil},
	{38, optU8, "nf_call_arptables", "nf_call_arptables %d ", nil},
})

// bridgePortData prints a port of a bridge (ip/iplink_bridge_slave.c:
// bridge_slave_print_opt).
var bridgePortData = table([]opt{
	{1, optFunc, "", "", func(p *Printer, a nl.Attr) {
		names := [...]string{"disabled", "listening", "learning", "forwarding", "blocking"}
		if s := a.Uint8(); int(s) < len(names) {
			p.str("state", "state %s ", names[s])
		} else {
			p.num("state_index", "state (%d) ", int64(s))
		}
	}},
	{2, optU16, "priority", "priority %d ", nil},
	{3, optU32, "cost", "cost %d ", nil},
	{4, optOnOff, "hairpin", "hairpin %s ", nil},
	{5, optOnOff, "guard", "guard %s ", nil},
	{6, optOnOff, "root_block", "root_block %s ", nil},
	{7, optOnOff, "fastleave", "fastleave %s ", nil},
	{8, optOnOff, "learning", "learning %s ", nil},
	{9, optOnOff, "flood", "flood %s ", nil},
	{17, optHex16, "id", "port_id %s ", nil},
	{18, optHex16, "no", "port_no %s ", nil},
	{15, optU16, "designated_port", "designated_port %d ", nil},
	{16, optU16, "designated_cost", "designated_cost %d ", nil},
	{14, optBridgeID, "bridge_id", "designated_bridge %s ", nil},
	{13, optBridgeID, "root_id", "designated_root %s ", nil},
	{23, optTimer, "hold_timer", "", nil},
	{21, optTimer, "message_age_timer", "", nil},
	{22, optTimer, "forward_delay_timer", "", nil},
	{19, optU8, "topology_change_ack", "topology_change_ack %d ", nil},
	{20, optU8, "config_pending", "config_pending %d ", nil},
	{10, optOnOff, "proxy_arp", "proxy_arp %s ", nil},
	{12, optOnOff, "proxy_arp_wifi", "proxy_arp_wifi %s ", nil},
	{25, optU8, "multicast_router", "mcast_router %d ", nil},
	{7, optTextOnly, "", "mcast_fast_leave %s ", nil},
	{27, optOnOff, "mcast_flood", "mcast_flood %s ", nil},
	{30, optOnOff, "bcast_flood", "bcast_flood %s ", nil},
	{28, optOnOff, "mcast_to_unicast", "mcast_to_unicast %s ", nil},
	{32, optOnOff, "neigh_suppress", "neigh_suppress %s ", nil},
	{31, optFunc, "", "", func(p *Printer, a nl.Attr) {
		p.hex("group_fwd_mask", "group_fwd_mask %s ", uint64(a.Uint16()))
		p.str("group_fwd_mask_str", "group_fwd_mask_str %s ", forwardMask(a.Uint16()))
	}},
	{29, optOnOff, "vlan_tunnel", "vlan_tunnel %s ", nil},
	{33, optOnOff, "isolated", "isolated %s ", nil},
	{39, optOnOff, "locked", "locked %s ", nil},
	{34, optFunc, "", "", func(p *Printer, a nl.Attr) {
		p.str("backup_port", "backup_port %s ", p.names.Ifname(a.Uint32()))
	}},
})

// forwardMask names the link-local protocols that a bridge port forwards.
func forwardMask(m uint16) string {
	var out []string
	for i := range 16 {
		switch {
		case m&(1<<i) == 0:
		case i == 0:
			out = append(out, "stp")
		case i == 2:
			out = append(out, "lacp")
		case i == 14:
			out = append(out, "lldp")
		default:
			out = append(out, fmt.Sprintf("%#x", 1<<i))
		}
	}
	if out == nil {
		return "0x0"
	}
	return strings.Join(out, ",")
}
