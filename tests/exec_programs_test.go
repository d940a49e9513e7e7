//go:build integration

package tests

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mdlayher/ethtool"
	mdnetlink "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ipoib/nl"
)

// cniHelper makes a child as the IPoIB plug-in of Kubernetes does, with
// vishvananda/netlink, and reads link settings with mdlayher/ethtool.
func cniHelper(args []string) error {
	parent, err := netlink.LinkByName(args[0])
	if err != nil {
		return fmt.Errorf("LinkByName: %w", err)
	}
	if parent.Type() != "ipoib" {
		return fmt.Errorf("%s is of type %s", args[0], parent.Type())
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = "ibnet0", parent.Attrs().Index
	if err := netlink.LinkAdd(&netlink.IPoIB{LinkAttrs: attrs, Pkey: 0x8005, Mode: netlink.IPOIB_MODE_DATAGRAM, Umcast: 1}); err != nil {
		return fmt.Errorf("LinkAdd: %w", err)
	}
	link, err := netlink.LinkByName("ibnet0")
	if err != nil {
		return fmt.Errorf("LinkByName: %w", err)
	}
	child, ok := link.(*netlink.IPoIB)
	if !ok || child.Pkey != 0x8005 || child.Umcast != 1 || child.ParentIndex != attrs.ParentIndex {
		return fmt.Errorf("the child is %#v", link)
	}
	if n := len(child.HardwareAddr); n != 20 {
		return fmt.Errorf("an address of %d octets", n)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("LinkSetUp: %w", err)
	}
	list, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("LinkList: %w", err)
	}
	if !slices.ContainsFunc(list, func(l netlink.Link) bool { return l.Attrs().Name == "ibnet0" && l.Type() == "ipoib" }) {
		return errors.New("ibnet0 is not in the list")
	}
	et, err := ethtool.New()
	if err != nil {
		return fmt.Errorf("ethtool: %w", err)
	}
	defer func() { _ = et.Close() }()
	mode, err := et.LinkMode(ethtool.Interface{Name: args[0]})
	if err != nil {
		return fmt.Errorf("LinkMode: %w", err)
	}
	infos, err := et.LinkInfos()
	if err != nil {
		return fmt.Errorf("LinkInfos: %w", err)
	}
	var names []string
	for _, i := range infos {
		names = append(names, i.Interface.Name)
	}
	fmt.Printf("speed %d infos %s\n", mode.SpeedMegabits, strings.Join(names, " "))
	return netlink.LinkDel(link)
}

// mixedHelper sends messages for the kernel and for the service in one
// datagram; answers come in the order of the requests.
func mixedHelper(args []string) error {
	s, err := openSock(nl.ProtoRoute)
	if err != nil {
		return err
	}
	defer s.close()
	if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return err
	}
	want := unix.Errno(0)
	if len(args) > 0 {
		want = unix.EPERM
	}
	var b []byte
	names := []string{"lo", "ib0", "lo", "ib0", "ib0", "lo"}
	for i, name := range names {
		b = append(b, setRequest(uint32(i+1), name, mdnetlink.Acknowledge)...)
	}
	if err := unix.Sendto(s.fd, b, 0, toKernel); err != nil {
		return err
	}
	buf := make([]byte, 8192)
	next := uint32(1)
	for end := time.Now().Add(5 * time.Second); int(next) <= len(names) && time.Now().Before(end); {
		n, _, _, _, err := recvmsg(s.fd, buf)
		if err != nil {
			return err
		}
		ms, err := split(buf[:n])
		if err != nil {
			return err
		}
		for _, m := range ms {
			if m.Sequence != next {
				return fmt.Errorf("answer %d, not %d", m.Sequence, next)
			}
			if got := unix.Errno(-int32(ne.Uint32(m.body))); got != want {
				return fmt.Errorf("answer %d: %w", next, got)
			}
			next++
		}
	}
	return nil
}
