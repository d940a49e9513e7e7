package tun

import (
	"golang.org/x/sys/unix"

	"ipoib/rdma"
)

// Write implements Device.
func (d *device) Write(pkts []Packet) (n int, err error) {
	d.use.RLock()
	defer d.use.RUnlock()
	if d.closed.Load() {
		return 0, rdma.ErrClosed
	}
	for i := range pkts {
		buf := pkts[i].Buf
		switch errno := d.writeOne(buf.Push(vnetRoom), &pkts[i]); errno {
		case 0:
			n++
		case unix.EIO:
			d.writeDown.Add(1)
		case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
			d.writeBusy.Add(1)
		case unix.EINVAL:
			d.writeInvalid.Add(1)
		case unix.EBADFD:
			err = ErrRemoved
		default:
			err = &OpError{Op: "write", Name: *d.name.Load(), Err: errno}
		}
		buf.Pull(vnetRoom)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// writeOne writes the packet that starts in b, with room for the virtio-net
// header in front.
func (d *device) writeOne(b []byte, p *Packet) unix.Errno {
	more := 0
	for _, part := range p.Parts {
		more += part.Len()
	}
	if EncodeVnet(b, more, p.Offload) != nil || len(p.Parts) > MaxParts {
		return unix.EINVAL
	}
	for {
		var n int
		var errno unix.Errno
		if more == 0 {
			n, errno = write(d.fd, b)
		} else {
			n, errno = d.parts.write(d.fd, b, p.Parts)
		}
		switch {
		case errno == unix.EINTR:
			continue
		case errno == 0 && n != len(b)+more:
			// The host took a piece of the packet: as good as none.
			return unix.ENOBUFS
		}
		return errno
	}
}
