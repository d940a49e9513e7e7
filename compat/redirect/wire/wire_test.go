package wire

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"

	"ipoib/nl"
	"ipoib/nl/ethnl"
	"ipoib/nl/ipoibnl"
	"ipoib/nl/rtlink"
)

// linkMessage builds a message about a link.
func linkMessage(h netlink.Header, l *rtlink.Link) []byte {
	var e nl.Encoder
	l.Append(&e)
	return Append(nil, h, e.Bytes())
}

func tunLink(index int32) *rtlink.Link {
	return &rtlink.Link{
		Type: rtlink.TypeInfiniBand, Index: index, Name: fmt.Sprintf("ib%d", index),
		Flags: rtlink.FlagPointToPoint | rtlink.FlagNoARP | rtlink.FlagMulticast, Info: &rtlink.Info{Kind: "tun"},
	}
}

func ourLink(index int32) *rtlink.Link {
	return &rtlink.Link{
		Type: rtlink.TypeInfiniBand, Index: index, Name: fmt.Sprintf("ib%d", index),
		Flags: rtlink.FlagBroadcast | rtlink.FlagMulticast, Address: bytes.Repeat([]byte{0x80}, 20),
		Link: new(uint32(1)), Info: &rtlink.Info{Kind: rtlink.KindIPoIB},
	}
}

func body(l *rtlink.Link) []byte {
	var e nl.Encoder
	l.Append(&e)
	return e.Bytes()
}

// fakeView has links 5 and 6; 7 is gone.
type fakeView struct {
	told map[int32]string
}

func (fakeView) Link(index int32) []byte {
	if index == 5 || index == 6 {
		return body(ourLink(index))
	}
	return nil
}

func (v fakeView) Event(index int32) []byte { return v.Link(index) }

func (v fakeView) Gone(index int32) []byte {
	if index == 7 {
		return body(ourLink(7))
	}
	return v.Link(index)
}

func (v fakeView) Told(index int32, link []byte) bool {
	if was, ok := v.told[index]; ok && was == string(link) {
		return false
	}
	v.told[index] = string(link)
	return true
}

func newPatcher(proto int) *Patcher {
	return &Patcher{Protocol: proto, Ethtool: 21, View: fakeView{make(map[int32]string)}, Dumps: make(map[uint32]*Dump)}
}

// links decodes the links of a datagram as "name/kind", other messages as
// their type.
func links(t *testing.T, b []byte) (out []string) {
	t.Helper()
	for _, m := range Split(b) {
		if m.Type != rtlink.NewLink && m.Type != rtlink.DelLink {
			out = append(out, fmt.Sprint(uint16(m.Type)))
			continue
		}
		l, err := rtlink.Decode(m.Payload())
		if err != nil {
			t.Fatal(err)
		}
		s := l.Name
		if l.Info != nil {
			s += "/" + l.Info.Kind
		}
		if m.Type == rtlink.DelLink {
			s = "-" + s
		}
		out = append(out, s)
	}
	return out
}

func TestDumpOfLinks(t *testing.T) {
	p := newPatcher(nl.ProtoRoute)
	const multi = netlink.Multi
	h := netlink.Header{Type: rtlink.NewLink, Flags: multi, Sequence: 9, PID: 77}
	p.Dumps[9] = &Dump{
		Ours: map[int32]bool{5: true, 6: true, 8: true},
		Items: []Item{
			{5, rtlink.NewLink, body(ourLink(5))},
			{8, rtlink.NewLink, body(ourLink(8))}, // the kernel does not have it
		},
	}
	eth := &rtlink.Link{Type: rtlink.TypeEther, Index: 2, Name: "eth0"}
	foreign := tunLink(3)
	foreign.Name = "tun0"
	in := slices.Concat(linkMessage(h, eth), linkMessage(h, tunLink(5)), linkMessage(h, foreign), linkMessage(h, tunLink(6)))
	out, changed := p.Datagram(in)
	// 6 is the service's but not in its answer: a filter left it out.
	if got, want := links(t, out), []string{"eth0", "ib5/ipoib", "tun0/tun"}; !changed || !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, m := range Split(out) {
		if m.Flags != multi || m.Sequence != 9 || m.PID != 77 {
			t.Errorf("header %+v", m.Header)
		}
	}
	done := Append(nil, netlink.Header{Type: netlink.Done, Flags: multi, Sequence: 9, PID: 77}, make([]byte, 4))
	out, changed = p.Datagram(done)
	if got, want := links(t, out), []string{"ib8/ipoib", "3"}; !changed || !slices.Equal(got, want) {
		t.Errorf("at the end got %v, want %v", got, want)
	}
	if len(p.Dumps) != 0 {
		t.Error("the dump did not end")
	}
	// Datagrams without our links are not touched.
	in = linkMessage(h, eth)
	if out, changed = p.Datagram(in); changed || &out[0] != &in[0] {
		t.Error("a datagram of others was rewritten")
	}
}

func TestEventsOfLinks(t *testing.T) {
	p := newPatcher(nl.ProtoRoute)
	event := netlink.Header{Type: rtlink.NewLink}
	one := func(b []byte) []string {
		out, _ := p.Datagram(b)
		return links(t, out)
	}
	l := tunLink(5)
	l.Change = rtlink.FlagUp
	out, _ := p.Datagram(linkMessage(event, l))
	if m := Split(out); len(m) != 1 {
		t.Fatalf("%d messages", len(m))
	} else if got, _ := rtlink.Decode(m[0].Payload()); got.Change != rtlink.FlagUp || len(got.Address) != 20 || got.Flags&rtlink.FlagPointToPoint != 0 {
		t.Errorf("event %+v", got)
	}
	if got := one(linkMessage(event, l)); len(got) != 0 {
		t.Errorf("the same again: %v", got)
	}
	l.Event = new(rtlink.EventFeatures)
	if got := one(linkMessage(event, l)); len(got) != 0 {
		t.Errorf("features of the TUN: %v", got)
	}
	up := tunLink(6)
	up.Flags ^= rtlink.FlagUp
	if got := one(linkMessage(event, up)); len(got) != 0 {
		t.Errorf("a state that the service has not followed: %v", got)
	}
	if got := one(linkMessage(event, tunLink(6))); !slices.Equal(got, []string{"ib6/ipoib"}) {
		t.Errorf("followed: %v", got)
	}
	if got := one(linkMessage(event, tunLink(9))); !slices.Equal(got, []string{"ib9/tun"}) {
		t.Errorf("another TUN: %v", got)
	}
	gone := tunLink(7)
	gone.Flags |= rtlink.FlagUp
	if got := one(linkMessage(event, gone)); len(got) != 0 {
		t.Errorf("the TUN of a link that is gone: %v", got)
	}
	gone.Flags &^= rtlink.FlagUp
	if got := one(linkMessage(event, gone)); !slices.Equal(got, []string{"ib7/ipoib"}) {
		t.Errorf("the TUN of a link that is gone, down: %v", got)
	}
	del := netlink.Header{Type: rtlink.DelLink}
	if got := one(linkMessage(del, gone)); !slices.Equal(got, []string{"-ib7/ipoib"}) {
		t.Errorf("its end: %v", got)
	}
	if got := one(linkMessage(del, gone)); len(got) != 0 {
		t.Errorf("its end again: %v", got)
	}
	// An answer is rewritten always.
	reply := netlink.Header{Type: rtlink.NewLink, Sequence: 3, PID: 4}
	for range 2 {
		if got := one(linkMessage(reply, tunLink(5))); !slices.Equal(got, []string{"ib5/ipoib"}) {
			t.Errorf("answer: %v", got)
		}
	}
}

func TestIPv6PartOfLink(t *testing.T) {
	p := newPatcher(nl.ProtoRoute)
	l := tunLink(5)
	l.Family, l.Info = inet6, nil
	out, changed := p.Datagram(linkMessage(netlink.Header{Type: rtlink.NewLink, Flags: netlink.Multi, Sequence: 1, PID: 2}, l))
	if !changed {
		t.Fatal("not changed")
	}
	got, err := rtlink.Decode(Split(out)[0].Payload())
	if err != nil {
		t.Fatal(err)
	}
	if got.Family != inet6 || len(got.Address) != 20 || got.Flags != ourLink(5).Flags || got.Link == nil || got.Name != "ib5" {
		t.Errorf("%+v", got)
	}
}

func ethMessage(h netlink.Header, cmd uint8, index int32, fill func(*nl.Encoder)) []byte {
	e := nl.NewEncoder([]byte{cmd, 1, 0, 0})
	ethnl.AppendHeader(e, headerAttr(cmd == ethnl.MsgStatsGetReply), int(index), "x")
	if fill != nil {
		fill(e)
	}
	return Append(nil, h, e.Bytes())
}

func TestEthtoolDump(t *testing.T) {
	p := newPatcher(nl.ProtoGeneric)
	h := netlink.Header{Type: 21, Flags: netlink.Multi, Sequence: 4, PID: 7}
	mine := Split(ethMessage(h, ethnl.MsgStatsGetReply, 5, func(e *nl.Encoder) { e.U32(9, 9) }))[0].Payload()
	p.Dumps[4] = &Dump{Ours: map[int32]bool{5: true, 6: true}, Items: []Item{{5, 21, mine}}}
	in := slices.Concat(ethMessage(h, ethnl.MsgStatsGetReply, 1, nil), ethMessage(h, ethnl.MsgStatsGetReply, 5, nil),
		ethMessage(h, ethnl.MsgStatsGetReply, 6, nil))
	out, _ := p.Datagram(in)
	var got []int32
	for _, m := range Split(out) {
		got = append(got, ReplyDevice(&m))
	}
	if !slices.Equal(got, []int32{1, 5}) || !bytes.Contains(out, mine) {
		t.Errorf("devices %v", got)
	}
	// What the kernel tells of a TUN is not for the program.
	if out, changed := p.Datagram(ethMessage(netlink.Header{Type: 21}, ethnl.MsgFeaturesNTF, 5, nil)); !changed || len(out) != 0 {
		t.Errorf("notification: %d bytes", len(out))
	}
}

func TestSubjects(t *testing.T) {
	req := func(typ netlink.HeaderType, flags netlink.HeaderFlags, fill func(*nl.Encoder)) *Message {
		var e nl.Encoder
		_ = e.Message(netlink.Header{Type: typ, Flags: netlink.Request | flags}, func(e *nl.Encoder) error { fill(e); return nil })
		return &Split(e.Bytes())[0]
	}
	link := func(index int32, fill func(*nl.Encoder)) func(*nl.Encoder) {
		return func(e *nl.Encoder) {
			rtlink.AppendHeader(e, 0, 0, index, 0, 0)
			if fill != nil {
				fill(e)
			}
		}
	}
	// As ip link add sends it: no NUL after the kind, no NESTED bits.
	add := req(rtlink.NewLink, netlink.Create|netlink.Excl, link(0, func(e *nl.Encoder) {
		e.U32(rtlink.AttrLink, 5)
		e.String(rtlink.AttrIfname, "ib0.8001")
		e.NestNoFlag(rtlink.AttrLinkinfo, func() { e.Put(rtlink.InfoKind, []byte("ipoib")) })
	}))
	rename := req(rtlink.SetLink, 0, link(5, func(e *nl.Encoder) { e.String(rtlink.AttrIfname, "blue") }))
	neigh := func(family uint8, index int32) func(*nl.Encoder) {
		return func(e *nl.Encoder) {
			b := make([]byte, ndmsgLen)
			b[0] = family
			native.PutUint32(b[4:], uint32(index))
			e.Raw(b)
		}
	}
	for _, tt := range []struct {
		name string
		m    *Message
		want Subject
	}{
		{"add", add, Subject{Class: LinkChange, Name: "ib0.8001", Kind: "ipoib", Parent: 5, Create: true}},
		{"rename", rename, Subject{Class: LinkChange, Index: 5}},
		{"probe", req(rtlink.NewLink, 0, link(0, nil)), Subject{Class: LinkChange}},
		{"dump", req(rtlink.GetLink, netlink.Dump, link(0, nil)), Subject{Class: LinkDump}},
		{"dump of rtgenmsg", req(rtlink.GetLink, netlink.Dump, func(e *nl.Encoder) { e.Raw([]byte{0}) }), Subject{Class: LinkDump}},
		{"get", req(rtlink.GetLink, 0, link(5, nil)), Subject{}},
		{"neigh dump", req(GetNeigh, netlink.Dump, neigh(2, 0)), Subject{Class: NeighDump}},
		{"neigh dump of one", req(GetNeigh, netlink.Dump, func(e *nl.Encoder) {
			neigh(0, 0)(e)
			e.U32(ndaIfindex, 5)
		}), Subject{Class: NeighDump, Index: 5}},
		{"neigh get", req(GetNeigh, 0, neigh(2, 5)), Subject{Class: NeighGet, Index: 5}},
		{"neigh add", req(NewNeigh, netlink.Create, neigh(2, 5)), Subject{Class: NeighChange, Index: 5}},
		{"bridge fdb", req(NewNeigh, 0, neigh(bridge, 5)), Subject{}},
		{"address", req(20, 0, link(5, nil)), Subject{}},
	} {
		if diff := cmp.Diff(tt.want, RouteSubject(tt.m)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	eth := &Split(ethMessage(netlink.Header{Type: 21, Flags: netlink.Request}, ethnl.CmdStatsGet, 5, nil))[0]
	if s := EthtoolSubject(eth); s.Class != Ethtool || s.Index != 0 {
		t.Errorf("statistics with a header of another number: %+v", s)
	}
	eth = &Split(ethMessage(netlink.Header{Type: 21, Flags: netlink.Request}, ethnl.CmdCoalesceGet, 5, nil))[0]
	if s := EthtoolSubject(eth); s.Class != Ethtool || s.Index != 5 || s.Name != "x" {
		t.Errorf("coalesce: %+v", s)
	}
	move := req(rtlink.SetLink, 0, link(5, func(e *nl.Encoder) { e.U32(rtlink.AttrMTU, 1); e.U32(rtlink.AttrNetNSFD, 33) }))
	typ, typeAt, valueAt, value := NetNSAttr(move)
	if typ != rtlink.AttrNetNSFD || value != 33 || native.Uint16(move.Raw[typeAt:]) != rtlink.AttrNetNSFD || native.Uint32(move.Raw[valueAt:]) != 33 {
		t.Errorf("NetNSAttr: %d %d %d %d", typ, typeAt, valueAt, value)
	}
}

func TestCut(t *testing.T) {
	m := func(n int) []byte { return Append(nil, netlink.Header{Type: 20}, make([]byte, n)) }
	three := slices.Concat(m(4), m(5), m(8)) // 20, 24 with padding, 24
	for _, tt := range []struct{ room, head int }{
		{100, 68}, {68, 68}, {67, 44}, {44, 44}, {41, 44}, {40, 20}, {20, 20}, {19, 20}, {1, 20},
	} {
		head, rest := Cut(three, tt.room)
		if len(head) != tt.head || len(head)+len(rest) != len(three) {
			t.Errorf("room %d: %d and %d bytes", tt.room, len(head), len(rest))
		}
	}
	if head, rest := Cut([]byte("no message"), 3); len(head) != 10 || rest != nil {
		t.Errorf("%q %q", head, rest)
	}
}

func TestNeighItem(t *testing.T) {
	addr := bytes.Repeat([]byte{7}, 20)
	it := NeighItem(&ipoibnl.Neigh{Ifindex: 5, IP: netip.MustParseAddr("10.0.0.1"), Addr: addr, State: "REACHABLE", Router: true, IdleMS: 2500})
	m := Split(it.Message(netlink.Header{Sequence: 1, PID: 2}))[0]
	r := ParseNeigh(&m)
	if m.Type != NewNeigh || r.IP.String() != "10.0.0.1" || !bytes.Equal(r.Addr, addr) || r.State != 2 || r.Flags != ntfRouter || r.Family != 2 {
		t.Errorf("%+v of %+v", r, m.Header)
	}
	want := []uint32{250, 250, 250, 0}
	for a := range attrs(m.Payload(), ndmsgLen) {
		if a.Type != ndaCacheInfo {
			continue
		}
		for i, v := range want {
			if got := native.Uint32(a.Data[4*i:]); got != v {
				t.Errorf("cacheinfo %d: %d", i, got)
			}
		}
	}
}

func TestAck(t *testing.T) {
	req := Append(nil, netlink.Header{Type: 20, Flags: netlink.Request, Sequence: 5}, []byte("payload!"))
	for _, tt := range []struct {
		errno int
		cap   bool
		size  int
		flags netlink.HeaderFlags
	}{{0, false, 36, capped}, {22, false, 20 + len(req), 0}, {22, true, 36, capped}} {
		b := Ack(req, 9, tt.errno, tt.cap)
		m := Split(b)[0]
		if len(m.Raw) != tt.size || m.Flags != tt.flags || m.Errno() != tt.errno || m.PID != 9 || m.Sequence != 5 {
			t.Errorf("%+v: %d bytes, %+v", tt, len(m.Raw), m.Header)
		}
	}
	other := Append(nil, netlink.Header{Type: 21, Flags: netlink.Request, Sequence: 5}, []byte("PAYLOAD!"))
	m := Split(Ack(other, 9, 22, false))[0]
	RestoreQuote(&m, req)
	if !bytes.Equal(m.Payload()[4:], req) {
		t.Errorf("quote %q", m.Payload()[4:])
	}
}

// What is about another network namespace has the same numbers for other
// links.
func TestElsewhere(t *testing.T) {
	p := newPatcher(nl.ProtoRoute)
	raw := body(tunLink(5))
	raw = appendAttr(raw, rtlink.AttrTargetNetNSID, []byte{1, 0, 0, 0})
	in := Append(nil, netlink.Header{Type: rtlink.NewLink, Sequence: 1, PID: 2}, raw)
	if _, changed := p.Datagram(in); changed {
		t.Error("a link of another namespace was rewritten")
	}
	for _, typ := range []netlink.HeaderType{rtlink.GetLink, rtlink.SetLink} {
		m := Split(Append(nil, netlink.Header{Type: typ, Flags: netlink.Request | netlink.Dump}, raw))[0]
		if s := RouteSubject(&m); s.Class != Other {
			t.Errorf("request %d: %+v", typ, s)
		}
	}
}
