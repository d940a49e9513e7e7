//go:build integration

package tests

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"

	"ipoib/nl"
	"ipoib/nl/ethnl"
	"ipoib/nl/rtlink"
)

// client is a program that uses both protocols, with the libraries that Go
// programs use for the kernel.
type client struct {
	route *netlink.Conn
	gen   *genetlink.Conn
	eth   genetlink.Family
}

// newClient connects to the service.
func (l *lab) newClient() (*client, error) {
	path := filepath.Join(l.runDir, "netlink.sock")
	route, err := nl.Dial(l.t.Context(), path, nl.ConnConfig{Protocol: nl.ProtoRoute, ExtAck: true})
	if err != nil {
		return nil, err
	}
	gen, err := nl.Dial(l.t.Context(), path, nl.ConnConfig{Protocol: nl.ProtoGeneric, ExtAck: true})
	if err != nil {
		return nil, err
	}
	c := &client{route: route.NetlinkConn(), gen: genetlink.NewConn(gen.NetlinkConn())}
	c.eth, err = c.gen.GetFamily(ethnl.Name)
	return c, err
}

func (c *client) close() {
	_ = c.route.Close()
	_ = c.gen.Close()
}

// errno is the errno of an answer, 0 for none.
func errno(err error) syscall.Errno {
	var num syscall.Errno
	errors.As(err, &num)
	if err != nil && num == 0 {
		num = syscall.EIO
	}
	return num
}

// link sends a request about links and returns those of the answer.
func (c *client) link(t netlink.HeaderType, flags netlink.HeaderFlags, index int32, up *bool, fill func(*nl.Encoder)) ([]*rtlink.Link, error) {
	var e nl.Encoder
	var f, change uint32
	if up != nil {
		change = rtlink.FlagUp
		if *up {
			f = rtlink.FlagUp
		}
	}
	rtlink.AppendHeader(&e, 0, 0, index, f, change)
	if fill != nil {
		fill(&e)
	}
	if t != rtlink.GetLink {
		flags |= netlink.Acknowledge
	}
	msgs, err := c.route.Execute(netlink.Message{Header: netlink.Header{Type: t, Flags: netlink.Request | flags}, Data: e.Bytes()})
	if err != nil {
		return nil, err
	}
	var out []*rtlink.Link
	for _, m := range msgs {
		if m.Header.Type == rtlink.NewLink {
			l, err := rtlink.Decode(m.Data)
			if err != nil {
				return nil, err
			}
			out = append(out, l)
		}
	}
	return out, nil
}

func ifname(name string) func(*nl.Encoder) {
	return func(e *nl.Encoder) { e.String(rtlink.AttrIfname, name) }
}

// get returns one link.
func (c *client) get(name string) (*rtlink.Link, error) {
	list, err := c.link(rtlink.GetLink, 0, 0, nil, ifname(name))
	if err == nil && len(list) != 1 {
		err = fmt.Errorf("%d links for %s", len(list), name)
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// add makes a child.
func (c *client) add(parent *rtlink.Link, name string, pkey uint16) error {
	_, err := c.link(rtlink.NewLink, netlink.Create|netlink.Excl, 0, nil, func(e *nl.Encoder) {
		e.U32(rtlink.AttrLink, uint32(parent.Index))
		e.String(rtlink.AttrIfname, name)
		e.NestNoFlag(rtlink.AttrLinkinfo, func() {
			e.Put(rtlink.InfoKind, []byte(rtlink.KindIPoIB))
			e.NestNoFlag(rtlink.InfoData, func() { e.U16(rtlink.IPoIBPKey, pkey) })
		})
	})
	return err
}

// ethtool sends a request of the family and returns the attributes of the
// answer. What changes something is acknowledged, what asks is not, as is the
// way of the library.
func (c *client) ethtool(cmd uint8, flags netlink.HeaderFlags, dev string, hdr uint32, fill func(*nl.Encoder)) (map[uint16]nl.Attr, error) {
	var e nl.Encoder
	ethnl.AppendRequestHeader(&e, ethnl.LinkInfoHeader, dev, hdr)
	if fill != nil {
		fill(&e)
	}
	msgs, err := c.gen.Execute(genetlink.Message{Header: genetlink.Header{Command: cmd, Version: 1}, Data: e.Bytes()},
		c.eth.ID, netlink.Request|flags)
	if err != nil || len(msgs) == 0 {
		return nil, err
	}
	out := make(map[uint16]nl.Attr)
	for a := range (nl.Attr{Data: msgs[0].Data}).Children() {
		out[a.Type] = a
	}
	return out, nil
}

// coalesce reads rx-usecs and rx-frames.
func (c *client) coalesce(dev string) (usecs, frames uint32, err error) {
	m, err := c.ethtool(ethnl.CmdCoalesceGet, 0, dev, 0, nil)
	if err != nil {
		return 0, 0, err
	}
	return m[ethnl.CoalesceRxUsecs].Uint32(), m[ethnl.CoalesceRxMaxFrames].Uint32(), nil
}

func (c *client) setCoalesce(dev string, usecs, frames uint32) error {
	_, err := c.ethtool(ethnl.CmdCoalesceSet, netlink.Acknowledge, dev, 0, func(e *nl.Encoder) {
		e.U32(ethnl.CoalesceRxUsecs, usecs)
		e.U32(ethnl.CoalesceRxMaxFrames, frames)
	})
	return err
}

// linkUp is what ethtool says of the link.
func (c *client) linkUp(dev string) (bool, error) {
	m, err := c.ethtool(ethnl.CmdLinkStateGet, 0, dev, 0, nil)
	if err != nil {
		return false, err
	}
	return m[ethnl.LinkStateLink].Uint8() == 1, nil
}

// TestGoClients: programs that use mdlayher's libraries see interfaces and
// errors as they see the kernel's.
func TestGoClients(t *testing.T) {
	l := newLab(t, "--hca", "soft0")
	c, err := l.newClient()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	fams, err := c.gen.ListFamilies()
	if err != nil || len(fams) != 3 {
		t.Errorf("families %+v, %v", fams, err)
	}
	ib0, err := c.get("ib0")
	if err != nil || ib0.Info == nil || ib0.Info.Kind != rtlink.KindIPoIB {
		t.Fatalf("ib0: %+v, %v", ib0, err)
	}
	if err := c.add(ib0, "ib0.8001", 0x8001); err != nil {
		t.Fatal(err)
	}
	if num := errno(c.add(ib0, "ib0.8001", 0x8001)); num != syscall.EEXIST {
		t.Errorf("twice: %v", num)
	}
	list, err := c.link(rtlink.GetLink, netlink.Dump, 0, nil, nil)
	if err != nil || len(list) != 2 || list[1].Name != "ib0.8001" || *list[1].Link != uint32(ib0.Index) {
		t.Errorf("dump: %d links, %v", len(list), err)
	}
	if err := c.setCoalesce("ib0.8001", 7, 9); err != nil {
		t.Error(err)
	}
	if u, f, err := c.coalesce("ib0.8001"); u != 7 || f != 9 || err != nil {
		t.Errorf("coalesce: %d %d, %v", u, f, err)
	}
	_, err = c.ethtool(ethnl.CmdCoalesceGet, 0, "nosuch", 0, nil)
	if op, ok := errors.AsType[*netlink.OpError](err); !ok || op.Message != "no device matches name" || op.Offset != 24 || errno(err) != syscall.ENODEV {
		t.Errorf("unknown interface: %#v", err)
	}
	if _, err := c.link(rtlink.DelLink, 0, 0, nil, ifname("ib0.8001")); err != nil {
		t.Error(err)
	}
	if _, err := c.get("ib0.8001"); errno(err) != syscall.ENODEV {
		t.Errorf("deleted: %v", err)
	}
}
