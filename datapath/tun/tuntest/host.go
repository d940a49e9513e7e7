package tuntest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"ipoib/datapath/tun"
	"ipoib/rdma"
)

// ErrOffload is returned by Host.Send for an offload that the device did not
// ask for with SetOffload: a host leaves no such work to it.
var ErrOffload = errors.New("tuntest: offload is not enabled on the device")

// Host is the side of the host's network stack: the interface itself, to which
// at most one Device is attached at a time. Its methods may be called by any
// goroutine.
type Host struct {
	// toDevice and toHost hold a token while their queue is not empty.
	toDevice, toHost chan struct{}

	mu sync.Mutex
	// The fields below are guarded by mu.
	dev               *Device
	name, netns       string
	up, carrier, full bool
	persist, removed  bool
	features, accepts tun.Features
	counters          tun.Counters
	sent, received    []Packet
	onChange          func()
}

const allFeatures = tun.FeatureCsum | tun.FeatureTSO4 | tun.FeatureTSO6 | tun.FeatureTSOECN |
	tun.FeatureUSO4 | tun.FeatureUSO6

// NewHost returns an interface to which no Device is attached yet. It is up,
// and not persistent.
func NewHost(name string) *Host {
	return &Host{
		name: name, up: true, carrier: true, accepts: allFeatures,
		toDevice: make(chan struct{}, 1), toHost: make(chan struct{}, 1),
	}
}

// Open attaches a Device. It returns tun.ErrBusy while another is attached,
// and tun.ErrNotExist when the interface was removed.
func (h *Host) Open(pool *rdma.BufferPool) (*Device, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.removed:
		return nil, tun.ErrNotExist
	case h.dev != nil:
		return nil, tun.ErrBusy
	}
	h.dev = &Device{h: h, pool: pool, closed: make(chan struct{})}
	h.counters, h.sent = tun.Counters{}, nil
	return h.dev, nil
}

// detach ends the attached device with an error. The caller holds mu.
func (h *Host) detach(err error) {
	if h.dev != nil {
		h.dev.err = err
		close(h.dev.closed)
		h.dev = nil
	}
}

// changed calls the function of OnChange. The caller must not hold mu.
func (h *Host) changed() {
	h.mu.Lock()
	fn := h.onChange
	h.mu.Unlock()
	if fn != nil {
		fn()
	}
}

// OnChange sets a function that is called after the device changed the
// carrier, or went away. nil removes it.
func (h *Host) OnChange(fn func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onChange = fn
}

// Send makes a packet for the device to read; ip is copied. It returns
// ErrOffload, or rdma.ErrClosed when no device is attached.
func (h *Host) Send(ip []byte, o rdma.Offload) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dev == nil {
		return rdma.ErrClosed
	}
	if need := features(o); h.features&need != need {
		return ErrOffload
	}
	h.sent = append(h.sent, Packet{IP: slices.Clone(ip), Offload: o})
	signal(h.toDevice)
	return nil
}

// features returns what the device must have enabled for an offload.
func features(o rdma.Offload) tun.Features {
	var f tun.Features
	if o.Checksum {
		f |= tun.FeatureCsum
	}
	switch o.Segment {
	case rdma.SegmentTCP4:
		f |= tun.FeatureTSO4
	case rdma.SegmentTCP6:
		f |= tun.FeatureTSO6
	case rdma.SegmentUDP4:
		f |= tun.FeatureUSO4
	case rdma.SegmentUDP6:
		f |= tun.FeatureUSO6
	}
	if o.ECN {
		f |= tun.FeatureTSOECN
	}
	return f
}

// Receive waits for the next packet that the device wrote. The error is that
// of ctx, or rdma.ErrClosed when no device is attached and all packets are
// taken.
func (h *Host) Receive(ctx context.Context) (Packet, error) {
	for {
		p, dev := h.next()
		switch {
		case p != nil:
			return *p, nil
		case dev == nil:
			return Packet{}, rdma.ErrClosed
		}
		select {
		case <-h.toHost:
		case <-dev.closed:
		case <-ctx.Done():
			return Packet{}, ctx.Err()
		}
	}
}

// next takes a packet, nil when there is none, and tells the attached device.
func (h *Host) next() (*Packet, *Device) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.received) == 0 {
		return nil, h.dev
	}
	p := h.received[0]
	h.received = slices.Delete(h.received, 0, 1)
	if len(h.received) > 0 {
		signal(h.toHost)
	}
	return &p, h.dev
}

// Drain returns the packets that the device wrote and nobody received yet,
// without waiting.
func (h *Host) Drain() []Packet {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.received
	h.received = nil
	return p
}

// SetUp sets the administrative state; writes to a device that is down are
// lost.
func (h *Host) SetUp(up bool) { h.set(func(h *Host) { h.up = up }) }

// SetFull makes the host refuse packets for want of memory.
func (h *Host) SetFull(full bool) { h.set(func(h *Host) { h.full = full }) }

// SetAccepts sets what Device.Accepts returns; everything at first. Packets
// with other offloads are refused.
func (h *Host) SetAccepts(f tun.Features) { h.set(func(h *Host) { h.accepts = f }) }

// SetNetNS names the file that the device's NetNS opens.
func (h *Host) SetNetNS(path string) { h.set(func(h *Host) { h.netns = path }) }

// Rename changes the name of the interface.
func (h *Host) Rename(name string) { h.set(func(h *Host) { h.name = name }) }

func (h *Host) set(fn func(h *Host)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fn(h)
}

// Remove deletes the interface, as ip link del does.
func (h *Host) Remove() {
	h.set(func(h *Host) {
		h.detach(tun.ErrRemoved)
		h.removed = true
	})
	h.changed()
}

// Removed reports whether the interface is gone: deleted, or not persistent
// and closed.
func (h *Host) Removed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.removed
}

// Carrier reports the carrier that the device set.
func (h *Host) Carrier() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.carrier
}

// Persistent reports whether the device is to survive its Close.
func (h *Host) Persistent() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.persist
}

// Offload returns the features that the device has enabled.
func (h *Host) Offload() tun.Features {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.features
}
