//go:build !linux

package tun

import "ipoib/rdma"

// Open returns rdma.ErrNotSupported: there is an implementation for Linux
// only.
func Open(c Config) (Device, error) {
	return nil, &OpError{Op: "open", Name: c.Name, Err: rdma.ErrNotSupported}
}
