package tun

import (
	"errors"

	"ipoib/rdma"
)

// readLoop reads a device on a goroutine of its own: what a Poller does with
// devices that it cannot poll.
func readLoop(d Device, batch int, fn func([]Packet), gone func(error)) {
	pkts := make([]Packet, batch)
	for {
		n, err := d.Read(pkts)
		if n > 0 {
			fn(pkts[:n])
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, rdma.ErrClosed) || errors.Is(err, ErrRemoved) {
			gone(err)
		}
		return
	}
}
