package tuntest

import (
	"os"
	"slices"

	"ipoib/datapath/encap"
	"ipoib/datapath/tun"
	"ipoib/rdma"
)

// Packet is an IP packet as the host sees it. Offsets in Offload count from an
// encapsulation header in front of it, as in tun.Packet.
type Packet struct {
	IP      []byte
	Offload rdma.Offload
}

// New returns a device and the host's side of it. The interface is up, not
// persistent, and without offloads; pool provides the buffers of Read.
func New(name string, pool *rdma.BufferPool) (*Device, *Host) {
	h := NewHost(name)
	d, err := h.Open(pool)
	if err != nil {
		panic(err) // nobody else knows h yet
	}
	return d, h
}

// Device is the side of the datapath.
type Device struct {
	h    *Host
	pool *rdma.BufferPool
	// closed is closed by Close, or when the host removes the interface.
	closed chan struct{}
	err    error // what operations return then; guarded by h.mu
}

var _ tun.Device = (*Device)(nil)

// signal leaves a token in a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// locked runs fn on the open device.
func (d *Device) locked(fn func(h *Host)) error {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	fn(d.h)
	return nil
}

// Name implements tun.Device.
func (d *Device) Name() (name string, err error) {
	err = d.locked(func(h *Host) { name = h.name })
	return name, err
}

// Read implements tun.Device.
func (d *Device) Read(pkts []tun.Packet) (n int, err error) {
	for len(pkts) > 0 {
		err := d.locked(func(h *Host) {
			n = min(len(pkts), len(h.sent))
			for i, p := range h.sent[:n] {
				pkts[i] = tun.Packet{Buf: d.pool.Get(encap.HeaderLen + len(p.IP)), Offload: p.Offload}
				copy(pkts[i].Buf.Bytes()[encap.HeaderLen:], p.IP)
			}
			h.sent = slices.Delete(h.sent, 0, n)
			if len(h.sent) > 0 {
				signal(h.toDevice)
			}
		})
		if n > 0 || err != nil {
			return n, err
		}
		select {
		case <-d.h.toDevice:
		case <-d.closed:
		}
	}
	return 0, nil
}

// Write implements tun.Device. Packets go through the virtio-net header, so
// that what a kernel device would refuse is refused here.
func (d *Device) Write(pkts []tun.Packet) (n int, err error) {
	err = d.locked(func(h *Host) {
		for i := range pkts {
			ip := slices.Clone(pkts[i].Buf.Bytes()[encap.HeaderLen:])
			for _, part := range pkts[i].Parts {
				ip = append(ip, part.Bytes()...)
			}
			b := make([]byte, tun.VnetLen+len(ip))
			copy(b[tun.VnetLen:], ip)
			switch {
			case !h.up:
				h.counters.WriteDown++
				continue
			case h.full:
				h.counters.WriteBusy++
				continue
			case features(pkts[i].Offload)&^h.accepts != 0, tun.EncodeVnet(b, 0, pkts[i].Offload) != nil, encap.EtherTypeOf(ip) == 0:
				h.counters.WriteInvalid++
				continue
			}
			o, _ := tun.DecodeVnet(b) // of what EncodeVnet made
			h.received = append(h.received, Packet{IP: b[tun.VnetLen:], Offload: o})
			n++
		}
		if n > 0 {
			signal(h.toHost)
		}
	})
	return n, err
}

// SetCarrier implements tun.Device.
func (d *Device) SetCarrier(on bool) error {
	return d.change(func(h *Host) { h.carrier = on })
}

// change is locked for what the host is told of.
func (d *Device) change(fn func(h *Host)) error {
	err := d.locked(fn)
	if err == nil {
		d.h.changed()
	}
	return err
}

// NetNS implements tun.Device: it opens the file that Host.SetNetNS named.
func (d *Device) NetNS() (*os.File, error) {
	var path string
	if err := d.locked(func(h *Host) { path = h.netns }); err != nil {
		return nil, err
	}
	return os.Open(path)
}

// SetOffload implements tun.Device.
func (d *Device) SetOffload(want tun.Features) (got tun.Features, err error) {
	err = d.locked(func(h *Host) {
		h.features = want.Normalize()
		got = h.features
	})
	return got, err
}

// Accepts implements tun.Device: what Host.SetAccepts said, or everything.
func (d *Device) Accepts() (f tun.Features) {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	return d.h.accepts
}

// SetPersist implements tun.Device.
func (d *Device) SetPersist(on bool) error {
	return d.locked(func(h *Host) { h.persist = on })
}

// Counters implements tun.Device.
func (d *Device) Counters() tun.Counters {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	return d.h.counters
}

// Close implements tun.Device.
func (d *Device) Close() error {
	h := d.h
	h.mu.Lock()
	if d.err == nil {
		h.detach(rdma.ErrClosed)
		h.removed = !h.persist
	}
	h.mu.Unlock()
	h.changed()
	return nil
}

// Host returns the host's side of the interface.
func (d *Device) Host() *Host { return d.h }
