package ethtoolsrv_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

var update = flag.Bool("update", false, "capture the kernel's answers in testdata (needs root)")

// kernelCase is a request whose answer is the same from the kernel, for a
// device that lacks what an IPoIB interface lacks, as from the service. The
// device is called ib0: an ifb, which has nearly no ethtool operations, or a
// tun, which has get_coalesce.
type kernelCase struct {
	name string
	tun  bool
	cmd  uint8
	// flags replaces REQUEST and ACK.
	flags uint16
	fill  func(*nl.Encoder)
}

// hdr adds a header for ib0 and what follows it.
func hdr(more func(*nl.Encoder)) func(*nl.Encoder) {
	return func(e *nl.Encoder) {
		ethnl.AppendRequestHeader(e, 1, "ib0", 0)
		if more != nil {
			more(e)
		}
	}
}

// wanted adds a bitset to a FEATURES_SET request.
func wanted(fill func(*nl.Encoder)) func(*nl.Encoder) {
	return hdr(func(e *nl.Encoder) { e.Nest(ethnl.FeaturesWanted, func() { fill(e) }) })
}

func words(n int, w ...uint32) []byte {
	b := make([]byte, 0, 4*n)
	for _, x := range w {
		b = binary.NativeEndian.AppendUint32(b, x)
	}
	return b
}

func kernelCases() []kernelCase {
	var cs []kernelCase
	add := func(name string, cmd uint8, fill func(*nl.Encoder)) {
		cs = append(cs, kernelCase{name: name, cmd: cmd, fill: fill})
	}
	// What the driver does not have.
	for _, cmd := range []uint8{
		ethnl.CmdLinkInfoSet, ethnl.CmdLinkModesSet, ethnl.CmdDebugGet, ethnl.CmdDebugSet, ethnl.CmdWoLGet, ethnl.CmdWoLSet,
		ethnl.CmdPrivFlagsGet, ethnl.CmdPrivFlagsSet, ethnl.CmdRingsGet, ethnl.CmdRingsSet, ethnl.CmdChannelsGet,
		ethnl.CmdChannelsSet, ethnl.CmdPauseGet, ethnl.CmdPauseSet, ethnl.CmdEEEGet, ethnl.CmdEEESet,
		ethnl.CmdCableTestAct, ethnl.CmdCableTestTDRAct, ethnl.CmdTunnelInfoGet, ethnl.CmdFECGet, ethnl.CmdFECSet,
		ethnl.CmdModuleEEPROMGet, ethnl.CmdModuleGet, ethnl.CmdModuleSet, ethnl.CmdPHCVClocksGet,
	} {
		add("no operation", cmd, hdr(nil))
	}
	u8 := func(t uint16, v uint8) func(*nl.Encoder) { return hdr(func(e *nl.Encoder) { e.U8(t, v) }) }
	u32 := func(t uint16, v uint32) func(*nl.Encoder) { return hdr(func(e *nl.Encoder) { e.U32(t, v) }) }
	add("port", ethnl.CmdLinkInfoSet, u8(ethnl.LinkInfoPort, 1))
	add("speed", ethnl.CmdLinkModesSet, u32(ethnl.LinkModesSpeed, 1000))
	add("master-slave", ethnl.CmdLinkModesSet, u8(ethnl.LinkModesMasterSlaveCfg, 9))
	add("lanes 3", ethnl.CmdLinkModesSet, u32(ethnl.LinkModesLanes, 3))
	add("lanes 9", ethnl.CmdLinkModesSet, u32(ethnl.LinkModesLanes, 9))
	add("ring size", ethnl.CmdRingsSet, u32(ethnl.RingsRx, 1))
	add("ring buffer", ethnl.CmdRingsSet, u32(ethnl.RingsRxBufLen, 1))
	add("ring buffer 0", ethnl.CmdRingsSet, u32(ethnl.RingsRxBufLen, 0))
	add("cqe size", ethnl.CmdRingsSet, u32(ethnl.RingsCQESize, 1))
	add("tx push", ethnl.CmdRingsSet, u8(ethnl.RingsTxPush, 1))
	add("tx push 2", ethnl.CmdRingsSet, u8(ethnl.RingsTxPush, 2))
	add("power mode", ethnl.CmdModuleSet, u8(ethnl.ModulePowerModePolicy, 1))
	add("power mode 3", ethnl.CmdModuleSet, u8(ethnl.ModulePowerModePolicy, 3))
	add("sopass of 7", ethnl.CmdWoLSet, hdr(func(e *nl.Encoder) { e.Put(ethnl.WoLSoPass, make([]byte, 7)) }))
	eeprom := func(off, n uint32, page, i2c uint8) func(*nl.Encoder) {
		return hdr(func(e *nl.Encoder) {
			e.U32(ethnl.ModuleEEPROMLength, n)
			e.U32(ethnl.ModuleEEPROMOffset, off)
			e.U8(ethnl.ModuleEEPROMPage, page)
			e.U8(ethnl.ModuleEEPROMBank, 0)
			e.U8(ethnl.ModuleEEPROMI2CAddress, i2c)
		})
	}
	add("eeprom", ethnl.CmdModuleEEPROMGet, eeprom(0, 1, 0, 0x50))
	add("eeprom lower half", ethnl.CmdModuleEEPROMGet, eeprom(0, 1, 1, 0x50))
	add("eeprom half page", ethnl.CmdModuleEEPROMGet, eeprom(100, 100, 0, 0x50))
	add("eeprom page", ethnl.CmdModuleEEPROMGet, eeprom(200, 100, 0, 0x50))
	add("eeprom offset", ethnl.CmdModuleEEPROMGet, eeprom(256, 1, 0, 0x50))
	add("eeprom length", ethnl.CmdModuleEEPROMGet, eeprom(0, 129, 0, 0x50))
	add("eeprom i2c", ethnl.CmdModuleEEPROMGet, eeprom(0, 1, 0, 0x80))

	// Headers.
	raw := func(fill func(*nl.Encoder)) func(*nl.Encoder) { return fill }
	nest := func(fill func(e *nl.Encoder)) func(*nl.Encoder) {
		return func(e *nl.Encoder) { e.Nest(1, func() { fill(e) }) }
	}
	for _, cmd := range []uint8{ethnl.CmdFeaturesGet, ethnl.CmdCoalesceSet} {
		add("no header", cmd, raw(func(*nl.Encoder) {}))
		add("empty header", cmd, nest(func(*nl.Encoder) {}))
		add("unknown index", cmd, nest(func(e *nl.Encoder) { e.U32(1, 1<<31-1) }))
		add("index 0", cmd, nest(func(e *nl.Encoder) { e.U32(1, 0) }))
		add("unknown name", cmd, nest(func(e *nl.Encoder) { e.String(2, "nosuch") }))
		add("empty name", cmd, nest(func(e *nl.Encoder) { e.String(2, "") }))
		add("name of 127", cmd, nest(func(e *nl.Encoder) { e.String(2, strings.Repeat("n", 127)) }))
		add("name of 128", cmd, nest(func(e *nl.Encoder) { e.String(2, strings.Repeat("n", 128)) }))
		add("name without NUL", cmd, nest(func(e *nl.Encoder) { e.Put(2, []byte("ib0")) }))
		add("index of 2 bytes", cmd, nest(func(e *nl.Encoder) { e.U16(1, 1) }))
		add("index of 8 bytes", cmd, nest(func(e *nl.Encoder) { e.U64(1, 1) }))
		add("flag 8", cmd, nest(func(e *nl.Encoder) { e.String(2, "ib0"); e.U32(3, 8) }))
		add("flag stats", cmd, nest(func(e *nl.Encoder) { e.String(2, "ib0"); e.U32(3, 4) }))
		add("header not nested", cmd, raw(func(e *nl.Encoder) { e.NestNoFlag(1, func() { e.String(2, "ib0") }) }))
		add("unknown attribute", cmd, hdr(func(e *nl.Encoder) { e.U32(99, 1) }))
		add("attribute too long", cmd, raw(func(e *nl.Encoder) { e.Raw([]byte{60, 0, 1, 0x80}) }))
		add("attribute too short", cmd, raw(func(e *nl.Encoder) { e.Raw([]byte{3, 0, 1, 0x80}) }))
	}
	add("no header", ethnl.CmdStatsGet, raw(func(*nl.Encoder) {}))
	add("no header", ethnl.CmdTunnelInfoGet, raw(func(*nl.Encoder) {}))
	add("unknown name", ethnl.CmdTunnelInfoGet, nest(func(e *nl.Encoder) { e.String(2, "nosuch") }))
	add("no header", ethnl.CmdCableTestAct, raw(func(*nl.Encoder) {}))
	add("unknown command", 0, raw(func(*nl.Encoder) {}))
	cs = append(cs, kernelCase{name: "dump of a SET", cmd: ethnl.CmdCoalesceSet, flags: request | dump, fill: hdr(nil)},
		kernelCase{name: "dump, unknown index", cmd: ethnl.CmdCoalesceGet, flags: request | dump,
			fill: nest(func(e *nl.Encoder) { e.U32(1, 1<<31-1) })},
		kernelCase{name: "dump, unknown attribute", cmd: ethnl.CmdCoalesceGet, flags: request | dump,
			fill: hdr(func(e *nl.Encoder) { e.U32(99, 1) })})

	// Bitsets of features.
	cs = append(cs, bitsetCases()...)

	// Coalescing: a tun has rx-frames, so that the tests are of others.
	tun := func(name string, fill func(*nl.Encoder)) {
		cs = append(cs, kernelCase{name: name, tun: true, cmd: ethnl.CmdCoalesceSet, fill: fill})
	}
	for t := uint16(ethnl.CoalesceRxUsecsIRQ); t <= ethnl.CoalesceUseCQEModeRx; t++ {
		if t == 11 || t == 12 || t >= 24 {
			tun(fmt.Sprint("parameter ", t), u8(t, 1))
		} else {
			tun(fmt.Sprint("parameter ", t), u32(t, 0))
		}
	}
	tun("lowest number", hdr(func(e *nl.Encoder) { e.U32(18, 1); e.U32(6, 1); e.U32(4, 1) }))
	tun("rx-frames of 2 bytes", hdr(func(e *nl.Encoder) { e.U16(3, 1) }))
	tun("rx-frames of 8 bytes", hdr(func(e *nl.Encoder) { e.U64(3, 1) }))
	tun("cqe mode 2", u8(ethnl.CoalesceUseCQEModeRx, 2))
	tun("nothing", hdr(nil))

	// String sets and statistics.
	set := func(fill func(*nl.Encoder)) func(*nl.Encoder) {
		return func(e *nl.Encoder) {
			e.Nest(1, func() {})
			e.Nest(ethnl.StrsetStringSets, func() { fill(e) })
		}
	}
	one := func(t uint16, fill func(*nl.Encoder)) func(*nl.Encoder) {
		return set(func(e *nl.Encoder) { e.Nest(t, func() { fill(e) }) })
	}
	add("unknown set", ethnl.CmdStrsetGet, one(1, func(e *nl.Encoder) { e.U32(1, 99) }))
	add("set without id", ethnl.CmdStrsetGet, one(1, func(*nl.Encoder) {}))
	add("set with count", ethnl.CmdStrsetGet, one(1, func(e *nl.Encoder) { e.U32(1, 4); e.U32(2, 4) }))
	add("set of type 2", ethnl.CmdStrsetGet, one(2, func(*nl.Encoder) {}))
	add("set not nested", ethnl.CmdStrsetGet, set(func(e *nl.Encoder) { e.U32(1, 4) }))
	add("device set", ethnl.CmdStrsetGet, one(1, func(e *nl.Encoder) { e.U32(1, 1) }))
	add("set without strings", ethnl.CmdStrsetGet, one(1, func(e *nl.Encoder) { e.U32(1, 3) }))
	for id := uint32(5); id <= 20; id++ {
		if id == 7 || id == 9 || id == 12 || id == 16 { // 9, 12 and 16 have grown since 6.1
			continue
		}
		add(fmt.Sprint("set ", id), ethnl.CmdStrsetGet, one(1, func(e *nl.Encoder) { e.U32(1, id) }))
	}
	add("no groups", ethnl.CmdStatsGet, func(e *nl.Encoder) { ethnl.AppendRequestHeader(e, 2, "ib0", 0) })
	group := func(name string) func(*nl.Encoder) {
		return func(e *nl.Encoder) {
			ethnl.AppendRequestHeader(e, 2, "ib0", 0)
			e.Nest(ethnl.StatsGroups, func() {
				e.Flag(ethnl.BitsetNoMask)
				e.Nest(ethnl.BitsetBits, func() {
					e.Nest(ethnl.BitsetBitsBit, func() { e.String(ethnl.BitsetBitName, name) })
				})
			})
		}
	}
	add("unknown group", ethnl.CmdStatsGet, group("bogus"))
	return cs
}

// bitsetCases are malformed bitsets.
func bitsetCases() []kernelCase {
	var cs []kernelCase
	add := func(name string, fill func(*nl.Encoder)) {
		cs = append(cs, kernelCase{name: "bitset " + name, cmd: ethnl.CmdFeaturesSet, fill: fill})
	}
	bit := func(fill func(*nl.Encoder)) func(*nl.Encoder) {
		return wanted(func(e *nl.Encoder) {
			e.Nest(ethnl.BitsetBits, func() { e.Nest(ethnl.BitsetBitsBit, func() { fill(e) }) })
		})
	}
	cs = append(cs, kernelCase{name: "no bitset", cmd: ethnl.CmdFeaturesSet, fill: hdr(nil)})
	cs = append(cs, kernelCase{name: "no header", cmd: ethnl.CmdFeaturesSet, fill: func(e *nl.Encoder) { e.Nest(3, func() {}) }})
	cs = append(cs, kernelCase{name: "features hw", cmd: ethnl.CmdFeaturesSet, fill: hdr(func(e *nl.Encoder) { e.Nest(2, func() {}) })})
	add("empty", wanted(func(*nl.Encoder) {}))
	add("not nested", hdr(func(e *nl.Encoder) { e.NestNoFlag(ethnl.FeaturesWanted, func() {}) }))
	add("unknown name", bit(func(e *nl.Encoder) { e.String(2, "bogus") }))
	add("index 64", bit(func(e *nl.Encoder) { e.U32(1, 64) }))
	add("mismatch", bit(func(e *nl.Encoder) { e.U32(1, 14); e.String(2, "rx-lro") }))
	add("no name", bit(func(*nl.Encoder) {}))
	add("bit attribute", bit(func(e *nl.Encoder) { e.U32(1, 14); e.U32(9, 1) }))
	add("value with payload", bit(func(e *nl.Encoder) { e.U32(1, 14); e.U8(3, 1) }))
	add("fixed feature", bit(func(e *nl.Encoder) { e.String(2, "vlan-challenged") }))
	add("bits and value", wanted(func(e *nl.Encoder) { e.Nest(3, func() {}); e.Put(4, words(2, 0, 0)) }))
	add("bits and mask", wanted(func(e *nl.Encoder) { e.Nest(3, func() {}); e.Put(5, words(2, 0, 0)) }))
	add("bit not nested", wanted(func(e *nl.Encoder) { e.Nest(3, func() { e.U32(1, 1) }) }))
	compact := func(fill func(*nl.Encoder)) func(*nl.Encoder) { return wanted(fill) }
	add("no size", compact(func(e *nl.Encoder) { e.Put(4, words(2, 0, 0)); e.Put(5, words(2, 0, 0)) }))
	add("no value", compact(func(e *nl.Encoder) { e.U32(2, 64); e.Put(5, words(2, 0, 0)) }))
	add("no mask", compact(func(e *nl.Encoder) { e.U32(2, 64); e.Put(4, words(2, 0, 0)) }))
	add("list with mask", compact(func(e *nl.Encoder) { e.Flag(1); e.U32(2, 64); e.Put(4, words(2, 0, 0)); e.Put(5, words(2, 0, 0)) }))
	add("short value", compact(func(e *nl.Encoder) { e.U32(2, 64); e.Put(4, words(1, 0)); e.Put(5, words(2, 0, 0)) }))
	add("short mask", compact(func(e *nl.Encoder) { e.U32(2, 64); e.Put(4, words(2, 0, 0)); e.Put(5, words(1, 0)) }))
	add("past the end", compact(func(e *nl.Encoder) { e.U32(2, 96); e.Put(4, words(3, 0, 0, 0)); e.Put(5, words(3, 0, 0, 1)) }))
	add("huge", compact(func(e *nl.Encoder) { e.U32(2, 1<<15); e.Put(4, nil); e.Put(5, nil) }))
	add("size of 2 bytes", compact(func(e *nl.Encoder) { e.U16(2, 64) }))
	return cs
}

// normalize makes answers comparable: the family, the port and the index of
// the interface differ.
func normalize(b []byte, family uint16) string {
	b = bytes.Clone(b)
	var out []string
	for len(b) >= nl.HeaderLen {
		h := nl.ParseHeader(b)
		m := b[:h.Length]
		if uint16(h.Type) == family {
			binary.NativeEndian.PutUint16(m[4:], 0xffff)
		}
		binary.NativeEndian.PutUint32(m[12:], 0)
		if h.Type == 2 && len(m) >= 36 && binary.NativeEndian.Uint16(m[24:]) == family {
			binary.NativeEndian.PutUint16(m[24:], 0xffff)
		}
		if uint16(h.Type) == family && len(m) >= 32 && binary.NativeEndian.Uint16(m[26:]) == 1 {
			binary.NativeEndian.PutUint32(m[28:], 0)
		}
		out = append(out, hex.EncodeToString(m))
		b = b[min(nl.Align(int(h.Length)), len(b)):]
	}
	return strings.Join(out, "+")
}

// key names a case in the capture.
func (k kernelCase) key() string {
	dev := "ifb"
	if k.tun {
		dev = "tun"
	}
	return fmt.Sprintf("%s, command %d, %s", dev, k.cmd, k.name)
}

// answers sends a request and collects what comes back up to the ACK, the
// error or the end of the dump.
func (k kernelCase) answers(tb testing.TB, family uint16, write func([]byte) error, read func() ([]byte, error)) []string {
	tb.Helper()
	flags := k.flags
	if flags == 0 {
		flags = request | ack
	}
	if err := write(encode(family, k.cmd, flags, 7, k.fill)); err != nil {
		tb.Fatal(err)
	}
	var out []string
	for {
		b, err := read()
		if err != nil {
			tb.Fatalf("%s: %v", k.key(), err)
		}
		out = append(out, normalize(b, family))
		if t := nl.ParseHeader(b).Type; t == 2 || t == 3 {
			return out
		}
	}
}

const captureFile = "testdata/kernel.txt"

func loadCapture(tb testing.TB) map[string][]string {
	tb.Helper()
	f, err := os.Open(captureFile)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	m := make(map[string][]string)
	key := ""
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		switch line := sc.Text(); {
		case strings.HasPrefix(line, "case "):
			key = line[5:]
		case strings.HasPrefix(line, "> "):
			m[key] = append(m[key], line[2:])
		}
	}
	return m
}

// TestAgainstKernel compares the service's answers with those of a kernel.
func TestAgainstKernel(t *testing.T) {
	capture := loadCapture(t)
	h := newHost(t, "ib0")
	c := dial(t, h, true)
	read := func() ([]byte, error) {
		d, err := c.c.ReadDatagram()
		return d.Bytes, err
	}
	for _, k := range kernelCases() {
		want, ok := capture[k.key()]
		if !ok {
			t.Errorf("%s: not captured", k.key())
			continue
		}
		got := k.answers(t, c.family, c.c.WriteDatagram, read)
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s:\n got %s\nwant %s", k.key(), describe(got), describe(want))
		}
	}
}

// describe decodes answers for people.
func describe(answers []string) string {
	var s strings.Builder
	for _, a := range answers {
		for m := range strings.SplitSeq(a, "+") {
			b, _ := hex.DecodeString(m)
			s.WriteString(nl.FormatDatagram(nl.ProtoGeneric, b))
		}
	}
	return s.String()
}
