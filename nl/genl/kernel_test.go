package genl_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ipoib/nl"
	"ipoib/nl/genl"
	"ipoib/nl/nltest"

	"github.com/mdlayher/netlink"
)

var update = flag.Bool("update", false, "record the running kernel's answers in testdata")

// The cases below are sent byte for byte to the service and to the kernel.
// testdata/kernel.txt holds what Linux 6.18 answered; TestKernelLive asks the
// kernel that runs.

// sockopts are the option sets that every case is tried with.
var sockopts = []struct {
	name   string
	ext    bool
	capped bool
}{
	{"plain", false, false}, {"ext", true, false}, {"cap", false, true}, {"ext+cap", true, true},
}

type kernelCase struct {
	name string
	// req makes the datagram; id is the ethtool family's.
	req func(id uint16) []byte
	// dump: the answer is a dump, whose packing into datagrams is not
	// compared.
	dump bool
}

const seq = 0x1234

func msg(t uint16, flags netlink.HeaderFlags, payload ...byte) []byte {
	var e nl.Encoder
	_ = e.Message(netlink.Header{Type: netlink.HeaderType(t), Flags: flags, Sequence: seq},
		func(e *nl.Encoder) error { e.Raw(payload); return nil })
	return e.Bytes()
}

// genlMsg is a generic netlink request with attributes.
func genlMsg(t uint16, flags netlink.HeaderFlags, cmd uint8, fill func(e *nl.Encoder)) []byte {
	var e nl.Encoder
	_ = e.Message(netlink.Header{Type: netlink.HeaderType(t), Flags: flags, Sequence: seq},
		func(e *nl.Encoder) error {
			e.Raw([]byte{cmd, 1, 0, 0})
			if fill != nil {
				fill(e)
			}
			return nil
		})
	return e.Bytes()
}

const (
	req    = netlink.Request
	reqAck = netlink.Request | netlink.Acknowledge
	dump   = netlink.Request | netlink.Dump
	nested = 0x8000
)

func ctrl(flags netlink.HeaderFlags, cmd uint8, fill func(e *nl.Encoder)) func(uint16) []byte {
	return func(uint16) []byte { return genlMsg(16, flags, cmd, fill) }
}

func raw(b []byte) func(uint16) []byte { return func(uint16) []byte { return b } }

func name(s string) func(*nl.Encoder) { return func(e *nl.Encoder) { e.String(2, s) } }

// length overwrites nlmsg_len.
func length(b []byte, n byte) []byte {
	b = bytes.Clone(b)
	b[0], b[1], b[2], b[3] = n, 0, 0, 0
	return b
}

func ctrlCases() []kernelCase {
	get, pol := uint8(3), uint8(10)
	id := func(n uint16) func(*nl.Encoder) { return func(e *nl.Encoder) { e.U16(1, n) } }
	return []kernelCase{
		{name: "getfamily by name", req: ctrl(req, get, name("nlctrl"))},
		{name: "getfamily by name, ack", req: ctrl(reqAck, get, name("nlctrl"))},
		{name: "getfamily by id", req: ctrl(reqAck, get, id(16))},
		{name: "getfamily by id and another name", req: ctrl(reqAck, get, func(e *nl.Encoder) { e.U16(1, 16); e.String(2, "none") })},
		{name: "getfamily unknown name", req: ctrl(reqAck, get, name("nosuchfamily"))},
		{name: "getfamily unknown id", req: ctrl(req, get, id(999))},
		{name: "getfamily without attributes", req: ctrl(req, get, nil)},
		{name: "getfamily name too long", req: ctrl(req, get, name("sixteen_letters_"))},
		{name: "getfamily name without NUL", req: ctrl(req, get, func(e *nl.Encoder) { e.Put(2, []byte("nlctrl")) })},
		{name: "getfamily name empty attribute", req: ctrl(req, get, func(e *nl.Encoder) { e.Put(2, nil) })},
		{name: "getfamily id too short", req: ctrl(req, get, func(e *nl.Encoder) { e.U8(1, 16) })},
		{name: "getfamily id too long", req: ctrl(req, get, func(e *nl.Encoder) { e.U32(1, 16) })},
		{name: "getfamily unknown attribute", req: ctrl(reqAck, get, func(e *nl.Encoder) { e.U32(99, 1); e.String(2, "nlctrl") })},
		{name: "getfamily nested flag", req: ctrl(reqAck, get, func(e *nl.Encoder) { e.Put(2|nested, []byte("nlctrl\x00")) })},
		{name: "getfamily attribute type 0", req: ctrl(reqAck, get, func(e *nl.Encoder) { e.U32(0, 1); e.String(2, "nlctrl") })},
		{name: "getfamily repeated name", req: ctrl(reqAck, get, func(e *nl.Encoder) { e.String(2, "none"); e.String(2, "nlctrl") })},
		{name: "getfamily trailing bytes", req: ctrl(reqAck, get, func(e *nl.Encoder) { e.String(2, "nlctrl"); e.Raw([]byte{1, 0, 0, 0}) })},
		{name: "getfamily attribute beyond the end", req: ctrl(reqAck, get, func(e *nl.Encoder) { e.Raw([]byte{200, 0, 2, 0, 'x', 0, 0, 0}) })},
		{name: "getfamily reserved header bits", req: raw(msg(16, reqAck, 3, 9, 1, 1, 11, 0, 2, 0, 'n', 'l', 'c', 't', 'r', 'l', 0))},
		{name: "getfamily ROOT only", req: ctrl(req|netlink.Root, get, name("nlctrl"))},
		{name: "getfamily MATCH only", req: ctrl(req|netlink.Match, get, name("nlctrl"))},
		{name: "getfamily odd flags", req: ctrl(reqAck|0xfcf0, get, name("nlctrl"))},
		{name: "dump families, unknown attribute", req: ctrl(dump, get, func(e *nl.Encoder) { e.U32(99, 1) })},
		{name: "dump families, name too long", req: ctrl(dump, get, name("sixteen_letters_"))},
		{name: "newfamily", req: ctrl(reqAck, 1, name("nlctrl"))},
		{name: "command 0", req: ctrl(req, 0, nil)},
		{name: "command 200", req: ctrl(req, 200, nil)},
		{name: "command 200, dump", req: ctrl(dump, 200, nil)},
		{name: "no genlmsghdr", req: raw(msg(16, req))},
		{name: "no genlmsghdr, dump", req: raw(msg(16, dump))},
		{name: "half a genlmsghdr", req: raw(length(msg(16, reqAck, 3, 1, 0, 0), 18))},
		{name: "odd length", req: raw(length(ctrl(req, get, name("nosuch"))(0), 33-2))},
		{name: "unregistered type", req: raw(genlMsg(1000, reqAck, 1, name("x")))},
		{name: "unregistered type, long", req: raw(genlMsg(1000, req, 1, func(e *nl.Encoder) { e.Put(1, make([]byte, 1501)) }))},
		{name: "control type NOOP", req: raw(msg(1, reqAck))},
		{name: "control type 15", req: raw(msg(15, reqAck, 1, 2, 3, 4))},
		{name: "control type without ack", req: raw(msg(2, req))},
		{name: "no request flag", req: ctrl(netlink.Acknowledge, get, name("nlctrl"))},
		{name: "no request flag, no ack", req: ctrl(0, get, name("nlctrl"))},
		{name: "length below a header", req: raw(length(msg(16, reqAck), 15))},
		{name: "length beyond the datagram", req: raw(length(msg(16, reqAck), 17))},
		{name: "half a header", req: raw(msg(16, reqAck)[:12])},
		{name: "three messages", req: raw(bytes.Join([][]byte{
			genlMsg(16, req, get, name("nlctrl")), genlMsg(16, req, get, name("none")), genlMsg(16, reqAck, get, id(16)),
		}, nil))},
		{name: "message and garbage", req: raw(append(genlMsg(16, reqAck, get, name("nlctrl")), 1, 2, 3))},
		{name: "getpolicy without dump", req: ctrl(req, pol, id(16))},
		{name: "getpolicy", req: ctrl(dump, pol, id(16)), dump: true},
		{name: "getpolicy, ack", req: ctrl(dump|netlink.Acknowledge, pol, name("nlctrl")), dump: true},
		{name: "getpolicy one op", req: ctrl(dump, pol, func(e *nl.Encoder) { e.U16(1, 16); e.U32(10, 3) }), dump: true},
		{name: "getpolicy unknown op", req: ctrl(dump, pol, func(e *nl.Encoder) { e.U16(1, 16); e.U32(10, 99) })},
		{name: "getpolicy op 256+3", req: ctrl(dump, pol, func(e *nl.Encoder) { e.U16(1, 16); e.U32(10, 259) })},
		{name: "getpolicy without family", req: ctrl(dump, pol, nil)},
		{name: "getpolicy unknown family", req: ctrl(dump, pol, name("none"))},
		{name: "getpolicy unknown attribute", req: ctrl(dump, pol, func(e *nl.Encoder) { e.U16(1, 16); e.U32(99, 1) })},
		{name: "getpolicy unsupported attribute", req: ctrl(dump, pol, func(e *nl.Encoder) { e.U16(1, 16); e.U32(5, 1) })},
		{name: "getpolicy id too long", req: ctrl(dump, pol, func(e *nl.Encoder) { e.U32(1, 16) })},
		{name: "getpolicy nested flag on integer", req: ctrl(dump, pol, func(e *nl.Encoder) { e.Put(1|nested, []byte{16, 0}) })},
		{name: "getpolicy byte order flag", req: ctrl(dump, pol, func(e *nl.Encoder) { e.Put(1|0x4000, []byte{16, 0}) }), dump: true},
		{name: "getpolicy trailing bytes", req: ctrl(dump, pol, func(e *nl.Encoder) { e.U16(1, 16); e.Raw([]byte{2, 0, 0, 0}) })},
	}
}

// ethtoolCases break the policies of ethtool's COALESCE and FEATURES
// requests. The device does not exist, so nothing is ever changed.
func ethtoolCases() []kernelCase {
	const getCoalesce, setCoalesce = 19, 20
	eth := func(flags netlink.HeaderFlags, cmd uint8, fill func(e *nl.Encoder)) func(uint16) []byte {
		return func(id uint16) []byte { return genlMsg(id, flags, cmd, fill) }
	}
	hdr := func(e *nl.Encoder) { e.Nest(1, func() { e.String(2, "nosuch0") }) }
	with := func(more func(e *nl.Encoder)) func(*nl.Encoder) {
		return func(e *nl.Encoder) { hdr(e); more(e) }
	}
	return []kernelCase{
		{name: "ethtool no such name", req: eth(reqAck, getCoalesce, hdr)},
		{name: "ethtool unknown attribute", req: eth(req, getCoalesce, with(func(e *nl.Encoder) { e.U32(2, 1) }))},
		{name: "ethtool unknown attribute in header", req: eth(req, getCoalesce, func(e *nl.Encoder) { e.Nest(1, func() { e.String(2, "x"); e.U32(60, 1) }) })},
		{name: "ethtool header without flag", req: eth(req, getCoalesce, func(e *nl.Encoder) { e.NestNoFlag(1, func() { e.String(2, "x") }) })},
		{name: "ethtool header missing", req: eth(req, getCoalesce, nil)},
		{name: "ethtool header too short", req: eth(req, getCoalesce, func(e *nl.Encoder) { e.Put(1|nested, []byte{1, 2, 3}) })},
		{name: "ethtool header with trailing bytes", req: eth(req, getCoalesce, func(e *nl.Encoder) {
			e.Nest(1, func() { e.String(2, "nosuch0"); e.Raw([]byte{3, 0, 0, 0}) })
		})},
		{name: "ethtool index too short", req: eth(req, getCoalesce, func(e *nl.Encoder) { e.Nest(1, func() { e.U16(1, 1) }) })},
		{name: "ethtool index too long", req: eth(req, getCoalesce, func(e *nl.Encoder) { e.Nest(1, func() { e.U64(1, 1) }) })},
		{name: "ethtool name too long", req: eth(req, getCoalesce, func(e *nl.Encoder) { e.Nest(1, func() { e.String(2, strings.Repeat("n", 128)) }) })},
		{name: "ethtool name without NUL", req: eth(req, getCoalesce, func(e *nl.Encoder) { e.Nest(1, func() { e.Put(2, []byte("lo")) }) })},
		{name: "ethtool reserved header flag", req: eth(req, getCoalesce, func(e *nl.Encoder) { e.Nest(1, func() { e.String(2, "x"); e.U32(3, 8) }) })},
		{name: "ethtool trailing bytes", req: eth(req, getCoalesce, with(func(e *nl.Encoder) { e.Raw([]byte{1, 2, 3, 4}) }))},
		{name: "ethtool set u32 short", req: eth(req, setCoalesce, with(func(e *nl.Encoder) { e.U16(2, 1) }))},
		{name: "ethtool set u32 long", req: eth(req, setCoalesce, with(func(e *nl.Encoder) { e.U64(2, 1) }))},
		{name: "ethtool set u32 empty", req: eth(req, setCoalesce, with(func(e *nl.Encoder) { e.Flag(2) }))},
		{name: "ethtool set u8 range", req: eth(req, setCoalesce, with(func(e *nl.Encoder) { e.U8(24, 2) }))},
		{name: "ethtool set u32 nested flag", req: eth(req, setCoalesce, with(func(e *nl.Encoder) { e.Put(2|nested, []byte{1, 0, 0, 0}) }))},
		{name: "ethtool set dump", req: eth(dump, setCoalesce, hdr)},
		{name: "ethtool set valid", req: eth(reqAck, setCoalesce, with(func(e *nl.Encoder) { e.U32(2, 1); e.U8(24, 1) }))},
		{name: "ethtool unknown command", req: eth(reqAck, 222, hdr)},
		{name: "ethtool policy of get", req: func(id uint16) []byte {
			return genlMsg(16, dump, 10, func(e *nl.Encoder) { e.U16(1, id); e.U32(10, getCoalesce) })
		}, dump: true},
	}
}

// ethtoolFamily is as much of ethtool as the cases need: the policies, and
// devices of which there are none.
func ethtoolFamily(id uint16) genl.Family {
	header := &nl.Policy{Attrs: []nl.AttrPolicy{1: nl.U32(), 2: nl.NulString(127), 3: nl.U32().Mask(3)}}
	set := &nl.Policy{Attrs: []nl.AttrPolicy{1: nl.Nest(header)}}
	for t := 2; t <= 28; t++ {
		p := nl.U32()
		switch t {
		case 11, 12:
			p = nl.U8()
		case 24, 25:
			p = nl.U8().Max(1)
		}
		set.Attrs = append(set.Attrs, p)
	}
	device := func(r *genl.Request) error {
		h, err := r.Require(1)
		if err != nil {
			return err
		}
		attrs, err := nl.ParseNest(h, header, nl.Strict)
		if err != nil {
			return err
		}
		if a, ok := attrs.Get(2); ok {
			return nl.BadAttr(syscall.ENODEV, a, "no device matches name")
		}
		return nl.BadAttr(syscall.EINVAL, h, "neither ifindex nor name specified")
	}
	get := &nl.Policy{Attrs: []nl.AttrPolicy{1: nl.Nest(header)}}
	none := func(*genl.Request) (*genl.Dump, error) { return nil, syscall.EOPNOTSUPP }
	return genl.Family{
		Name: "ethtool", ID: id, Version: 1, ResvStart: 35,
		Ops: []genl.Op{
			{Cmd: 19, Policy: get, Do: device, Dump: none},
			{Cmd: 20, Flags: genl.UnsAdminPerm, Policy: set, Do: device},
		},
		Groups: []genl.Group{{Name: "monitor"}},
	}
}

// asker sends a request and collects the datagrams that answer it.
type asker func(tb testing.TB, opts int, req []byte) [][]byte

// askService asks a service with the ethtool family under that id, on a
// connection with that port id. The end of the answer is marked by the answer
// to a second, harmless request.
func askService(t *testing.T, family uint16, port uint32) asker {
	srv := nltest.NewServer(t, nl.Config{})
	reg := genl.New(srv)
	if family != 0 {
		if _, err := reg.Register(ethtoolFamily(family)); err != nil {
			t.Fatal(err)
		}
	}
	return func(tb testing.TB, opts int, req []byte) [][]byte {
		tb.Helper()
		peer := nltest.NewPeer()
		peer.SetCaps(nl.CapNetAdmin)
		c, err := nltest.Connect(srv, peer, nl.ConnConfig{
			Protocol: nl.ProtoGeneric, PortID: port, ExtAck: sockopts[opts].ext, CapAck: sockopts[opts].capped,
		})
		if err != nil {
			tb.Fatal(err)
		}
		defer func() {
			c.Close()
			for srv.Clients() > 0 {
				time.Sleep(time.Millisecond)
			}
		}()
		if err := c.WriteDatagram(req); err != nil {
			tb.Fatal(err)
		}
		return untilMark(tb, c.WriteDatagram, func() ([]byte, error) {
			d, err := c.ReadDatagram()
			return d.Bytes, err
		}, req)
	}
}

const markSeq = 0x7fffffff

// untilMark sends a NOOP with ACK after the request and returns what comes
// before its answer. A dump may end after the mark.
func untilMark(tb testing.TB, write func([]byte) error, read func() ([]byte, error), req []byte) [][]byte {
	tb.Helper()
	var e nl.Encoder
	_ = e.Message(netlink.Header{Type: netlink.Noop, Flags: reqAck, Sequence: markSeq}, nil)
	if err := write(e.Bytes()); err != nil {
		tb.Fatal(err)
	}
	var out [][]byte
	marked, dumping := false, false
	for !marked || dumping {
		b, err := read()
		if err != nil {
			tb.Fatalf("after %d datagrams: %v", len(out), err)
		}
		h := nl.ParseHeader(b)
		if h.Sequence == markSeq {
			marked = true
			continue
		}
		out = append(out, b)
		for _, m := range split(b) {
			h := nl.ParseHeader(m)
			dumping = h.Flags&netlink.Multi != 0 && h.Type != netlink.Done
		}
	}
	return out
}

// split cuts a datagram into messages with their padding.
func split(b []byte) [][]byte {
	var ms [][]byte
	for len(b) >= nl.HeaderLen {
		n := min(nl.Align(int(nl.ParseHeader(b).Length)), len(b))
		if n < nl.HeaderLen {
			break
		}
		ms = append(ms, b[:n])
		b = b[n:]
	}
	return ms
}

// fixOpIndex undoes a slip of kernels from 6.2 on in the policy dump: the nest
// of an operation that can only be dumped has type 0 in place of the command
// (ctrl_dumppolicy_put_op takes it from the missing doit). Of nlctrl that is
// GETPOLICY. Clients look the command up there, so the service tells it.
func fixOpIndex(m []byte) []byte {
	slip := []byte{0x10, 0, 9, 0x80, 0x0c, 0, 0, 0x80, 8, 0, 2, 0}
	if i := bytes.Index(m, slip); i >= 0 {
		m = bytes.Clone(m)
		m[i+6] = 10
	}
	return m
}

// compareAnswers compares two answers: datagram by datagram, or for a dump
// message by message.
func compareAnswers(t *testing.T, what string, got, want [][]byte, dump bool) {
	t.Helper()
	if dump {
		got, want = split(bytes.Join(got, nil)), split(bytes.Join(want, nil))
	}
	for i := range max(len(got), len(want)) {
		var g, w []byte
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = fixOpIndex(want[i])
		}
		if !bytes.Equal(g, w) {
			t.Errorf("%s: datagram %d of %d, kernel has %d:\nservice %skernel  %s",
				what, i+1, len(got), len(want), nl.FormatDatagram(nl.ProtoGeneric, g), nl.FormatDatagram(nl.ProtoGeneric, w))
			t.Logf("service %x", g)
			t.Logf("kernel  %x", w)
		}
	}
}

func recorded(tb testing.TB) string {
	return filepath.Join("testdata", "kernel.txt")
}

// TestKernelRecorded compares with the recorded answers, which carry the
// kernel's family id and port id.
func TestKernelRecorded(t *testing.T) {
	f, err := os.Open(recorded(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cases := make(map[string]kernelCase)
	for _, c := range append(ctrlCases(), ethtoolCases()...) {
		cases[c.name] = c
	}
	var family uint16
	var port uint32
	var ask asker
	var c kernelCase
	var opts, seen int
	var request []byte
	var answer [][]byte
	finish := func() {
		if request == nil {
			return
		}
		seen++
		compareAnswers(t, c.name+" "+sockopts[opts].name, ask(t, opts, request), answer, c.dump)
		request, answer = nil, nil
	}
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		key, value, _ := strings.Cut(sc.Text(), " ")
		switch key {
		case "family":
			if _, err := fmt.Sscanf(value, "%d port %d", &family, &port); err != nil {
				t.Fatal(err)
			}
			ask = askService(t, family, port)
		case "case":
			finish()
			var ok bool
			if c, ok = cases[value]; !ok {
				t.Fatalf("no case %q", value)
			}
		case "options":
			finish()
			for i, o := range sockopts {
				if o.name == value {
					opts = i
				}
			}
			request = c.req(family)
		case ">":
			b, err := hex.DecodeString(value)
			if err != nil {
				t.Fatal(err)
			}
			answer = append(answer, b)
		}
	}
	finish()
	if want := len(cases) * len(sockopts); seen != want {
		t.Errorf("%d answers recorded, want %d", seen, want)
	}
}
