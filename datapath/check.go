package datapath

import (
	"errors"
	"strings"
	"syscall"

	"ipoib/datapath/encap"
	"ipoib/datapath/hostnet"
)

// Settings are attributes that one request wants to change together; nil
// leaves one alone.
type Settings struct {
	Mode  *Mode
	MTU   *int
	Name  *string
	Alias *string
	Addr  *encap.HardwareAddr
}

// Check reports what a setter would refuse of s, and changes nothing: a
// request with several attributes is then refused as a whole. The host may
// still refuse what only it can judge.
func (i *Interface) Check(s Settings) error {
	const op = "change link"
	return i.set(op, func() error {
		if s.Mode != nil {
			if err := i.checkMode(op, *s.Mode); err != nil {
				return err
			}
		}
		if s.Addr != nil {
			if err := i.checkAddress(op, *s.Addr); err != nil {
				return err
			}
		}
		if s.MTU != nil {
			if err := i.checkMTU(*s.MTU, s.Mode); err != nil {
				return err
			}
		}
		if s.Name != nil {
			if err := i.checkName(op, *s.Name); err != nil {
				return err
			}
		}
		if s.Alias != nil {
			return checkAlias(op, i.name, *s.Alias)
		}
		return nil
	})
}

// checkMTU is what SetMTU says to v, in the mode that changes at the same time.
func (i *Interface) checkMTU(v int, m *Mode) error {
	try := i.mtu
	if m != nil {
		try.connected = *m == Connected
	}
	_, err := try.change(i.name, v)
	return err
}

// checkAddress refuses an address that the interface cannot take (kernel
// ipoib_set_mac).
func (i *Interface) checkAddress(op string, a encap.HardwareAddr) error {
	switch {
	case i.up:
		return refuse(op, i.name, syscall.EBUSY, "")
	case [12]byte(a[:12]) != [12]byte(i.addr[:12]), a.GID().GUID() == 0:
		return refuse(op, i.name, syscall.EINVAL, "")
	}
	return nil
}

func checkAlias(op, name, alias string) error {
	if len(alias) > maxAlias {
		return refuse(op, name, syscall.EINVAL, "")
	}
	return nil
}

// maxName is IFNAMSIZ without the terminating NUL.
const maxName = 15

// checkName refuses what is no name (kernel dev_valid_name), or is taken.
func (i *Interface) checkName(op, name string) error {
	switch {
	case name == i.name:
		return nil
	case name == "", name == ".", name == "..", len(name) > maxName, strings.ContainsAny(name, "/: \t\n\v\f\r"):
		return refuse(op, i.name, syscall.EINVAL, "")
	case strings.Contains(name, "%"):
		return nil // a pattern
	}
	_, err := i.ns.ns.LinkByName(name)
	if err == nil {
		return refuse(op, i.name, syscall.EEXIST, "")
	}
	if !errors.Is(err, hostnet.ErrNotExist) {
		return system(op, i.name, err)
	}
	return nil
}
