// Package ethtoolsrv serves the generic netlink family "ethtool" for IPoIB
// interfaces: what the kernel's net/ethtool and ib_ipoib's ethtool_ops do
// together.
//
// table.go has one row for every command of Linux 6.1: its policy comes from
// nl/ethnl, its handler is here, and where the driver has nothing the row says
// how that is refused. All rules about values are the datapath's; a handler
// only translates.
//
// Changes are told to the multicast group "monitor" whatever made them: the
// server follows the driver's changes, not its own requests.
package ethtoolsrv
