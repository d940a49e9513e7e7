package soft

import (
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/capture"
	"ipoib/rdma/header"
)

// vectorRC is the connection of the reference frames: QP 0x100 of LID 2 with
// QP 0x200 of LID 3, the first PSN of the former is given.
func vectorRC(t testing.TB, o rcOpts) (n *testNet, a, b *rcEnd) {
	t.Helper()
	guids := []rdma.GUID{0x5eef1000000a, 0x5eef1000000b}
	i := 0
	n = newTestNet(t, 2, func(c *HCAConfig) { c.PortGUIDs = guids[i : i+1]; i++ })
	o.nums = [2]rdma.QPN{0x100, 0x200}
	a, b = connect(t, n.port(0), n.port(1), o)
	return n, a, b
}

// tapHost collects the frames at the switch port of an adapter, both ways, in
// hex.
func tapHost(t testing.TB, n *testNet, i int) (frames func() []string) {
	t.Helper()
	var mu sync.Mutex
	var got []string
	cancel, err := n.f.Tap(n.sw.At(i+1), func(f Frame) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, hex.EncodeToString(f.Data))
	})
	must(t, err)
	t.Cleanup(cancel)
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}
}

func vectors(t testing.TB, names ...string) []string {
	t.Helper()
	var out []string
	for _, n := range names {
		out = append(out, hex.EncodeToString(vector(t, n)))
	}
	return out
}

func wantFrames(t *testing.T, got []string, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("frames:\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func vectorPayload(t testing.TB, name string) []byte {
	t.Helper()
	p, err := header.Parse(vector(t, name))
	must(t, err)
	return p.Payload
}

// A SEND Only and its acknowledgement, byte for byte (V16, V17).
func TestRCWireSendOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := vectorRC(t, rcOpts{psns: [2]rdma.PSN{0x900, 0}})
		frames := tapHost(t, n, 0)
		m := vectorPayload(t, "V16")
		a.post(1, m)
		b.want(m)
		wantFrames(t, frames(), vectors(t, "V16", "V17"))
	})
}

// A message of two packets is First and Last, of which the Last asks for an
// acknowledgement (V21, V22).
func TestRCWireSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := vectorRC(t, rcOpts{psns: [2]rdma.PSN{0x903, 0}, mtu: rdma.MTU256})
		frames := tapHost(t, n, 0)
		m := make([]byte, 300)
		for i := range m {
			m[i] = byte(i)
		}
		a.post(1, m)
		b.want(m)
		if len(frames()) != 3 {
			t.Fatalf("%d frames", len(frames()))
		}
		wantFrames(t, (frames())[:2], vectors(t, "V21", "V22"))
		f, _ := hex.DecodeString((frames())[2])
		p, err := header.Parse(f)
		if err != nil || p.BTH.Opcode() != header.RCAck || p.BTH.PSN() != 0x904 || p.AETH.MSN() != 1 {
			t.Errorf("acknowledgement %x: %v", f, err)
		}
	})
}

// A lost packet is asked for once (V18), and what is sent again is the same.
func TestRCWireNAK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := vectorRC(t, rcOpts{psns: [2]rdma.PSN{0x900, 0}})
		lost := false
		n.f.LinkAt(n.hcas[0].At(1)).SetFaultsFrom(0, Faults{Loss: 1, Match: func(p PacketInfo) bool {
			hit := p.Opcode == header.RCSendOnly && p.PSN == 0x902 && !lost
			lost = lost || hit
			return hit
		}})
		frames := tapHost(t, n, 0)
		m := vectorPayload(t, "V16")
		for i := range 5 {
			a.post(uint64(i), m)
		}
		b.want(m, m, m, m, m)
		a.wantSends(0, 0, 0, 0, 0)
		want := vectors(t, "V16", "V17")
		if !slices.Equal((frames())[:2], want) {
			t.Errorf("frames %s", frames())
		}
		naks := 0
		for _, f := range frames() {
			if f == vectors(t, "V18")[0] {
				naks++
			}
		}
		if naks != 1 {
			t.Errorf("%d NAKs as the reference in\n%s", naks, strings.Join(frames(), "\n"))
		}
		if c := n.hcas[0].HWCounters(); c["packet_seq_err"] != 1 || c["completer_retry_err"] == 0 {
			t.Errorf("requester's counters %v", c)
		}
		if c := n.hcas[1].HWCounters(); c["out_of_sequence"] != 1 {
			t.Errorf("responder's counters %v", c)
		}
	})
}

// Without a receive buffer the answer is an RNR NAK (V19); the message is sent
// again when its timer, 1.28 ms, is over.
func TestRCWireRNR(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := vectorRC(t, rcOpts{psns: [2]rdma.PSN{0x900, 0}, credits: 1})
		frames := tapHost(t, n, 0)
		m := vectorPayload(t, "V16")
		a.post(1, m)
		a.post(2, m)
		if len(frames()) != 4 || (frames())[3] != vectors(t, "V19")[0] {
			t.Fatalf("frames %s, want V19 last", frames())
		}
		b.want(m)
		must(t, b.qp.PostRecv(1))
		time.Sleep(1279 * time.Microsecond)
		b.want()
		time.Sleep(2 * time.Microsecond)
		synctest.Wait()
		b.want(m)
		a.wantSends(rdma.WCSuccess, rdma.WCSuccess)
		if c := n.hcas[0].HWCounters(); c["rnr_nak_retry_err"] != 1 {
			t.Errorf("counters %v", c)
		}
	})
}

// With an EventBatch one acknowledgement answers all that it brought.
func TestRCWireCoalescedACK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := vectorRC(t, rcOpts{psns: [2]rdma.PSN{0xfffffe, 0}})
		frames := tapHost(t, n, 0)
		var ev rdma.EventBatch
		wrs := make([]rdma.SendWR, 5)
		for i := range wrs {
			wrs[i].Buf = a.buf(pattern(10, i))
		}
		_, err := a.qp.PostSend(wrs, &ev)
		must(t, err)
		ev.Run()
		b.want(pattern(10, 0), pattern(10, 1), pattern(10, 2), pattern(10, 3), pattern(10, 4))
		if len(frames()) != 6 {
			t.Fatalf("%d frames", len(frames()))
		}
		f, _ := hex.DecodeString((frames())[5])
		p, err := header.Parse(f)
		if err != nil || p.AETH.Syndrome() != header.ACKNoCredit || p.BTH.PSN() != 2 || p.AETH.MSN() != 5 {
			t.Errorf("acknowledgement %x: %v", f, err)
		}
	})
}

// tshark takes a capture of a connection apart without complaint.
func TestRCTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("IPOIB_TEST_TOOLS") == "1" {
			t.Fatal(err)
		}
		t.Skip("tshark is not installed")
	}
	if os.Getenv("IPOIB_TEST_TOOLS") == "0" {
		t.Skip("IPOIB_TEST_TOOLS=0")
	}
	path := filepath.Join(t.TempDir(), "rc.pcapng")
	synctest.Test(t, func(t *testing.T) {
		n, a, b := vectorRC(t, rcOpts{credits: 2})
		file, err := os.Create(path)
		must(t, err)
		w, err := capture.NewWriter(file, "soft0/1", "test")
		must(t, err)
		cancel, err := n.f.Tap(n.sw.At(1), func(f Frame) { must(t, w.WriteFrame(f.Time, f.Data)) })
		must(t, err)
		long := append(vectorPayload(t, "V16"), make([]byte, 9000)...)
		a.post(1, vectorPayload(t, "V16"))
		a.post(2, long)
		a.post(3, long) // finds no receive buffer
		b.want(vectorPayload(t, "V16"), long)
		cancel()
		must(t, w.Flush())
		must(t, file.Close())
	})
	out, err := exec.Command(tshark, "-r", path, "-T", "fields", "-E", "separator=;",
		"-e", "infiniband.bth.opcode", "-e", "infiniband.bth.psn", "-e", "infiniband.aeth.msn", "-e", "_ws.expert").Output()
	must(t, err)
	// Opcode, PSN, MSN and complaints: Only and its ACK, a message of five
	// packets and its ACK, the third message and its RNR NAK.
	want := "4;0;;\n17;0;1;\n" +
		"0;1;;\n1;2;;\n1;3;;\n1;4;;\n2;5;;\n17;5;2;\n" +
		"0;6;;\n1;7;;\n1;8;;\n1;9;;\n2;10;;\n17;6;2;\n"
	if string(out) != want {
		t.Errorf("tshark shows\n%swant\n%s", out, want)
	}
	if out, err := exec.Command(tshark, "-r", path, "-V").Output(); err != nil || strings.Contains(string(out), "alformed") {
		t.Errorf("tshark -V: %v\n%s", err, out)
	}
}

// The negative variants of the reference frames.
func TestRCNegativeVectors(t *testing.T) {
	psn := func(f []byte, psn byte) []byte {
		return edit(f, true, true, func(f []byte) []byte { f[19] = psn; return f })
	}
	v16 := vector(t, "V16")
	short := rcRequest(header.RCSendFirst, 0x903, vectorPayload(t, "V21")[:255])
	for name, c := range map[string]struct {
		in        [][]byte
		first     rdma.PSN
		want      []answer
		delivered int
		state     rdma.QPState
	}{
		"V16 with the next PSN": {[][]byte{psn(v16, 1), psn(v16, 2)}, 0x900, []answer{{header.NAKPSNSequence, 0x900, 0}}, 0, rdma.QPSRTS},
		"V16 twice":             {[][]byte{v16, v16}, 0x900, []answer{{ack, 0x900, 1}, {ack, 0x900, 1}}, 1, rdma.QPSRTS},
		"V21 with 255 bytes":    {[][]byte{short}, 0x903, []answer{{header.NAKInvalidRequest, 0x903, 0}}, 0, rdma.QPSErr},
	} {
		t.Run(name, func(t *testing.T) {
			n, _, b := vectorRC(t, rcOpts{psns: [2]rdma.PSN{c.first, 0}, mtu: rdma.MTU256, credits: 1})
			take := answers(t, n, 1)
			for _, f := range c.in {
				must(t, n.f.Inject(n.hcas[1].At(1), f))
			}
			if got := take(); !slices.Equal(got, c.want) {
				t.Errorf("answers %v, want %v", got, c.want)
			}
			delivered := 0
			for _, wc := range poll(b.recv) {
				if wc.Status == rdma.WCSuccess {
					delivered++
				}
			}
			if delivered != c.delivered || b.qp.Query().State != c.state {
				t.Errorf("%d delivered, state %v", delivered, b.qp.Query().State)
			}
		})
	}
}
