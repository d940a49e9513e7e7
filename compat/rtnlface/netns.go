package rtnlface

import (
	"errors"
	"os"
	"syscall"

	"ipoib/datapath/hostnet"
	"ipoib/nl"
	"ipoib/nl/rtlink"
	"ipoib/nl/rtnl"
)

// uniqueNetNS refuses a request that names a namespace in more than one way
// (rtnl_ensure_unique_netns).
func uniqueNetNS(r *rtnl.Request) error {
	n := 0
	for _, t := range []uint16{rtlink.AttrNetNSPID, rtlink.AttrNetNSFD, rtlink.AttrTargetNetNSID} {
		if r.Attrs.Has(t) {
			n++
		}
	}
	if n > 1 {
		return nl.Errorf(syscall.EINVAL, "multiple netns identifying attributes specified")
	}
	return nil
}

// targetNetNS opens the namespace that a link is to be in, nil for where it is
// (rtnl_link_get_net_capable). A descriptor is one of the client's.
func (f *Face) targetNetNS(r *rtnl.Request) (hostnet.Namespace, error) {
	if r.Attrs.Has(rtlink.AttrTargetNetNSID) {
		return nil, syscall.EINVAL // no ids are known here
	}
	file, err := namedNetNS(r, rtlink.AttrNetNSPID, rtlink.AttrNetNSFD)
	if file == nil || err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if err := f.mayEnter(r, file); err != nil {
		return nil, err
	}
	ns, err := f.host.ByFile(file)
	if err != nil {
		return nil, errnoOr(err, syscall.EINVAL)
	}
	return ns, nil
}

// namedNetNS opens the namespace that a request names by process or by
// descriptor, nil if it names none (rtnl_link_get_net).
func namedNetNS(r *rtnl.Request, byPID, byFD uint16) (*os.File, error) {
	if a, ok := r.Attrs.Get(byPID); ok {
		file, err := openNetNS(int(a.Uint32()), -1)
		if err != nil {
			return nil, syscall.ESRCH
		}
		return file, nil
	}
	if a, ok := r.Attrs.Get(byFD); ok {
		file, err := openNetNS(r.Peer().PID(), int(a.Int32()))
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil, syscall.EBADF
		case err != nil:
			return nil, syscall.EINVAL
		}
		return file, nil
	}
	return nil, nil
}

// mayEnter refuses a namespace in which the client may not make links: it
// needs CAP_NET_ADMIN in the user namespace that owns it. What the client may
// do in its own namespace tells that where both have the same owner.
func (f *Face) mayEnter(r *rtnl.Request, file *os.File) error {
	if r.Capable(nl.CapNetAdmin) {
		return nil
	}
	own, err := r.Peer().OpenNetNS()
	if err != nil {
		return syscall.EPERM
	}
	defer func() { _ = own.Close() }()
	if r.NetCapable(nl.CapNetAdmin) && sameOwner(own, file) {
		return nil
	}
	return syscall.EPERM
}

// errnoOr returns the errno of an error, or another one.
func errnoOr(err error, other syscall.Errno) syscall.Errno {
	if num, ok := errors.AsType[syscall.Errno](err); ok {
		return num
	}
	return other
}

// noNSID is NETNSA_NSID_NOT_ASSIGNED.
const noNSID = -1

// getNSID answers by which id the client's namespace knows another one
// (rtnl_net_getid): ip monitor asks.
func (f *Face) getNSID(r *rtnl.Request) error {
	id := int32(noNSID)
	if r.Attrs.Has(rtlink.NSIDAttrNSID) {
		return nl.Errorf(syscall.EOPNOTSUPP, "Peer netns reference is invalid")
	}
	file, err := namedNetNS(r, rtlink.NSIDAttrPID, rtlink.NSIDAttrFD)
	switch {
	case err != nil:
		return nl.Errorf(errnoOr(err, syscall.EINVAL), "Peer netns reference is invalid")
	case file == nil:
		return nl.Errorf(syscall.EINVAL, "Peer netns reference is missing")
	}
	defer func() { _ = file.Close() }()
	own, err := r.Peer().OpenNetNS()
	if err == nil {
		if n, ok, err := nl.LookupNSID(own, file); err == nil && ok {
			id = n
		}
		_ = own.Close()
	}
	return r.Reply(rtlink.NewNSID, 0, func(e *nl.Encoder) error {
		e.Raw([]byte{0})
		e.S32(rtlink.NSIDAttrNSID, id)
		return nil
	})
}
