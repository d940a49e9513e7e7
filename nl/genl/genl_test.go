package genl_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"ipoib/nl"
	"ipoib/nl/genl"
	"ipoib/nl/nltest"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
)

// Commands of the family "toy".
const (
	toyGet    = 1 // replies with attribute 1 doubled; dumps 1 to 5
	toySet    = 2 // needs CAP_NET_ADMIN over the namespace
	toyHost   = 3 // needs CAP_NET_ADMIN in the service's user namespace
	toyOpen   = 4 // has no policy
	toyNotify = 5
	toyNew    = 6 // from here on the reserved bits are checked
)

type toy struct {
	fam     *genl.Registered
	changed int
	open    nl.Attrs
	header  []byte
}

func toyFamily(p *toy) genl.Family {
	value := &nl.Policy{Attrs: []nl.AttrPolicy{1: nl.U32().Max(100)}}
	ok := func(*genl.Request) error { return nil }
	return genl.Family{
		Name: "toy", Version: 7, MaxAttr: 1, ResvStart: toyNew,
		Ops: []genl.Op{
			{Cmd: toyGet, Policy: value, DumpPolicy: &nl.Policy{}, Do: p.get, Dump: p.dump},
			{Cmd: toySet, Flags: genl.UnsAdminPerm, Policy: value, Do: func(*genl.Request) error { p.changed++; return nil }},
			{Cmd: toyHost, Flags: genl.AdminPerm, Do: ok},
			{Cmd: toyOpen, Do: func(r *genl.Request) error { p.open = r.Attrs; return nil }},
			{Cmd: toyNotify, Do: func(r *genl.Request) error {
				return r.NotifyAs(0, 1234, toyNotify, func(e *nl.Encoder) error { e.U32(1, 5); return nil })
			}},
			{Cmd: toyNew, Do: ok, Dump: func(*genl.Request) (*genl.Dump, error) { return nil, nl.Errorf(syscall.EBUSY, "not now") }},
		},
		Groups: []genl.Group{{Name: "events"}, {Name: "secrets", Needs: nl.CapNetAdmin}},
	}
}

func (p *toy) get(r *genl.Request) error {
	a, err := r.Require(1)
	if err != nil {
		return err
	}
	return r.Reply(toyGet, func(e *nl.Encoder) error { e.U32(1, 2*a.Uint32()); return nil })
}

func (p *toy) dump(*genl.Request) (*genl.Dump, error) {
	return &genl.Dump{Cmd: toyGet, Next: nl.Each([]uint32{1, 2, 3, 4, 5}, func(e *nl.Encoder, v uint32) error {
		e.U32(1, v)
		return nil
	})}, nil
}

func newToy(tb testing.TB) (*toy, *nl.Server, *genl.Registry) {
	tb.Helper()
	srv := nltest.NewServer(tb, nl.Config{})
	reg := genl.New(srv)
	p := &toy{}
	fam, err := reg.Register(toyFamily(p))
	if err != nil {
		tb.Fatal(err)
	}
	p.fam = fam
	return p, srv, reg
}

func dialGenl(tb testing.TB, srv *nl.Server, peer *nltest.Peer, cfg nl.ConnConfig) *genetlink.Conn {
	tb.Helper()
	cfg.Protocol = nl.ProtoGeneric
	return genetlink.NewConn(nltest.Dial(tb, srv, peer, cfg).NetlinkConn())
}

func attrs(tb testing.TB, fill func(ae *netlink.AttributeEncoder)) []byte {
	tb.Helper()
	ae := netlink.NewAttributeEncoder()
	fill(ae)
	b, err := ae.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestClient: the genetlink library finds the family and talks to it.
func TestClient(t *testing.T) {
	p, srv, _ := newToy(t)
	c := dialGenl(t, srv, nltest.NewPeer(), nl.ConnConfig{ExtAck: true})
	f, err := c.GetFamily("toy")
	if err != nil {
		t.Fatal(err)
	}
	want := []genetlink.MulticastGroup{{ID: p.fam.GroupID(0), Name: "events"}, {ID: p.fam.GroupID(1), Name: "secrets"}}
	if f.ID != p.fam.ID() || f.Version != 7 || f.Name != "toy" || !slices.Equal(f.Groups, want) {
		t.Errorf("%+v", f)
	}
	if _, err := c.GetFamily("nosuch"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unknown family: %v", err)
	}
	fs, err := c.ListFamilies()
	if err != nil || len(fs) != 2 || fs[0].Name != "nlctrl" || fs[0].ID != 16 || fs[1].Name != "toy" {
		t.Errorf("%+v %v", fs, err)
	}
	ms, err := c.Execute(genetlink.Message{
		Header: genetlink.Header{Command: toyGet, Version: 1},
		Data:   attrs(t, func(ae *netlink.AttributeEncoder) { ae.Uint32(1, 21) }),
	}, f.ID, netlink.Request)
	if err != nil || len(ms) != 1 || ms[0].Header.Version != 7 || ms[0].Header.Command != toyGet || ms[0].Data[4] != 42 {
		t.Errorf("%+v %v", ms, err)
	}
	ms, err = c.Execute(genetlink.Message{Header: genetlink.Header{Command: toyGet}}, f.ID, netlink.Request|netlink.Dump)
	if err != nil || len(ms) != 5 || ms[4].Data[4] != 5 {
		t.Errorf("dump %+v %v", ms, err)
	}
}

func TestDispatch(t *testing.T) {
	p, srv, _ := newToy(t)
	peer := nltest.NewPeer()
	c := dialGenl(t, srv, peer, nl.ConnConfig{ExtAck: true})
	u32 := func(v uint32) func(*netlink.AttributeEncoder) {
		return func(ae *netlink.AttributeEncoder) { ae.Uint32(1, v) }
	}
	none := func(*netlink.AttributeEncoder) {}
	const ack = netlink.Request | netlink.Acknowledge
	const dumpReq = netlink.Request | netlink.Dump
	for _, s := range []struct {
		name  string
		caps  []nl.Cap
		cmd   uint8
		flags netlink.HeaderFlags
		fill  func(*netlink.AttributeEncoder)
		errno syscall.Errno
		text  string
		off   int
	}{
		{"missing attribute", nil, toyGet, ack, none, syscall.EINVAL, "", 0},
		{"range", nil, toyGet, ack, u32(101), syscall.ERANGE, "integer out of range", 20},
		{"dump with attribute", nil, toyGet, dumpReq, u32(1), syscall.EINVAL, "Unknown attribute type", 20},
		{"unprivileged", nil, toySet, ack, u32(1), syscall.EPERM, "", 0},
		{"unprivileged and wrong", nil, toySet, ack, u32(101), syscall.EPERM, "", 0},
		{"unprivileged dump of what has none", nil, toySet, dumpReq, u32(1), syscall.EOPNOTSUPP, "", 0},
		{"privileged and wrong", []nl.Cap{nl.CapNetAdmin}, toySet, ack, u32(101), syscall.ERANGE, "integer out of range", 20},
		{"privileged", []nl.Cap{nl.CapNetAdmin}, toySet, ack, u32(1), 0, "", 0},
		{"host, unprivileged", nil, toyHost, ack, none, syscall.EPERM, "", 0},
		{"host, privileged", []nl.Cap{nl.CapNetAdmin}, toyHost, ack, none, 0, "", 0},
		{"no policy", nil, toyOpen, ack, u32(1), 0, "", 0},
		{"unknown command", nil, 99, ack, none, syscall.EOPNOTSUPP, "", 0},
		{"old command, odd flags", nil, toyOpen, ack | netlink.Atomic, none, 0, "", 0},
		{"new command", nil, toyNew, ack | netlink.Echo, none, 0, "", 0},
		{"new command, odd flags", nil, toyNew, ack | netlink.Atomic, none, syscall.EINVAL, "ambiguous or reserved bits set in nlmsg_flags", 0},
		{"new command, half a dump", nil, toyNew, ack | netlink.Root, none, syscall.EINVAL, "ambiguous or reserved bits set in nlmsg_flags", 0},
		{"dump refused at its start", nil, toyNew, dumpReq, none, syscall.EBUSY, "not now", 0},
	} {
		peer.SetCaps(s.caps...)
		_, err := c.Execute(genetlink.Message{
			Header: genetlink.Header{Command: s.cmd}, Data: attrs(t, s.fill),
		}, p.fam.ID(), s.flags)
		var op *netlink.OpError
		if s.errno == 0 {
			if err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		} else if !errors.As(err, &op) || !errors.Is(op.Err, s.errno) || op.Message != s.text || op.Offset != s.off {
			t.Errorf("%s: %v", s.name, err)
		}
	}
	if p.changed != 1 {
		t.Errorf("%d changes", p.changed)
	}
	if p.open.Len() != 0 {
		t.Error("attributes without a policy")
	}
}

// TestReservedHeader: the reserved field of the genlmsghdr.
func TestReservedHeader(t *testing.T) {
	p, srv, _ := newToy(t)
	nc := nltest.Dial(t, srv, nltest.NewPeer(), nl.ConnConfig{Protocol: nl.ProtoGeneric, ExtAck: true}).NetlinkConn()
	for cmd, want := range map[uint8]string{toyOpen: "", toyNew: "genlmsghdr.reserved field is not 0"} {
		_, err := nc.Execute(netlink.Message{
			Header: netlink.Header{Type: netlink.HeaderType(p.fam.ID()), Flags: netlink.Request | netlink.Acknowledge},
			Data:   []byte{cmd, 1, 0, 1},
		})
		var op *netlink.OpError
		if want == "" && err != nil || want != "" && (!errors.As(err, &op) || op.Message != want || !errors.Is(op.Err, syscall.EINVAL)) {
			t.Errorf("command %d: %v", cmd, err)
		}
	}
}

// TestUserHeader: a family with a header of its own.
func TestUserHeader(t *testing.T) {
	_, srv, reg := newToy(t)
	p := &toy{}
	fam, err := reg.Register(genl.Family{
		Name: "headed", HeaderSize: 8, ID: 50,
		Ops: []genl.Op{{Cmd: 1, Policy: &nl.Policy{Attrs: []nl.AttrPolicy{1: nl.U32()}}, Do: func(r *genl.Request) error {
			p.header, p.open = r.UserHeader, r.Attrs
			return nil
		}}},
	})
	if err != nil || fam.ID() != 50 {
		t.Fatal(err)
	}
	c := dialGenl(t, srv, nltest.NewPeer(), nl.ConnConfig{})
	for _, s := range []struct {
		data  []byte
		errno error
	}{
		{[]byte{1, 2, 3, 4}, syscall.EINVAL},
		{[]byte{1, 2, 3, 4, 5, 6, 7, 8}, nil},
		{[]byte{1, 2, 3, 4, 5, 6, 7, 8, 8, 0, 1, 0, 9, 0, 0, 0}, nil},
	} {
		_, err := c.Execute(genetlink.Message{Header: genetlink.Header{Command: 1}, Data: s.data}, 50, netlink.Request|netlink.Acknowledge)
		if !errors.Is(err, s.errno) {
			t.Errorf("%x: %v", s.data, err)
		}
	}
	if a, _ := p.open.Get(1); !slices.Equal(p.header, []byte{1, 2, 3, 4, 5, 6, 7, 8}) || a.Uint32() != 9 || a.Offset != 28 {
		t.Errorf("header %x, attribute %+v", p.header, a)
	}
}

// TestRegistration: names, ids and group numbers.
func TestRegistration(t *testing.T) {
	_, _, reg := newToy(t)
	one := []genl.Op{{Cmd: 1, Do: func(*genl.Request) error { return nil }}}
	for _, f := range []genl.Family{
		{Name: ""}, {Name: "sixteen_letters_"}, {Name: "a", HeaderSize: 3},
		{Name: "a", Ops: []genl.Op{{Cmd: 1}}}, {Name: "a", Ops: append(one, one...)},
		{Name: "a", Groups: []genl.Group{{Name: ""}}},
	} {
		if _, err := reg.Register(f); err == nil {
			t.Errorf("%+v is accepted", f)
		}
	}
	for _, f := range []genl.Family{
		{Name: "toy"}, {Name: "nlctrl"}, {Name: "a", ID: 16}, {Name: "a", ID: 15}, {Name: "a", ID: 2000},
		{Name: "a", Groups: []genl.Group{{Name: "x", ID: 16}}},
		{Name: "a", Groups: []genl.Group{{Name: "x", ID: 30}, {Name: "y", ID: 30}}},
	} {
		if _, err := reg.Register(f); !errors.Is(err, syscall.EEXIST) {
			t.Errorf("%+v: %v", f, err)
		}
	}
	// The toy's groups are 2 and 3; 16 to 18 are reserved.
	var groups []genl.Group
	for i := range 14 {
		groups = append(groups, genl.Group{Name: fmt.Sprint("g", i)})
	}
	a, err := reg.Register(genl.Family{Name: "a", Groups: groups})
	if err != nil || a.GroupID(0) != 19 || a.GroupID(13) != 32 {
		t.Errorf("a run of 14 groups starts at %d, %v", a.GroupID(0), err)
	}
	b, err := reg.Register(genl.Family{Name: "b", Groups: []genl.Group{{Name: "x", ID: 7}, {Name: "y"}, {Name: "z"}, {Name: "w"}}})
	if err != nil || b.GroupID(0) != 7 || b.GroupID(1) != 4 || b.GroupID(3) != 6 {
		t.Errorf("groups %v %v", b, err)
	}
	if reg.Groups() != 64 {
		t.Errorf("%d groups", reg.Groups())
	}
	if _, err := reg.Register(genl.Family{Name: "c", Groups: []genl.Group{{Name: "x", ID: 64}}}); err != nil || reg.Groups() != 128 {
		t.Errorf("%d groups, %v", reg.Groups(), err)
	}
	// An id is not used again at once.
	if err := reg.Unregister(a); err != nil {
		t.Fatal(err)
	}
	if err := reg.Unregister(a); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("second time: %v", err)
	}
	again, err := reg.Register(genl.Family{Name: "a"})
	if err != nil || again.ID() <= b.ID() {
		t.Errorf("id %d after %d, %v", again.ID(), b.ID(), err)
	}
	// Until they are all used up.
	for i := 0; err == nil; i++ {
		if i > 1100 {
			t.Fatal("ids do not end")
		}
		_, err = reg.Register(genl.Family{Name: fmt.Sprint("f", i)})
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
}

// TestEvents: the controller announces families and groups.
func TestEvents(t *testing.T) {
	p, srv, reg := newToy(t)
	c := dialGenl(t, srv, nltest.NewPeer(), nl.ConnConfig{})
	if err := c.JoinGroup(16); err != nil {
		t.Fatal(err)
	}
	elsewhere := nltest.NewPeer()
	elsewhere.SetNetNS(nl.NetNS{Dev: 4, Ino: 1}, "")
	far := dialGenl(t, srv, elsewhere, nl.ConnConfig{})
	if err := far.JoinGroup(16); err != nil {
		t.Fatal(err)
	}
	member := nltest.Dial(t, srv, nltest.NewPeer(), nl.ConnConfig{Protocol: nl.ProtoGeneric})
	if err := member.JoinGroup(p.fam.GroupID(0)); err != nil {
		t.Fatal(err)
	}
	fam, err := reg.Register(genl.Family{Name: "late", Groups: []genl.Group{{Name: "g"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := reg.Unregister(fam); err != nil {
		t.Fatal(err)
	}
	if err := reg.Unregister(p.fam); err != nil {
		t.Fatal(err)
	}
	for _, conn := range []*genetlink.Conn{c, far} {
		var got []uint8
		for range 7 {
			ms, raw, err := conn.Receive()
			if err != nil || len(ms) != 1 || raw[0].Header.Type != 16 || raw[0].Header.PID != 0 || raw[0].Header.Sequence != 0 {
				t.Fatalf("%+v %v", raw, err)
			}
			got = append(got, ms[0].Header.Command)
			if ms[0].Header.Command == 7 {
				ad, err := netlink.NewAttributeDecoder(ms[0].Data)
				if err != nil {
					t.Fatal(err)
				}
				var types []uint16
				for ad.Next() {
					types = append(types, ad.Type())
				}
				if !slices.Equal(types, []uint16{2, 1, 7}) {
					t.Errorf("group event has %v", types)
				}
			}
		}
		if want := []uint8{1, 7, 8, 2, 8, 8, 2}; !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
	}
	if srv.HasListeners(nl.ProtoGeneric, nltest.HostNetNS, p.fam.GroupID(0)) {
		t.Error("the group outlives its family")
	}
}

// TestNotifications: to the members of a group, with echo to the requester.
func TestNotifications(t *testing.T) {
	p, srv, _ := newToy(t)
	peer := nltest.NewPeer()
	nc := nltest.Dial(t, srv, peer, nl.ConnConfig{Protocol: nl.ProtoGeneric})
	c := genetlink.NewConn(nc.NetlinkConn())
	if err := c.JoinGroup(p.fam.GroupID(1)); !errors.Is(err, syscall.EPERM) {
		t.Errorf("group of the privileged: %v", err)
	}
	filled := false
	fill := func(e *nl.Encoder) error { filled = true; e.U32(1, 6); return nil }
	if err := p.fam.Notify(nltest.HostNetNS, 0, 9, toyNotify, fill); err != nil || filled {
		t.Errorf("built for nobody: %v", err)
	}
	if err := c.JoinGroup(p.fam.GroupID(0)); err != nil {
		t.Fatal(err)
	}
	if err := p.fam.Notify(nltest.HostNetNS, 0, 9, toyNotify, fill); err != nil {
		t.Fatal(err)
	}
	ms, raw, err := c.Receive()
	if err != nil || raw[0].Header.Sequence != 9 || raw[0].Header.PID != 0 || ms[0].Data[4] != 6 || ms[0].Header.Version != 7 {
		t.Errorf("%+v %v", raw, err)
	}
	if err := p.fam.Notify(nltest.HostNetNS, 0, 9, toyNotify, func(*nl.Encoder) error { return io.ErrShortBuffer }); !errors.Is(err, io.ErrShortBuffer) {
		t.Errorf("%v", err)
	}
	for _, echo := range []netlink.HeaderFlags{0, netlink.Echo} {
		sent, err := c.Send(genetlink.Message{Header: genetlink.Header{Command: toyNotify}}, p.fam.ID(), netlink.Request|echo)
		if err != nil {
			t.Fatal(err)
		}
		_, raw, err := c.Receive()
		want := netlink.Header{Sequence: 1234}
		if echo != 0 {
			want = netlink.Header{Sequence: sent.Header.Sequence, PID: nc.PortID()}
		}
		if err != nil || raw[0].Header.Sequence != want.Sequence || raw[0].Header.PID != want.PID {
			t.Errorf("echo %v: %+v %v", echo != 0, raw, err)
		}
	}
}

// TestPolicyOfToy: the policy dump of a family with several operations.
func TestPolicyOfToy(t *testing.T) {
	p, srv, _ := newToy(t)
	c := dialGenl(t, srv, nltest.NewPeer(), nl.ConnConfig{})
	ms, err := c.Execute(genetlink.Message{
		Header: genetlink.Header{Command: 10},
		Data:   attrs(t, func(ae *netlink.AttributeEncoder) { ae.Uint16(1, p.fam.ID()) }),
	}, 16, netlink.Request|netlink.Dump)
	if err != nil {
		t.Fatal(err)
	}
	type op struct{ cmd, do, dump int }
	var ops []op
	described := 0
	for _, m := range ms {
		for a := range (nl.Attr{Data: m.Data}).Children() {
			switch a.Type {
			case 9:
				for o := range a.Children() {
					x := op{int(o.Type), -1, -1}
					for i := range o.Children() {
						if i.Type == 1 {
							x.do = int(i.Uint32())
						} else {
							x.dump = int(i.Uint32())
						}
					}
					ops = append(ops, x)
				}
			case 8:
				described++
			}
		}
	}
	if want := []op{{toyGet, 0, 1}, {toySet, 0, -1}}; !slices.Equal(ops, want) || described != 1 {
		t.Errorf("operations %v, %d attributes", ops, described)
	}
	// A family without policies has none to dump.
	_, err = c.Execute(genetlink.Message{
		Header: genetlink.Header{Command: 10},
		Data:   attrs(t, func(ae *netlink.AttributeEncoder) { ae.Uint16(1, p.fam.ID()); ae.Uint32(10, toyHost) }),
	}, 16, netlink.Request|netlink.Dump)
	if !errors.Is(err, syscall.ENODATA) {
		t.Errorf("operation without policy: %v", err)
	}
}

// FuzzRequest: whatever is sent to the controller and to a family, the
// service answers the next request, and nobody unprivileged changes anything.
func FuzzRequest(f *testing.F) {
	p, srv, _ := newToy(f)
	for _, c := range append(ctrlCases(), ethtoolCases()...) {
		f.Add(c.req(p.fam.ID()))
	}
	f.Add(genlMsg(p.fam.ID(), reqAck, toySet, func(e *nl.Encoder) { e.U32(1, 1) }))
	f.Add(genlMsg(p.fam.ID(), dump, toyGet, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 || len(b) > nl.MaxRequest {
			return
		}
		c, err := nltest.Connect(srv, nltest.NewPeer(), nl.ConnConfig{Protocol: nl.ProtoGeneric, ExtAck: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			c.Close()
			for srv.Clients() > 0 {
				time.Sleep(time.Microsecond)
			}
		}()
		c.SetDeadline(time.Now().Add(time.Minute))
		if err := c.WriteDatagram(b); err != nil {
			t.Fatal(err)
		}
		nobody := genlMsg(16, req, 3, name("nlctrl"))
		if err := c.WriteDatagram(append(nobody[:8:8], append([]byte{0xff, 0xff, 0xff, 0x7f}, nobody[12:]...)...)); err != nil {
			t.Fatal(err)
		}
		for {
			ms, err := c.Receive()
			if err != nil {
				t.Fatalf("no answer after %x: %v", b, err)
			}
			if len(ms) > 0 && ms[0].Header.Sequence == markSeq && ms[0].Header.Type == 16 {
				break
			}
		}
		if p.changed != 0 {
			t.Error("changed without privilege")
		}
	})
}
