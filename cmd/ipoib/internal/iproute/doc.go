// Package iproute is the commands `ipoib link` and `ipoib monitor`: the
// grammar, the requests, the output, the errors and the exit codes of `ip link`
// and `ip monitor` of iproute2 6.1, against the service's netlink socket.
//
// The requests are the same messages in the same order as ip sends, also
// where one would do with fewer: whoever traces both sees no difference. What
// is our own is
//
//   - the short form of `link add`: a name such as ib0.8001 gives the parent
//     and, unless pkey does, the P_Key, and "type ipoib" may be left out;
//   - the usage and version texts, and --run-dir;
//   - virtual functions and XDP programs are refused without being looked at,
//     as the kernel refuses them on such an interface; data of other kinds
//     than ipoib is not parsed.
//
// In ip a fatal error ends the process, in the middle of a batch file too;
// fatal and failed keep the two apart.
package iproute
