package ethioctl

import (
	"bytes"

	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/filter"
	"ipoib/compat/redirect/trap"
	"ipoib/compat/redirect/upstream"
	"ipoib/nl/rtlink"
)

// Worlds finds the service as the network namespace of a socket sees it.
type Worlds interface {
	World(tr *trap.Trap, fd int) (*upstream.World, error)
}

// Handler answers ioctls.
type Handler struct{ Worlds Worlds }

// Sizes of struct ifreq, in bytes.
const (
	ifNameSize = 16
	ifreqLen   = 40
)

// Handle answers an ioctl about an interface of the service; others are the
// kernel's.
func (h *Handler) Handle(tr *trap.Trap) error {
	var req [ifreqLen]byte
	if err := tr.Thread.Read(tr.Args[2], req[:ifNameSize+8]); err != nil {
		return tr.Continue()
	}
	raw, _, _ := bytes.Cut(req[:ifNameSize], []byte{0})
	name := string(raw)
	fd, err := tr.Thread.Dup(tr.FD(0))
	if err != nil {
		return tr.Continue()
	}
	w, err := h.Worlds.World(tr, fd)
	_ = unix.Close(fd) // before the program runs on
	if err != nil || name == "" {
		return tr.Continue()
	}
	index, err := w.Resolve(0, name)
	if err != nil {
		return tr.Fail(unix.ETIMEDOUT)
	}
	if index == 0 {
		return tr.Continue()
	}
	d := &device{tr: tr, w: w, name: name, index: index}
	switch uint32(tr.Args[1]) {
	case filter.SIOCGIFHWADDR:
		return d.hardwareAddress()
	case filter.SIOCGIFFLAGS:
		return d.flags()
	}
	return d.ethtool(native.Uint64(req[ifNameSize:]))
}

// device is an interface of the service that a call is about.
type device struct {
	tr    *trap.Trap
	w     *upstream.World
	name  string
	index int32
}

// link asks what the service says of the interface.
func (d *device) link() (*rtlink.Link, error) {
	l, err := rtlink.Decode(d.w.Link(d.index))
	if err != nil {
		return nil, unix.ENODEV
	}
	return l, nil
}

// reply writes what follows the name in struct ifreq.
func (d *device) reply(b []byte) error {
	if err := d.tr.Thread.Write(d.tr.Args[2]+ifNameSize, b); err != nil {
		return d.tr.Fail(unix.EFAULT)
	}
	return d.tr.Return(0)
}

// hardwareAddress answers SIOCGIFHWADDR: struct sockaddr has room for the
// first 14 octets (dev_get_mac_address).
func (d *device) hardwareAddress() error {
	l, err := d.link()
	if err != nil {
		return d.tr.Continue()
	}
	b := make([]byte, 16)
	native.PutUint16(b, rtlink.TypeInfiniBand)
	copy(b[2:], l.Address)
	return d.reply(b)
}

// flags answers SIOCGIFFLAGS.
func (d *device) flags() error {
	l, err := d.link()
	if err != nil {
		return d.tr.Continue()
	}
	return d.reply(native.AppendUint16(nil, uint16(l.Flags)))
}
