// Command ipoib-ethtool is ethtool 6.1 for the interfaces of the IPoIB
// service: the same arguments, output and exit codes.
//
// It asks the service on the socket netlink.sock in $IPOIB_RUN_DIR, which is
// /run/ipoib by default.
package main
