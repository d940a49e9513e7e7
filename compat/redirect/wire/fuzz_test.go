package wire

import (
	"bytes"
	"slices"
	"testing"

	"github.com/mdlayher/netlink"

	"ipoib/nl"
	"ipoib/nl/ethnl"
	"ipoib/nl/rtlink"
)

func seeds(f *testing.F) {
	dump := netlink.Header{Type: rtlink.NewLink, Flags: netlink.Multi, Sequence: 9, PID: 77}
	f.Add(slices.Concat(linkMessage(dump, tunLink(5)), linkMessage(dump, tunLink(3)), linkMessage(dump, tunLink(6))))
	f.Add(linkMessage(netlink.Header{Type: rtlink.NewLink}, tunLink(5)))
	f.Add(linkMessage(netlink.Header{Type: rtlink.DelLink}, tunLink(7)))
	l := tunLink(5)
	l.Family = inet6
	f.Add(linkMessage(dump, l))
	f.Add(Append(nil, netlink.Header{Type: netlink.Done, Flags: netlink.Multi, Sequence: 9}, make([]byte, 4)))
	f.Add(ethMessage(netlink.Header{Type: 21, Flags: netlink.Multi, Sequence: 9}, ethnl.MsgStatsGetReply, 5, nil))
	f.Add(ethMessage(netlink.Header{Type: 21}, ethnl.MsgFeaturesNTF, 5, nil))
	f.Add(Ack(linkMessage(dump, l), 1, 22, false))
}

// FuzzPatch rewrites any datagram: it stays one of whole messages, and what is
// about other links stays as it is.
func FuzzPatch(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, proto := range []int{nl.ProtoRoute, nl.ProtoGeneric} {
			p := newPatcher(proto)
			p.Dumps[9] = &Dump{Ours: map[int32]bool{5: true, 6: true}, Items: []Item{
				{5, rtlink.NewLink, body(ourLink(5))}, {8, rtlink.NewLink, body(ourLink(8))},
			}}
			was := slices.Clone(in)
			out, changed := p.Datagram(in)
			if !bytes.Equal(in, was) {
				t.Fatal("the datagram itself was changed")
			}
			if !changed {
				continue
			}
			if n := prefixLen(Split(out)); n != len(out) {
				t.Fatalf("%d of %d bytes are messages", n, len(out))
			}
			// Once more: nothing of it is to be rewritten in another way.
			for _, m := range Split(out) {
				if proto == nl.ProtoRoute && m.Type == rtlink.NewLink && m.Flags&netlink.Multi != 0 && m.Sequence == 9 {
					if l, err := rtlink.Decode(m.Payload()); err == nil && l.Index == 6 {
						t.Fatal("a link that the service left out")
					}
				}
			}
			for room := range 3 {
				head, rest := Cut(out, room*100)
				if !bytes.Equal(append(slices.Clone(head), rest...), out) {
					t.Fatal("Cut lost something")
				}
			}
		}
	})
}

// FuzzRequest looks at any request.
func FuzzRequest(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		l := NewLayout(oldNames, newNames)
		for _, m := range Split(in) {
			_ = RouteSubject(&m)
			_ = EthtoolSubject(&m)
			_ = ParseNeigh(&m)
			_ = Plain(&m)
			_, _ = AsksFeatures(&m)
			_ = l.Request(m.Payload())
			_ = l.Reply(m.Payload())
			_ = LimitGroups(&m, 4)
			if typ, typeAt, valueAt, _ := NetNSAttr(&m); typ != 0 && (typeAt+2 > len(m.Raw) || valueAt+4 > len(m.Raw)) {
				t.Fatalf("offsets %d and %d in %d bytes", typeAt, valueAt, len(m.Raw))
			}
			ack := Split(Ack(m.Raw, 1, 22, false))
			if len(ack) != 1 {
				t.Fatalf("%d messages", len(ack))
			}
			RestoreQuote(&ack[0], m.Raw)
			if n := len(ack[0].Payload()) - 4; !bytes.Equal(ack[0].Payload()[4:], m.Raw[:n]) {
				t.Fatal("the quote is not the request")
			}
		}
	})
}
