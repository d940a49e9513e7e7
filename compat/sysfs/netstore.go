package sysfs

import (
	"bytes"
	"math"
	"syscall"

	"ipoib/compat/fusefs"
	"ipoib/compat/internal/kstr"
	"ipoib/datapath"
	"ipoib/rdma"
)

// The functions here take what is written to an attribute. The order of their
// checks is the driver's: the text, the range, the privilege, the rest.

// maxPKey is the largest value of 16 bits.
const maxPKey = 0xffff

// storeCreateChild makes a child (kernel create_child_store).
func storeCreateChild(n *netdev, c fusefs.Caller, b []byte) error {
	v, ok := kstr.ScanInt(b)
	if !ok || v <= 0 || v > maxPKey || rdma.PKey(v) == rdma.PKeyFullMember {
		return syscall.EINVAL
	}
	if err := n.admin(c); err != nil {
		return err
	}
	_, err := n.t.Driver.CreateChild(n.i, rdma.PKey(v))
	return n.settled(err)
}

// settled lets what follows from a change of the interfaces happen first.
func (n *netdev) settled(err error) error {
	if err == nil && n.t.Settle != nil {
		n.t.Settle()
	}
	return err
}

// storeDeleteChild removes a child (kernel delete_child_store).
func storeDeleteChild(n *netdev, c fusefs.Caller, b []byte) error {
	v, ok := kstr.ScanInt(b)
	if !ok || v < 0 || v > maxPKey {
		return syscall.EINVAL
	}
	if err := n.admin(c); err != nil {
		return err
	}
	return n.settled(n.t.Driver.DeleteChild(n.i, rdma.PKey(v)))
}

// cString is what a string function of the kernel sees: up to the first NUL.
func cString(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// storeMode switches the mode: the word and its newline, nothing else (kernel
// ipoib_set_mode).
func storeMode(n *netdev, c fusefs.Caller, b []byte) error {
	var m datapath.Mode
	switch cString(b) {
	case "connected\n":
		m = datapath.Connected
	case "datagram\n":
		m = datapath.Datagram
	default:
		return syscall.EINVAL
	}
	if err := n.admin(c); err != nil {
		return err
	}
	return n.i.SetMode(m)
}

// storeUmcast sets umcast by any number that is positive as an int; what is no
// number clears it (kernel umcast_store).
func storeUmcast(n *netdev, c fusefs.Caller, b []byte) error {
	if err := n.admin(c); err != nil {
		return err
	}
	return n.i.SetUmcast(int32(kstr.SimpleUlong(b)) > 0)
}

// ulong reads a number for the attributes of all interfaces (kernel
// netdev_store), after the privilege.
func ulong(n *netdev, c fusefs.Caller, b []byte) (uint64, error) {
	if err := n.admin(c); err != nil {
		return 0, err
	}
	return kstr.ParseUlong(b)
}

func storeMTU(n *netdev, c fusefs.Caller, b []byte) error {
	v, err := ulong(n, c, b)
	if err != nil {
		return err
	}
	return n.i.SetMTU(int(int32(v)))
}

func storeTxQueueLen(n *netdev, c fusefs.Caller, b []byte) error {
	v, err := ulong(n, c, b)
	if err == nil && v > math.MaxUint32 {
		err = syscall.ERANGE
	}
	if err != nil {
		return err
	}
	return n.i.SetTxQueueLen(int(v))
}

func storeFlags(n *netdev, c fusefs.Caller, b []byte) error {
	v, err := ulong(n, c, b)
	if err != nil {
		return err
	}
	return n.i.SetFlags(uint32(v), math.MaxUint32)
}

// storeAlias sets the alias without the newline (kernel ifalias_store).
func storeAlias(n *netdev, c fusefs.Caller, b []byte) error {
	if err := n.admin(c); err != nil {
		return err
	}
	b, _ = bytes.CutSuffix(b, []byte{'\n'})
	return n.i.SetAlias(cString(b))
}
