package rtlink

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ipoib/nl"
)

// fixtures reads a file of hex lines.
func fixtures(tb testing.TB, name string) [][]byte {
	tb.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var out [][]byte
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if line := sc.Text(); !strings.HasPrefix(line, "#") {
			b, err := hex.DecodeString(line)
			if err != nil {
				tb.Fatal(err)
			}
			out = append(out, b)
		}
	}
	return out
}

func encode(l *Link) []byte {
	var e nl.Encoder
	l.Append(&e)
	return e.Bytes()
}

// flatten lists the attributes of a message, sorted, nests of nests included:
// the order and the flag of nests do not matter to a reader.
func flatten(b []byte) []string {
	out := []string{hex.EncodeToString(b[:HeaderLen])}
	for a := range Attrs(b[HeaderLen:]) {
		out = append(out, fmt.Sprintf("%d %v %x", a.Type, a.Nested, a.Data))
	}
	slices.Sort(out)
	return out
}

// TestKernelRoundTrip decodes what the kernel sent and writes it again.
func TestKernelRoundTrip(t *testing.T) {
	for _, b := range fixtures(t, "kernel.txt") {
		l, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(flatten(b), flatten(encode(l))); d != "" {
			t.Errorf("%s (-kernel +ours):\n%s", l.Name, d)
		}
	}
}

func TestDecodeKernel(t *testing.T) {
	links := map[string]*Link{}
	for _, b := range fixtures(t, "kernel.txt") {
		l, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		links[l.Name] = l
	}
	v0, v1, br, tun, mv := links["v0"], links["v1"], links["br0"], links["t0"], links["mv0"]
	if v0 == nil || v1 == nil || br == nil || tun == nil || mv == nil {
		t.Fatalf("links are missing: %v", links)
	}
	check := func(what string, got, want any) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	check("alias", v0.Alias, "hello")
	check("altnames", v0.AltNames, []string{"averyveryveryverylongalternativename"})
	check("type", v0.Type, TypeEther)
	check("flags", v0.Flags&(FlagUp|FlagBroadcast|FlagPointToPoint), FlagUp|FlagBroadcast)
	check("mtu", *v0.MTU, uint32(1500))
	check("operstate", *v0.Operstate, OperUp)
	check("group", *v0.Group, uint32(7))
	check("addrgenmode", *v0.AddrGenMode, uint8(0))
	check("kind", v0.Info.Kind, "veth")
	check("master", *v1.Master, uint32(br.Index))
	check("slave kind", v1.Info.SlaveKind, "bridge")
	check("link", *mv.Link, uint32(v0.Index))
	check("macvlan kind", mv.Info.Kind, "macvlan")
	check("no address", tun.Address == nil, true)
	check("address", len(v0.Address), 6)
	check("stats", v0.Stats64.TxPackets > 0 && v0.Stats64.TxPackets == v0.Stats32.TxPackets, true)
	check("queues", *v0.NumTxQueues, uint32(2))
	check("qdisc", v0.Qdisc, "noqueue")
}

func full() *Link {
	d := IPoIB{PKey: new(uint16(0x8001)), Mode: new(uint16(1)), Umcast: new(uint16(0))}
	return &Link{
		Type: TypeInfiniBand, Index: 7, Flags: FlagUp | FlagBroadcast, Change: 1,
		Name: "ib0.8001", TxQueueLen: new(uint32(256)), Operstate: new(OperUp), Linkmode: new(uint8(0)),
		MTU: new(uint32(2044)), MinMTU: new(uint32(0)), MaxMTU: new(uint32(65520)), Group: new(uint32(0)),
		Alias: "a child", ProtoDown: new(uint8(0)), ProtoDownReason: new(uint32(4)), Event: new(EventFeatures),
		Address: bytes.Repeat([]byte{0x80}, 20), Broadcast: bytes.Repeat([]byte{0xff}, 20),
		PermAddress: bytes.Repeat([]byte{0x81}, 20),
		Stats64:     &Stats{RxPackets: 1 << 40, RxOtherhostDropped: 9}, Stats32: &Stats{RxPackets: 3},
		Info: &Info{Kind: KindIPoIB, Data: d.Bytes(), XStats: []byte{1, 2, 3, 4}, SlaveKind: "bond", SlaveData: []byte{4, 0, 1, 0}},
		Link: new(uint32(3)), LinkNetNSID: new(int32(-1)), NewNetNSID: new(int32(5)), NewIfindex: new(int32(6)),
		Qdisc: "noop", AltNames: []string{"one", "two"}, ParentDev: "0000:00:04.0", ParentBus: "pci",
		PhysPortName: "p0", PhysPortID: []byte{1}, PhysSwitchID: []byte{2}, NumVF: new(uint32(0)),
		Other: []Raw{{Type: AttrHeadroom, Data: []byte{0, 0}}, {Type: 300, Nested: true, Data: []byte{4, 0, 1, 0}}},
	}
}

func TestRoundTrip(t *testing.T) {
	want := full()
	got, err := Decode(encode(want))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	d := DecodeIPoIB(got.Info.Data)
	if *d.PKey != 0x8001 || *d.Mode != 1 || *d.Umcast != 0 {
		t.Errorf("ipoib data %v %v %v", *d.PKey, *d.Mode, *d.Umcast)
	}
}

// TestAddrGenMode changes the mode inside an AF_SPEC and nothing else of it.
func TestAddrGenMode(t *testing.T) {
	for _, b := range fixtures(t, "kernel.txt") {
		l, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		before := l.AFSpec
		l.AddrGenMode = new(uint8(1))
		got, err := Decode(encode(l))
		if err != nil {
			t.Fatal(err)
		}
		if m, ok := AddrGenMode(got.AFSpec); !ok || m != 1 {
			t.Errorf("%s: mode %d, %v", l.Name, m, ok)
		}
		if len(before) != len(got.AFSpec) {
			t.Errorf("%s: AF_SPEC of %d bytes became %d", l.Name, len(before), len(got.AFSpec))
		}
		diff := 0
		for i := range before {
			if before[i] != got.AFSpec[i] {
				diff++
			}
		}
		if diff > 1 {
			t.Errorf("%s: %d bytes differ", l.Name, diff)
		}
	}
	var e nl.Encoder
	AppendAFSpec(&e, 3)
	for a := range Attrs(e.Bytes()) {
		if m, ok := AddrGenMode(a.Data); a.Type != AttrAFSpec || !ok || m != 3 {
			t.Errorf("request: attribute %d, mode %d, %v", a.Type, m, ok)
		}
	}
}

func TestDecodeShort(t *testing.T) {
	if _, err := Decode(make([]byte, HeaderLen-1)); !errors.Is(err, ErrShort) {
		t.Errorf("error %v", err)
	}
	// Attributes that are too short are absent.
	var e nl.Encoder
	AppendHeader(&e, 0, 0, 1, 0, 0)
	for _, f := range fields {
		e.Put(f.t, nil)
	}
	l, err := Decode(e.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if l.MTU != nil || l.Operstate != nil || l.LinkNetNSID != nil || l.AddrGenMode != nil {
		t.Errorf("decoded %+v", l)
	}
	if d := DecodeIPoIB([]byte{5, 0, 1, 0, 1, 0, 0, 0}); d.PKey != nil {
		t.Errorf("P_Key of one byte is %v", *d.PKey)
	}
}

func FuzzDecode(f *testing.F) {
	for _, b := range fixtures(f, "kernel.txt") {
		f.Add(b)
	}
	f.Add(encode(full()))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Decode(b)
		if err != nil {
			return
		}
		once := encode(l)
		again, err := Decode(once)
		if err != nil {
			t.Fatal(err)
		}
		if twice := encode(again); !bytes.Equal(once, twice) {
			t.Errorf("not stable:\n%x\n%x", once, twice)
		}
	})
}

func FuzzDecodeIPoIB(f *testing.F) {
	d := IPoIB{PKey: new(uint16(0x8001)), Mode: new(uint16(1)), Umcast: new(uint16(0))}
	f.Add(d.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		d := DecodeIPoIB(b)
		got := DecodeIPoIB(d.Bytes())
		if diff := cmp.Diff(d, got); diff != "" {
			t.Error(diff)
		}
	})
}

func BenchmarkDecodeAppend(b *testing.B) {
	msgs := fixtures(b, "kernel.txt")
	b.ReportAllocs()
	for b.Loop() {
		for _, m := range msgs {
			l, _ := Decode(m)
			_ = encode(l)
		}
	}
}
