package cli

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ipoib/nl"
)

var update = flag.Bool("update", false, "record testdata/recorded.txt anew, with strace and ethtool 6.1")

// recorded are the command lines of testdata/recorded.txt: all that go by
// netlink.
const recorded = `
ib0
nosuch
*
-a ib0
-I -a ib0
--json -a ib0
-c ib0
-c *
-c nosuch
-g ib0
-k ib0
--json -k ib0
-l ib0
-m ib0
-P ib0
-P *
-T ib0
-S ib0 --all-groups
-S ib0 --groups rmon
-S ib0 --groups eth-phy eth-mac
-S ib0 --groups bogus
--json -S ib0 --all-groups
--show-priv-flags ib0
--show-eee ib0
--show-fec ib0
-I --show-fec ib0
--show-tunnels ib0
--show-module ib0
--json --show-module ib0
-A ib0 rx off
-A ib0 autoneg on rx on tx on
-C ib0 rx-usecs 16
-C ib0 rx-frames 32
-C ib0 rx-usecs 1 rx-frames 2
-C ib0 rx-frames 2 rx-usecs 1
-C ib0 tx-usecs 8
-C ib0 adaptive-rx on adaptive-tx off
-C ib0 cqe-mode-rx on cqe-mode-tx off
-C ib0 rx-usecs-irq 1 rx-frames-irq 2 tx-usecs-irq 3 tx-frames-irq 4
-C ib0 stats-block-usecs 1 sample-interval 2 pkt-rate-low 3 pkt-rate-high 4
-C ib0 rx-usecs-low 1 rx-frames-low 2 tx-usecs-low 3 tx-frames-low 4
-C ib0 rx-usecs-high 1 rx-frames-high 2 tx-usecs-high 3 tx-frames-high 4
-C ib0 rx-frames 4294967295
-C ib0 rx-frames 0x10
-C ib0
-C ib0 rx-frames
-C ib0 bogus 1
-C nosuch rx-frames 1
-G ib0 rx 512
-G ib0 tx 128 rx-mini 3 rx-jumbo 4
-G ib0 rx-buf-len 2048
-G ib0 cqe-size 64 tx-push on
-K ib0 lro on
-K ib0 tso off
-K ib0 tso on
-K ib0 tx off
-K ib0 tx on sg on
-K ib0 gro off gso off
-K ib0 gro on gso on
-K ib0 rx-gro-list on
-K ib0 rx-gro-list off
-K ib0 tx-checksum-ip-generic off
-K ib0 tx-checksum-ip-generic on tso on
-K ib0 bogus on
-K ib0 gro maybe
-K ib0
-K ib0 ntuple on rxhash on
-K nosuch gro on
-L ib0 combined 2
-L ib0 rx 1 tx 1 other 3
-s ib0 speed 1000
-s ib0 autoneg off
-s ib0 autoneg on
-s ib0 duplex half speed 100
-s ib0 port tp phyad 3
-s ib0 mdix auto
-s ib0 msglvl 1
-s ib0 msglvl drv on link off
-s ib0 wol g
-s ib0 wol p sopass 01:02:03:04:05:06
-s ib0 advertise 0x20
-s ib0
--set-priv-flags ib0 foo on
--set-eee ib0 eee on
--set-eee ib0 tx-timer 5 advertise 0x20
--set-fec ib0 encoding rs
--set-module ib0 power-mode-policy auto
--cable-test ib0
--cable-test-tdr ib0 first 1 last 5
-m ib0 offset 5 length 3 page 1 bank 2 i2c 0x51
`

// TestRecord makes the fixture of TestRecorded.
func TestRecord(t *testing.T) {
	if !*update {
		t.Skip("run with -update")
	}
	requireEthtool(t)
	enterNetNS(t)
	ip(t, "link set lo down", "tuntap add ib0 mode tun")
	var text bytes.Buffer
	var table []string
	number := make(map[string]int)
	for line := range strings.Lines(strings.TrimSpace(recorded)) {
		line = strings.TrimSpace(line)
		r := straceEthtool(t, line)
		fmt.Fprintf(&text, "\n$ ethtool %s\n", line)
		for _, s := range r.steps {
			head, data, _ := strings.Cut(s, "= ")
			if data != "" {
				n, ok := number[data]
				if !ok {
					n = len(table)
					number[data] = n
					table = append(table, data)
				}
				s = fmt.Sprint(head, n)
			}
			fmt.Fprintln(&text, s)
		}
		fmt.Fprintf(&text, "out %q\nerr %q\nexit %d\n", r.out, r.errOut, r.code)
	}
	var out bytes.Buffer
	out.WriteString("# What ethtool 6.1 sends, gets and prints, on a TUN named ib0: datagrams with the port\n" +
		"# ids replaced by 0, then command lines.\n# Made by: go test -run TestRecord$ -update\n\n")
	for i, d := range table {
		fmt.Fprintf(&out, "datagram %d %s\n", i, d)
	}
	out.Write(text.Bytes())
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("testdata/recorded.txt", out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

var (
	socketRE  = regexp.MustCompile(`^socket\(AF_NETLINK.* = (\d+)$`)
	joinRE    = regexp.MustCompile(`^setsockopt\((\d+), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, \[(\d+)\]`)
	sendRE    = regexp.MustCompile(`^send(?:to|msg)\((\d+),`)
	receiveRE = regexp.MustCompile(`^recv(?:msg|from)\((\d+),.* = (\d+)$`)
	bytesRE   = regexp.MustCompile(`^ \| [0-9a-f]{5,} ((?: {1,2}[0-9a-f]{2}){1,16})`)
)

// straceEthtool runs ethtool and returns what it did, with "= DATA" in place of
// the number of a datagram.
func straceEthtool(t *testing.T, line string) (r recording) {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	args := append([]string{
		"-qq", "-o", trace, "-e", "trace=socket,setsockopt,sendto,sendmsg,recvmsg,recvfrom", "-e", "write=all",
		"-e", "read=all", "ethtool",
	}, split(line)...)
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "strace", args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	r.out, r.errOut, r.code = out.String(), errOut.String(), cmd.ProcessState.ExitCode()
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	number := make(map[string]int)
	step, size := "", -1
	var data []byte
	flush := func() {
		if step != "" {
			if size >= 0 && size < len(data) {
				data = data[:size]
			}
			if strings.HasSuffix(step, ">") {
				clearPads(data[min(nl.HeaderLen+4, len(data)):])
			}
			r.steps = append(r.steps, step+" = "+hex.EncodeToString(withoutPort(data)))
		}
		step, size, data = "", -1, nil
	}
	sc := bufio.NewScanner(f)
	for sc.Buffer(nil, 1<<20); sc.Scan(); {
		text := sc.Text()
		if m := bytesRE.FindStringSubmatch(text); m != nil {
			b, err := hex.DecodeString(strings.ReplaceAll(m[1], " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			data = append(data, b...)
			continue
		}
		if strings.HasPrefix(text, " * ") {
			continue
		}
		flush()
		if m := socketRE.FindStringSubmatch(text); m != nil {
			number[m[1]] = len(number)
		} else if m := joinRE.FindStringSubmatch(text); m != nil {
			r.steps = append(r.steps, fmt.Sprintf("%d join %s", number[m[1]], m[2]))
		} else if m := sendRE.FindStringSubmatch(text); m != nil {
			step = fmt.Sprintf("%d >", number[m[1]])
		} else if m := receiveRE.FindStringSubmatch(text); m != nil {
			step = fmt.Sprintf("%d <", number[m[1]])
			_, _ = fmt.Sscan(m[2], &size)
		}
	}
	flush()
	return r
}

// withoutPort sets the port ids of the messages in a datagram to 0, also in the
// request that an error quotes.
func withoutPort(b []byte) []byte {
	for rest := b; len(rest) >= nl.HeaderLen; {
		h := nl.ParseHeader(rest)
		binary.NativeEndian.PutUint32(rest[12:], 0)
		rest = rest[min(nl.Align(int(h.Length)), len(rest)):]
	}
	return b
}

// clearPads sets to 0 what is behind attributes that are not a multiple of four
// bytes long: ethtool leaves there what there was.
func clearPads(b []byte) {
	for len(b) >= 4 {
		n, typ := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if n < 4 || n > len(b) {
			return
		}
		if typ&nested != 0 {
			clearPads(b[4:n])
		}
		end := min(nl.Align(n), len(b))
		clear(b[n:end])
		b = b[end:]
	}
}

// nested is NLA_F_NESTED.
const nested = 1 << 15
