package tun

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"ipoib/datapath/internal/netns"
	"ipoib/rdma"
)

const cloneDevice = "/dev/net/tun"

// Open creates or attaches to a TUN of link type InfiniBand, with a
// virtio-net header. The errors are ErrExist, ErrNotExist, ErrBusy,
// ErrLinkType, ErrPermission, rdma.ErrInvalid and rdma.ErrNotSupported, in an
// *OpError; a failed Open leaves nothing behind that was not there before.
//
// The interface stays down. Its carrier is on.
func Open(c Config) (Device, error) {
	c.setDefaults()
	fd, err := open(&c)
	if err != nil {
		return nil, &OpError{Op: "open", Name: c.Name, Err: openError(err)}
	}
	d, err := newDevice(fd, &c)
	if err != nil {
		return nil, &OpError{Op: "open", Name: c.Name, Err: openError(err)}
	}
	return d, nil
}

// openError maps an errno to this package's error, keeping both.
func openError(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w (%w)", ErrPermission, err)
	case errors.Is(err, unix.EBADFD):
		return ErrRemoved
	}
	return err
}

// open returns the descriptor of a queue of the interface, all set up.
func open(c *Config) (fd int, err error) {
	if c.Pool == nil || len(c.Name) >= unix.IFNAMSIZ || (c.Name == "" && c.Mode != CreateNew) ||
		c.Ifindex < 0 || c.BatchBytes < 0 {
		return -1, rdma.ErrInvalid
	}
	// The namespace of an interface is that of the thread which opened the
	// device node (tun_chr_open). The sockets below have to be in it as well.
	err = netns.Do(c.NetNS, func() error {
		fd, err = unix.Open(cloneDevice, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return os.NewSyscallError("open "+cloneDevice, err)
		}
		if err = attach(fd, c); err == nil {
			err = configure(fd, c)
		}
		if err != nil {
			unix.Close(fd)
		}
		return err
	})
	return fd, err
}

// attach connects the descriptor to the interface.
func attach(fd int, c *Config) error {
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(sock)

	existed := c.Name != "" && !strings.Contains(c.Name, "%") && linkExists(sock, c.Name)
	switch {
	case existed && c.Mode == CreateNew:
		return ErrExist
	case !existed && c.Mode == Attach:
		return ErrNotExist
	}
	if c.Ifindex != 0 && !existed {
		if err := unix.IoctlSetPointerInt(fd, unix.TUNSETIFINDEX, c.Ifindex); err != nil {
			return os.NewSyscallError("TUNSETIFINDEX", err)
		}
	}
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if c.MultiQueue {
		flags |= unix.IFF_MULTI_QUEUE
	}
	if c.Mode == CreateNew {
		flags |= unix.IFF_TUN_EXCL
	}
	ifr, err := unix.NewIfreq(c.Name)
	if err != nil {
		return rdma.ErrInvalid
	}
	ifr.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return attachError(err, existed, c.Mode)
	}
	name := ifr.Name()
	typ, err := linkType(fd, name)
	if err != nil {
		return err
	}
	if existed {
		if typ != LinkTypeInfiniBand {
			return ErrLinkType
		}
	} else {
		if c.Mode == Attach {
			return ErrNotExist // it vanished; the new one goes with fd
		}
		if err := unix.IoctlSetInt(fd, unix.TUNSETLINK, LinkTypeInfiniBand); err != nil {
			return os.NewSyscallError("TUNSETLINK", err)
		}
	}
	if c.TxQueueLen != 0 {
		if err := setTxQueueLen(sock, name, c.TxQueueLen); err != nil {
			return err
		}
	}
	return nil
}

// attachError explains what TUNSETIFF says (drivers/net/tun.c, tun_set_iff).
func attachError(err error, existed bool, m Mode) error {
	switch {
	case errors.Is(err, unix.EBUSY) && m == CreateNew, errors.Is(err, unix.EEXIST):
		return ErrExist
	case errors.Is(err, unix.EBUSY):
		return ErrBusy
	case errors.Is(err, unix.EINVAL) && existed:
		// No TUN, or one with other queues.
		return ErrExist
	case errors.Is(err, unix.E2BIG):
		return fmt.Errorf("%w: too many queues", ErrBusy)
	}
	return os.NewSyscallError("TUNSETIFF", err)
}

// configure sets what belongs to the queue and the interface behind it.
func configure(fd int, c *Config) error {
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, VnetLen); err != nil {
		return os.NewSyscallError("TUNSETVNETHDRSZ", err)
	}
	// An interface taken over may have the other byte order from before.
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETLE, 0); err != nil {
		return os.NewSyscallError("TUNSETVNETLE", err)
	}
	if c.SndBuf != 0 {
		if err := unix.IoctlSetPointerInt(fd, unix.TUNSETSNDBUF, c.SndBuf); err != nil {
			return os.NewSyscallError("TUNSETSNDBUF", err)
		}
	}
	// What TUNSETOFFLOAD takes, the kernel also takes in a packet.
	var err error
	if c.accepts, err = setOffload(fd, FeatureCsum|featuresTSO|FeatureTSOECN|featuresUSO); err != nil {
		return err
	}
	if _, err := setOffload(fd, c.Offload); err != nil {
		return err
	}
	if c.Persist {
		// Last: before this, closing the descriptor undoes a creation.
		if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
			return os.NewSyscallError("TUNSETPERSIST", err)
		}
	}
	return nil
}

// setOffload sets the features, without USO where the kernel has none.
func setOffload(fd int, want Features) (Features, error) {
	want = want.Normalize()
	err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, int(want))
	if err == unix.EINVAL && want&featuresUSO != 0 {
		want &^= featuresUSO
		err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, int(want))
	}
	if err != nil {
		return 0, os.NewSyscallError("TUNSETOFFLOAD", err)
	}
	return want, nil
}

// linkExists reports whether a link has this name, in the socket's namespace.
func linkExists(sock int, name string) bool {
	ifr, err := unix.NewIfreq(name)
	return err == nil && unix.IoctlIfreq(sock, unix.SIOCGIFINDEX, ifr) == nil
}

// linkType returns the hardware type of the interface behind fd; the device
// answers this ioctl itself (drivers/net/tun.c, __tun_chr_ioctl).
func linkType(fd int, name string) (int, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFHWADDR, ifr); err != nil {
		return 0, os.NewSyscallError("SIOCGIFHWADDR", err)
	}
	return int(ifr.Uint16()), nil // sockaddr.sa_family
}

func setTxQueueLen(sock int, name string, n int) error {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	ifr.SetUint32(uint32(n))
	return os.NewSyscallError("SIOCSIFTXQLEN", unix.IoctlIfreq(sock, unix.SIOCSIFTXQLEN, ifr))
}
