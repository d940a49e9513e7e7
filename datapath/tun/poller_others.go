//go:build !linux

package tun

import "ipoib/rdma"

// Poller reads devices. There are none on this system but those of tests.
type Poller struct{}

// PollerConfig says how a Poller reads.
type PollerConfig struct {
	Threads int
	NoRing  bool
}

// NewPoller returns rdma.ErrNotSupported.
func NewPoller(PollerConfig) (*Poller, error) { return nil, rdma.ErrNotSupported }

// RingError returns rdma.ErrNotSupported.
func (p *Poller) RingError() error { return rdma.ErrNotSupported }

// Start reads a device on a goroutine of its own.
func (p *Poller) Start(d Device, batch int, fn func([]Packet), gone func(error)) error {
	go readLoop(d, batch, fn, gone)
	return nil
}

// Watch returns rdma.ErrNotSupported.
func (p *Poller) Watch(int, func()) error { return rdma.ErrNotSupported }

// Close ends reading.
func (p *Poller) Close() error { return nil }
