// Package cli is ipoib-ethtool: the argument grammar, requests and output of
// ethtool 6.1, asked of the IPoIB service instead of the kernel.
//
// What ethtool does by netlink is done with the same messages, byte for byte;
// the formatters work on whatever answers them, so that tests point them at
// the kernel and compare with the real program. What ethtool does by ioctl is
// one request of the family "ipoib" (legacy.go).
//
// App.Run parses, asks and prints. A command is a function on a session; like
// its model it returns the exit code.
package cli
