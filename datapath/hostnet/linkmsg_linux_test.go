package hostnet_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ipoib/datapath/hostnet"
	"ipoib/datapath/internal/netns/netnstest"
)

func TestIntegrationLinkMessages(t *testing.T) {
	box := netnstest.New(t)
	box.Run(t, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
	ns, err := hostnet.NewHost().ByFile(box.File)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	v0, err := ns.LinkByName("v0")
	if err != nil {
		t.Fatal(err)
	}
	all, err := ns.LinkMessages(0)
	if err != nil || len(all) != 3 {
		t.Fatalf("%d messages, %v", len(all), err)
	}
	change := func(c hostnet.LinkChange, attrs func(*netlink.AttributeEncoder)) error {
		ae := netlink.NewAttributeEncoder()
		if attrs != nil {
			attrs(ae)
		}
		if c.Attrs, err = ae.Encode(); err != nil {
			t.Fatal(err)
		}
		return ns.ChangeLink(v0.Index, c)
	}
	if err := change(hostnet.LinkChange{Flags: unix.IFF_PROMISC, Mask: unix.IFF_PROMISC}, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(unix.IFLA_GROUP, 77)
	}); err != nil {
		t.Fatal(err)
	}
	prop := func(ae *netlink.AttributeEncoder) {
		ae.Nested(unix.IFLA_PROP_LIST, func(ae *netlink.AttributeEncoder) error {
			ae.String(unix.IFLA_ALT_IFNAME, "another-name")
			return nil
		})
	}
	if err := change(hostnet.LinkChange{Type: unix.RTM_NEWLINKPROP}, prop); err != nil {
		t.Fatal(err)
	}
	out := box.Run(t, "ip", "link", "show", "v0")
	for _, want := range []string{"PROMISC", "group 77", "altname another-name"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	if err := change(hostnet.LinkChange{Type: unix.RTM_DELLINKPROP}, prop); err != nil {
		t.Fatal(err)
	}
	one, err := ns.LinkMessages(v0.Index)
	if err != nil || len(one) != 1 {
		t.Fatalf("%d messages, %v", len(one), err)
	}
	if got := int(binary.NativeEndian.Uint32(one[0][4:])); got != v0.Index {
		t.Errorf("index %d, want %d", got, v0.Index)
	}
	if flags := binary.NativeEndian.Uint32(one[0][8:]); flags&unix.IFF_PROMISC == 0 {
		t.Errorf("flags %#x", flags)
	}
	// Refusals come with the kernel's words.
	err = change(hostnet.LinkChange{}, func(ae *netlink.AttributeEncoder) { ae.Uint32(unix.IFLA_MTU, 1<<20) })
	var op *hostnet.OpError
	if !errors.Is(err, syscall.EINVAL) || !errors.As(err, &op) || op.ExtAck() != "mtu greater than device maximum" {
		t.Errorf("mtu too large: %v", err)
	}
	if _, err := ns.LinkMessages(1 << 30); !errors.Is(err, hostnet.ErrNotExist) {
		t.Errorf("unknown link: %v", err)
	}
}
