package hostnet

import (
	"strconv"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// skipStats is RTEXT_FILTER_SKIP_STATS: without it most of a link message is
// counters of IPv6.
const skipStats = 1 << 3

// LinkMessages implements Namespace.
func (n *namespace) LinkMessages(ifindex int) ([][]byte, error) {
	mask := func(ae *netlink.AttributeEncoder) { ae.Uint32(unix.IFLA_EXT_MASK, skipStats) }
	var msgs []netlink.Message
	var err error
	what := ""
	if ifindex == 0 {
		msgs, err = n.dump(unix.RTM_GETLINK, ifinfomsg(0, 0, 0), mask)
	} else {
		what = strconv.Itoa(ifindex)
		msgs, err = n.execute(unix.RTM_GETLINK, 0, ifinfomsg(ifindex, 0, 0), mask)
	}
	if err != nil {
		return nil, n.opError("get link", what, err)
	}
	out := make([][]byte, len(msgs))
	for i, m := range msgs {
		out[i] = m.Data
	}
	return out, nil
}

// ChangeLink implements Namespace.
func (n *namespace) ChangeLink(ifindex int, c LinkChange) error {
	typ, flags := c.Type, netlink.HeaderFlags(0)
	switch typ {
	case 0:
		typ = unix.RTM_NEWLINK
	case unix.RTM_NEWLINKPROP:
		flags = netlink.Excl | netlink.Create | netlink.Append
	}
	_, err := n.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   append(ifinfomsg(ifindex, c.Flags, c.Mask), c.Attrs...),
	})
	return n.opError("change link", strconv.Itoa(ifindex), err)
}
