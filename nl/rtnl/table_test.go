package rtnl_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"ipoib/nl"
	"ipoib/nl/nltest"
	"ipoib/nl/rtnl"

	"github.com/mdlayher/netlink"
)

const (
	newLink = 16
	delLink = 17
	getLink = 18
	setLink = 19
	getAddr = 22

	afInet = 2

	ifiSize = 16
	ifName  = 3
	extMask = 29
)

// linkPolicy is as much of ifla_policy as the tests send.
func linkPolicy() *nl.Policy {
	p := &nl.Policy{Attrs: make([]nl.AttrPolicy, 70)}
	p.Attrs[ifName] = nl.String(15)
	p.Attrs[extMask] = nl.U32()
	return p
}

type links struct {
	changed int
	deleted int
	table   *rtnl.Table
}

// find is a device table that is always empty.
func find(r *rtnl.Request) error {
	index := int32(binary.NativeEndian.Uint32(r.FamilyHeader[4:]))
	if index == 0 && !r.Attrs.Has(ifName) {
		return syscall.EINVAL
	}
	return syscall.ENODEV
}

func newTable(tb testing.TB) (*links, *nl.Server) {
	tb.Helper()
	srv := nltest.NewServer(tb, nl.Config{})
	l := &links{table: rtnl.NewTable(srv)}
	err := l.table.Register(
		rtnl.Handler{Type: getLink, HeaderSize: ifiSize, Policy: linkPolicy(), Do: find, Dump: l.dump},
		rtnl.Handler{Type: newLink, HeaderSize: ifiSize, Policy: linkPolicy(), Do: func(r *rtnl.Request) error {
			l.changed++
			return r.NotifyAs(1, newLink, func(e *nl.Encoder) error { e.Raw(make([]byte, ifiSize)); return nil })
		}},
		rtnl.Handler{Type: delLink, HeaderSize: ifiSize, Do: func(*rtnl.Request) error { l.deleted++; return nil }},
		rtnl.Handler{Type: getAddr, Dump: func(*rtnl.Request) (*nl.Dump, error) {
			return &nl.Dump{Type: 20, Next: nl.Each([]int{1}, func(*nl.Encoder, int) error { return nil })}, nil
		}},
		rtnl.Handler{Type: getAddr, Family: afInet, Dump: func(*rtnl.Request) (*nl.Dump, error) {
			return &nl.Dump{Type: 20, Next: nl.Each([]int{1, 2}, func(*nl.Encoder, int) error { return nil })}, nil
		}},
	)
	if err != nil {
		tb.Fatal(err)
	}
	return l, srv
}

// dump refuses a filter by index with strict checking, as rtnetlink does.
func (l *links) dump(r *rtnl.Request) (*nl.Dump, error) {
	if r.Strict() && binary.NativeEndian.Uint32(r.FamilyHeader[4:]) != 0 {
		return nil, nl.Errorf(syscall.EINVAL, "Filter by device index not supported for link dumps")
	}
	return &nl.Dump{Type: newLink, Next: nl.Each([]byte{1, 2, 3}, func(e *nl.Encoder, i byte) error {
		h := make([]byte, ifiSize)
		h[4] = i
		e.Raw(h)
		return nil
	})}, nil
}

func msg(t netlink.HeaderType, flags netlink.HeaderFlags, payload []byte, fill func(*nl.Encoder)) []byte {
	var e nl.Encoder
	_ = e.Message(netlink.Header{Type: t, Flags: netlink.Request | flags, Sequence: 5}, func(e *nl.Encoder) error {
		e.Raw(payload)
		if fill != nil {
			fill(e)
		}
		return nil
	})
	return e.Bytes()
}

// ifi is an ifinfomsg for an interface index.
func ifi(index byte) []byte {
	h := make([]byte, ifiSize)
	h[4] = index
	return h
}

func dial(tb testing.TB, srv *nl.Server, peer *nltest.Peer, cfg nl.ConnConfig) *nl.Conn {
	tb.Helper()
	return nltest.Dial(tb, srv, peer, cfg)
}

// answer returns the errno and the extended-ack text of the next datagram,
// and its message type.
func answer(tb testing.TB, c *nl.Conn) (netlink.HeaderType, syscall.Errno, string) {
	tb.Helper()
	ms, err := c.Receive()
	if err != nil {
		tb.Fatal(err)
	}
	m := ms[len(ms)-1]
	if m.Header.Type != netlink.Error && m.Header.Type != netlink.Done {
		return m.Header.Type, 0, ""
	}
	errno := syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
	var text string
	if m.Header.Flags&netlink.AcknowledgeTLVs != 0 {
		off := 4
		if m.Header.Type == netlink.Error {
			off += nl.HeaderLen
		}
		for a := range (nl.Attr{Data: m.Data[off:]}).Children() {
			if a.Type == nl.ExtAckMsg {
				text = a.String()
			}
		}
	}
	return m.Header.Type, errno, text
}

func TestRules(t *testing.T) {
	const dump = netlink.Dump
	long := func(e *nl.Encoder) { e.String(ifName, strings.Repeat("n", 16)) }
	unknown := func(e *nl.Encoder) { e.U32(200, 1) }
	for _, s := range []struct {
		name   string
		b      []byte
		admin  bool
		strict bool
		typ    netlink.HeaderType
		errno  syscall.Errno
		text   string
	}{
		{name: "no device", b: msg(getLink, 0, ifi(9), nil), typ: netlink.Error, errno: syscall.ENODEV},
		{name: "neither index nor name", b: msg(getLink, 0, ifi(0), nil), typ: netlink.Error, errno: syscall.EINVAL},
		{name: "name too long", b: msg(getLink, 0, ifi(0), long), typ: netlink.Error, errno: syscall.ERANGE, text: "Attribute failed policy validation"},
		{name: "unknown attribute", b: msg(getLink, 0, ifi(9), unknown), typ: netlink.Error, errno: syscall.ENODEV},
		{name: "unknown attribute, strict", b: msg(getLink, 0, ifi(9), unknown), strict: true, typ: netlink.Error, errno: syscall.EINVAL, text: "Unknown attribute type"},
		{name: "short header", b: msg(getLink, 0, []byte{0, 0, 0, 0}, nil), typ: netlink.Error, errno: syscall.EINVAL, text: "Invalid header length"},
		{name: "no family", b: msg(getLink, netlink.Acknowledge, nil, nil), typ: netlink.Error},
		{name: "no family, change", b: msg(newLink, netlink.Acknowledge, nil, nil), typ: netlink.Error},
		{name: "change", b: msg(newLink, netlink.Acknowledge, ifi(1), nil), typ: netlink.Error, errno: syscall.EPERM},
		{name: "change, malformed", b: msg(newLink, 0, ifi(1), long), typ: netlink.Error, errno: syscall.EPERM},
		{name: "change of an unknown type", b: msg(setLink, 0, ifi(1), nil), typ: netlink.Error, errno: syscall.EPERM},
		{name: "change of a type above all", b: msg(500, 0, ifi(1), nil), typ: netlink.Error, errno: syscall.EOPNOTSUPP},
		{name: "change, admin", b: msg(newLink, netlink.Acknowledge, ifi(1), nil), admin: true, typ: netlink.Error},
		{name: "unknown type, admin", b: msg(setLink, 0, ifi(1), nil), admin: true, typ: netlink.Error, errno: syscall.EOPNOTSUPP},
		{name: "deletion without policy, short", b: msg(delLink, 0, []byte{0, 0, 0, 0}, nil), admin: true, typ: netlink.Error, errno: syscall.EINVAL},
		{name: "bulk deletion", b: msg(delLink, 0x200, ifi(1), nil), admin: true, typ: netlink.Error, errno: syscall.EOPNOTSUPP, text: "Bulk delete is not supported"},
		{name: "dump", b: msg(getLink, dump, ifi(0), nil), typ: newLink},
		{name: "dump by ROOT alone", b: msg(getLink, netlink.Root, ifi(0), nil), typ: newLink},
		{name: "dump with a short header", b: msg(getLink, dump, []byte{0, 0, 0, 0}, nil), typ: newLink},
		{name: "dump with a bad attribute", b: msg(getLink, dump, ifi(0), long), typ: newLink},
		{name: "dump with a short header, strict", b: msg(getLink, dump, []byte{0, 0, 0, 0}, nil), strict: true, typ: netlink.Done, errno: syscall.EINVAL, text: "Invalid header length"},
		{name: "dump with an index, strict", b: msg(getLink, dump, ifi(1), nil), strict: true, typ: netlink.Done, errno: syscall.EINVAL, text: "Filter by device index not supported for link dumps"},
		{name: "dump of an unknown type", b: msg(26, dump, ifi(0), nil), typ: netlink.Error, errno: syscall.EOPNOTSUPP},
		{name: "request of a type that is only dumped", b: msg(getAddr, 0, ifi(0), nil), typ: netlink.Error, errno: syscall.EOPNOTSUPP},
	} {
		_, srv := newTable(t)
		peer := nltest.NewPeer()
		if s.admin {
			peer.SetCaps(nl.CapNetAdmin)
		}
		c := dial(t, srv, peer, nl.ConnConfig{ExtAck: true, CapAck: true, StrictCheck: s.strict})
		if err := c.WriteDatagram(s.b); err != nil {
			t.Fatal(err)
		}
		typ, errno, text := answer(t, c)
		if typ != s.typ || errno != s.errno || text != s.text {
			t.Errorf("%s: type %d errno %v text %q", s.name, typ, errno, text)
		}
	}
}

// TestFamilies: a handler for one address family comes before the general.
func TestFamilies(t *testing.T) {
	_, srv := newTable(t)
	nc := dial(t, srv, nltest.NewPeer(), nl.ConnConfig{}).NetlinkConn()
	for family, want := range map[byte]int{0: 1, afInet: 2, 10: 1} {
		ms, err := nc.Execute(netlink.Message{
			Header: netlink.Header{Type: getAddr, Flags: netlink.Request | netlink.Dump}, Data: []byte{family, 0, 0, 0},
		})
		if err != nil || len(ms) != want {
			t.Errorf("family %d: %d messages, %v", family, len(ms), err)
		}
	}
}

func TestRegister(t *testing.T) {
	l, _ := newTable(t)
	free := rtnl.Handler{Type: 40}
	for _, h := range []rtnl.Handler{{Type: 15}, {Type: 124}} {
		if err := l.table.Register(free, h); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("type %d: %v", h.Type, err)
		}
	}
	if err := l.table.Register(free, rtnl.Handler{Type: getLink}); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("%v", err)
	}
	if err := l.table.Register(free); err != nil {
		t.Errorf("a registration that failed left something: %v", err)
	}
	for mt, want := range map[netlink.HeaderType]rtnl.Kind{
		newLink: rtnl.KindNew, delLink: rtnl.KindDel, getLink: rtnl.KindGet, setLink: rtnl.KindSet, 90: rtnl.KindGet,
	} {
		if rtnl.KindOf(mt) != want {
			t.Errorf("kind of %d", mt)
		}
	}
}

// TestParseHook: a handler that reads its attributes itself.
func TestParseHook(t *testing.T) {
	l, srv := newTable(t)
	var dumps []bool
	err := l.table.Register(rtnl.Handler{
		Type: 82, HeaderSize: 4,
		Parse: func(r *rtnl.Request, dump bool) (nl.Attrs, error) {
			dumps = append(dumps, dump)
			if len(r.FamilyHeader) != 4 {
				return nl.Attrs{}, nl.Errorf(syscall.EINVAL, "Invalid header for get link")
			}
			return r.Request.Parse(4, linkPolicy(), nl.DeprecatedStrict)
		},
		Do:   func(r *rtnl.Request) error { return nil },
		Dump: func(r *rtnl.Request) (*nl.Dump, error) { return nil, syscall.EBUSY },
	})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, srv, nltest.NewPeer(), nl.ConnConfig{ExtAck: true, CapAck: true})
	for _, s := range []struct {
		b     []byte
		typ   netlink.HeaderType
		errno syscall.Errno
		text  string
	}{
		{msg(82, netlink.Acknowledge, []byte{1, 2, 3, 4}, nil), netlink.Error, 0, ""},
		{msg(82, netlink.Dump, []byte{1, 2, 3, 4}, nil), netlink.Done, syscall.EBUSY, ""},
		{msg(82, netlink.Dump, []byte{1, 2, 3, 4}, func(e *nl.Encoder) { e.U32(200, 1) }), netlink.Done, syscall.EINVAL, "Unknown attribute type"},
	} {
		if err := c.WriteDatagram(s.b); err != nil {
			t.Fatal(err)
		}
		if typ, errno, text := answer(t, c); typ != s.typ || errno != s.errno || text != s.text {
			t.Errorf("type %d errno %v text %q", typ, errno, text)
		}
	}
	if len(dumps) != 3 || dumps[0] || !dumps[1] {
		t.Errorf("parsed %v", dumps)
	}
}

func TestNotify(t *testing.T) {
	l, srv := newTable(t)
	member := dial(t, srv, nltest.NewPeer(), nl.ConnConfig{Groups: 1})
	peer := nltest.NewPeer()
	peer.SetCaps(nl.CapNetAdmin)
	c := dial(t, srv, peer, nl.ConnConfig{})
	for _, echo := range []netlink.HeaderFlags{0, netlink.Echo} {
		if err := c.WriteDatagram(msg(newLink, netlink.Acknowledge|echo, ifi(1), nil)); err != nil {
			t.Fatal(err)
		}
		ms, err := member.Receive()
		if err != nil || ms[0].Header.Type != newLink || (ms[0].Header.Sequence == 5) != (echo != 0) {
			t.Errorf("%+v %v", ms, err)
		}
		if echo != 0 {
			if typ, _, _ := answer(t, c); typ != newLink {
				t.Errorf("type %d in place of the echo", typ)
			}
		}
		if typ, errno, _ := answer(t, c); typ != netlink.Error || errno != 0 {
			t.Errorf("type %d errno %v", typ, errno)
		}
	}
	if l.changed != 2 {
		t.Errorf("%d changes", l.changed)
	}
	filled := false
	if err := l.table.Notify(nltest.HostNetNS, 2, newLink, func(*nl.Encoder) error { filled = true; return nil }); err != nil || filled {
		t.Errorf("built for nobody: %v", err)
	}
	for g, want := range map[uint32]syscall.Errno{30: syscall.EPERM, 36: 0, 37: syscall.EINVAL} {
		if err := member.JoinGroup(g); want == 0 && err != nil || want != 0 && !errors.Is(err, want) {
			t.Errorf("join %d: %v", g, err)
		}
	}
}

// FuzzRequest: whatever is sent, the service answers the next request, and
// nobody unprivileged changes anything.
func FuzzRequest(f *testing.F) {
	l, srv := newTable(f)
	f.Add(true, msg(getLink, netlink.Dump, ifi(1), nil))
	f.Add(false, msg(getLink, netlink.Acknowledge, ifi(1), func(e *nl.Encoder) { e.String(ifName, "ib0") }))
	f.Add(false, msg(newLink, netlink.Acknowledge, ifi(1), nil))
	f.Add(true, msg(getAddr, netlink.Dump, []byte{2}, nil))
	f.Fuzz(func(t *testing.T, strict bool, b []byte) {
		if len(b) == 0 || len(b) > nl.MaxRequest {
			return
		}
		c, err := nltest.Connect(srv, nltest.NewPeer(), nl.ConnConfig{ExtAck: true, StrictCheck: strict})
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
		last := msg(netlink.HeaderType(499), 0, nil, nil)
		if err := c.WriteDatagram(last); err != nil {
			t.Fatal(err)
		}
		for {
			ms, err := c.Receive()
			if err != nil {
				t.Fatalf("no answer after %x: %v", b, err)
			}
			if len(ms) == 1 && ms[0].Header.Type == netlink.Error && len(ms[0].Data) == 4+nl.HeaderLen &&
				binary.NativeEndian.Uint16(ms[0].Data[8:]) == 499 {
				break
			}
		}
		if l.changed != 0 || l.deleted != 0 {
			t.Error("changed without privilege")
		}
	})
}
