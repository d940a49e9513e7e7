package nl

import (
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// LookupNSID asks the kernel by which id the network namespace listener knows
// the namespace event (RTM_GETNSID), for Config.NSID. ok is false when it has
// none. Both are nsfs files.
func LookupNSID(listener, event *os.File) (id int32, ok bool, err error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: int(listener.Fd())})
	if err != nil {
		return 0, false, fmt.Errorf("nl: %w", err)
	}
	defer c.Close()
	var e Encoder
	e.Raw([]byte{unix.AF_UNSPEC})
	e.U32(unix.NETNSA_FD, uint32(event.Fd()))
	ms, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETNSID, Flags: netlink.Request},
		Data:   e.Bytes(),
	})
	if err != nil {
		return 0, false, fmt.Errorf("nl: namespace id: %w", err)
	}
	if len(ms) != 1 || len(ms[0].Data) < 4 {
		return 0, false, errors.New("nl: namespace id: malformed answer")
	}
	attrs, err := Parse(ms[0].Data[4:], 0, &Policy{Attrs: []AttrPolicy{unix.NETNSA_NSID: S32()}}, Liberal)
	if err != nil {
		return 0, false, fmt.Errorf("nl: namespace id: %w", err)
	}
	a, ok := attrs.Get(unix.NETNSA_NSID)
	if !ok || a.Int32() == noNSID {
		return 0, false, nil
	}
	return a.Int32(), true, nil
}
