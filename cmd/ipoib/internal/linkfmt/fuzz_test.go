package linkfmt

import (
	"bytes"
	"strconv"
	"testing"

	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// noNames knows no names.
type noNames struct{}

func (noNames) Ifname(i uint32) string { return "if" + strconv.FormatUint(uint64(i), 10) }
func (noNames) Flags(uint32) uint32    { return 0 }
func (noNames) NSID(int32) string      { return "" }
func (noNames) Group(uint32) string    { return "" }

// FuzzLink prints whatever a service may answer, in every form.
func FuzzLink(f *testing.F) {
	forms := []Options{
		{}, {Details: true, Stats: 2}, {OneLine: true, Human: true, Stats: 1}, {Brief: true, Color: true},
		{JSON: true, Details: true, Stats: 2}, {JSON: true, Pretty: true, Details: true}, {Numeric: true, Details: true, IEC: true, Stats: 1},
	}
	full := rtlink.Link{
		Type: rtlink.TypeInfiniBand, Index: 3, Flags: rtlink.FlagUp, Name: "ib0.8001", MTU: new(uint32(2044)), Link: new(uint32(2)),
		Address: make([]byte, 20), Broadcast: make([]byte, 20), PermAddress: []byte{1, 2}, Qdisc: "mq", Alias: "x\x00y", NumVF: new(uint32(0)),
		Stats64: new(rtlink.Stats), Operstate: new(uint8(9)), Event: new(uint32(99)), ParentDev: "soft0", ParentBus: "ipoib",
		Info: &rtlink.Info{Kind: "ipoib", Data: (&rtlink.IPoIB{PKey: new(uint16(0x8001)), Mode: new(uint16(7))}).Bytes()},
	}
	encode := func(l *rtlink.Link) []byte {
		var e nl.Encoder
		l.Append(&e)
		return bytes.Clone(e.Bytes())
	}
	f.Add(encode(&full), false)
	for _, kind := range []string{"tun", "bridge", "vlan", "veth", "bond", "macvlan", "vxlan"} {
		full.Info = &rtlink.Info{Kind: kind, Data: []byte{5, 0, 1, 0, 1, 0, 0, 0, 8, 0, 2, 0, 1, 1, 1, 1}, SlaveKind: "bridge", SlaveData: []byte{5, 0, 1, 0, 3, 0, 0, 0}}
		f.Add(encode(&full), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, deleted bool) {
		l, err := rtlink.Decode(b)
		if err != nil {
			return
		}
		for _, o := range forms {
			var out bytes.Buffer
			p := New(&out, o, noNames{})
			p.BeginList()
			p.BeginObject()
			p.Link(l, deleted, Filter{Link: true})
			p.EndObject()
			p.EndList()
			if err := p.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
