// Package rtlink is the codec of rtnetlink's link messages: struct ifinfomsg
// with its IFLA_* attributes, as a Go struct, the policies that the kernel
// checks requests with, and the data of the link kind "ipoib".
//
// Decode reads what any kernel says of any link, and keeps what it does not
// know, so that a link can be read, changed in part and written again. It is
// as lenient as the tools that read the kernel: an attribute that is too short
// counts as absent. Requests are for package nl's parser with the policies
// here, which is as strict as the kernel.
//
// The package knows no socket and no service: package nl/rtnl dispatches, and
// compat/rtnlface answers.
package rtlink
