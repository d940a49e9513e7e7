// Package ethioctl answers the ioctls about the service's interfaces: what
// programs ask and set with SIOCETHTOOL (uapi/linux/ethtool.h), and the
// hardware address and the flags that the kernel's TUN has not.
package ethioctl
