package linkfmt

import (
	"net/netip"
	"strconv"
	"strings"
)

// typeNames are ARP hardware types by number (lib/ll_types.c).
var typeNames = map[uint16]string{
	0: "netrom", 1: "ether", 2: "eether", 3: "ax25", 4: "pronet", 5: "chaos", 6: "ieee802", 7: "arcnet", 8: "atalk",
	15: "dlci", 19: "atm", 23: "metricom", 24: "ieee1394", 32: "infiniband",
	256: "slip", 257: "cslip", 258: "slip6", 259: "cslip6", 260: "rsrvd", 264: "adapt", 270: "rose", 271: "x25",
	272: "hwx25", 280: "can", 512: "ppp", 513: "hdlc", 516: "lapb", 517: "ddcmp", 518: "rawhdlc",
	768: "ipip", 769: "tunnel6", 770: "frad", 771: "skip", 772: "loopback", 773: "ltalk", 774: "fddi", 775: "bif",
	776: "sit", 777: "ip/ddp", 778: "gre", 779: "pimreg", 780: "hippi", 781: "ash", 782: "econet", 783: "irda",
	784: "fcpp", 785: "fcal", 786: "fcpl", 787: "fcfb0", 788: "fcfb1", 789: "fcfb2", 790: "fcfb3", 791: "fcfb4",
	792: "fcfb5", 793: "fcfb6", 794: "fcfb7", 795: "fcfb8", 796: "fcfb9", 797: "fcfb10", 798: "fcfb11", 799: "fcfb12",
	800: "tr", 801: "ieee802.11", 802: "ieee802.11/prism", 803: "ieee802.11/radiotap",
	804: "ieee802.15.4", 805: "ieee802.15.4/monitor", 820: "phonet", 821: "phonet_pipe", 822: "caif", 823: "gre6",
	824: "netlink", 825: "6lowpan", 0xfffe: "none", 0xffff: "void",
}

func (p *Printer) typeName(t uint16) string {
	if s, ok := typeNames[t]; ok && !p.o.Numeric {
		return s
	}
	return "[" + strconv.Itoa(int(t)) + "]"
}

// hardware types whose addresses are IP addresses.
const (
	typeTunnel  = 768
	typeTunnel6 = 769
	typeSIT     = 776
	typeIPGRE   = 778
	typeIP6GRE  = 823
)

// Address prints a link-layer address of a link of that type
// (lib/ll_addr.c: ll_addr_n2a).
func Address(b []byte, typ uint16) string {
	switch typ {
	case typeTunnel, typeSIT, typeIPGRE:
		if len(b) == 4 {
			return netip.AddrFrom4([4]byte(b)).String()
		}
	case typeTunnel6, typeIP6GRE:
		if len(b) == 16 {
			return netip.AddrFrom16([16]byte(b)).String()
		}
	}
	const digits = "0123456789abcdef"
	var s strings.Builder
	s.Grow(3 * len(b))
	for i, c := range b {
		if i > 0 {
			s.WriteByte(':')
		}
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

func (p *Printer) group(n uint32) string {
	if !p.o.Numeric {
		if s := p.names.Group(n); s != "" {
			return s
		}
	}
	return strconv.Itoa(int(int32(n)))
}

// operNames, linkmodes and events are the texts of ip/ipaddress.c.
var (
	operNames = [...]string{"UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP"}
	linkmodes = [...]string{"DEFAULT", "DORMANT"}
	events    = [...]string{
		"NONE", "REBOOT", "FEATURE CHANGE", "BONDING FAILOVER", "NOTIFY PEERS", "RESEND IGMP", "BONDING OPTION",
	}
	addrGenModes = [...]string{"eui64", "none", "stable_secret", "random"}
)

// Operstate returns the number of an operational state by its name, whatever
// its case, -1 for none.
func Operstate(name string) int {
	for i, s := range operNames {
		if strings.EqualFold(s, name) {
			return i
		}
	}
	return -1
}

// bitName is the name of a flag.
type bitName struct {
	bit  uint32
	name string
}

// bits prints flags by their names, and those without one as a number.
func (p *Printer) bits(names []bitName, flags uint32) {
	for _, f := range names {
		if flags&f.bit == 0 {
			continue
		}
		flags &^= f.bit
		if flags != 0 {
			p.str("", "%s,", f.name)
		} else {
			p.str("", "%s", f.name)
		}
	}
	if flags != 0 {
		p.str("", "%s", strconv.FormatUint(uint64(flags), 16))
	}
}

// flagNames are the interface flags in the order in which they are printed.
var flagNames = []bitName{
	{1 << 3, "LOOPBACK"}, {1 << 1, "BROADCAST"}, {1 << 4, "POINTOPOINT"}, {1 << 12, "MULTICAST"}, {1 << 7, "NOARP"},
	{1 << 9, "ALLMULTI"}, {1 << 8, "PROMISC"}, {1 << 10, "MASTER"}, {1 << 11, "SLAVE"}, {1 << 2, "DEBUG"},
	{1 << 15, "DYNAMIC"}, {1 << 14, "AUTOMEDIA"}, {1 << 13, "PORTSEL"}, {1 << 5, "NOTRAILERS"}, {1 << 0, "UP"},
	{1 << 16, "LOWER_UP"}, {1 << 17, "DORMANT"}, {1 << 18, "ECHO"},
}
