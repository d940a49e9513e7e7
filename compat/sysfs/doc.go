// Package sysfs is the face of the service that is made of files: what
// IPoIB's documentation reads and writes under /sys.
//
// The tree has a view for each network namespace with interfaces, as a sysfs
// mount belongs to one:
//
//	netns/<inode>/class/net/<if>                link to the directory below
//	netns/<inode>/devices/virtual/net/<if>/     attributes of the interface
//	netns/<inode>/class/infiniband/<hca>/       attributes of a channel adapter
//	netns/<inode>/module/ib_ipoib/parameters/   module parameters
//	netns/<inode>/debug/ipoib/<if>_mcg, _path   the driver's debugfs files
//	netns/<inode>/overlay/                      class, module and debug with
//	                                            the kernel's entries as well
//	class, devices, module, debug               links into the caller's view
//
// An interface's directory has every attribute that the kernel gives its TUN,
// read from and written to the kernel's own sysfs, with those corrected or
// added that an IPoIB interface has (table attrs). Writes are parsed as the
// driver parses them, down to the newline, and go to the setters of datapath;
// the errno is theirs. Unlike the driver, which lets any root write mode and
// umcast, every change of an interface needs CAP_NET_ADMIN.
//
// The kernel's attributes of TUN devices (tun_flags, owner, group) are left
// out: by them programs would take the interface for a tunnel.
package sysfs
