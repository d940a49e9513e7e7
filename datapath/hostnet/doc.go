// Package hostnet is the host's network stack as the datapath sees it: one
// Namespace for each network namespace in which interfaces live, with the
// links, addresses, routes and group memberships there, and a Watcher that
// follows them.
//
// The interfaces and their types are plain Go; netlink, ioctl and /proc are
// behind them, on Linux only. hostnettest has an implementation in memory.
//
// # Tests
//
// Tests that need the kernel are named TestIntegration, need root and make
// their own network namespaces. They are skipped without root unless
// IPOIB_TEST_ROOT=1 is set.
package hostnet
