package capture

import (
	"bytes"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
)

// frames are the reference frames of rdma/header, in order.
func frames(t *testing.T) [][]byte {
	t.Helper()
	text, err := os.ReadFile("../header/testdata/frames.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for block := range strings.SplitSeq(string(text), "\n\n") {
		block = strings.TrimSpace(block)
		if !strings.HasPrefix(block, "V") {
			continue
		}
		_, body, _ := strings.Cut(block, "\n")
		b, err := hex.DecodeString(strings.Join(strings.Fields(body), ""))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

func write(t *testing.T, frames [][]byte) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := NewWriter(&file, "soft0/1", "test")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1700000000, 250_000_000)
	for _, f := range frames {
		if err := w.WriteFrame(at, f); err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Millisecond)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestRecord(t *testing.T) {
	got := appendERF(nil, time.Unix(1, 500_000_000), []byte{1, 2, 3})
	want := "00000080" + "01000000" + "15" + "04" + "0013" + "0000" + "0003" + "010203"
	if hex.EncodeToString(got) != want {
		t.Errorf("got  %x\nwant %s", got, want)
	}
}

func TestFileReadsBack(t *testing.T) {
	in := frames(t)
	if len(in) != 22 {
		t.Fatalf("%d reference frames", len(in))
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(write(t, in)), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	if r.LinkType() != LinkTypeERF {
		t.Errorf("link type %v", r.LinkType())
	}
	if i, err := r.Interface(0); err != nil || i.Name != "soft0/1" || i.TimestampResolution != 9 {
		t.Errorf("%+v, %v", i, err)
	}
	if got := r.SectionInfo().Application; got != "test" {
		t.Errorf("written by %q", got)
	}
	for i, f := range in {
		data, info, err := r.ReadPacketData()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data[erfHeaderLen:], f) || info.Timestamp.Nanosecond() != 250_000_000+i*1_000_000 {
			t.Errorf("frame %d: %v", i, info.Timestamp)
		}
	}
}

func TestOversizedFrame(t *testing.T) {
	w, err := NewWriter(new(bytes.Buffer), "p", "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteFrame(time.Now(), make([]byte, maxFrame+1)); err == nil {
		t.Error("a frame above the largest PktLen was written")
	}
}

// tshark decodes the file down to the payload, without preferences.
func TestTshark(t *testing.T) {
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
	path := filepath.Join(t.TempDir(), "v.pcapng")
	if err := os.WriteFile(path, write(t, frames(t)), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tshark, "-r", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text := string(out)
	for _, want := range []string{
		"Who has 192.0.2.2? Tell 192.0.2.1", "192.0.2.2 is at 80000049fe8000000000000000005eef1000000b",
		"Echo (ping) request", "Neighbor Solicitation for fe80::200:5eef:1000:b",
		"SubnAdmSet(MCMemberRecord)", "SubnAdmGetResp(PathRecord)", "CM: ConnectRequest", "DHCP Discover",
		"RC Acknowledge", "RC Send First",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("tshark does not show %q", want)
		}
	}
	if strings.Contains(text, "Malformed") {
		t.Errorf("malformed packets:\n%s", text)
	}
	if n := strings.Count(text, "\n"); n < 22 {
		t.Errorf("%d lines", n)
	}
}
