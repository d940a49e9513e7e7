package hostnet

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"

	"ipoib/datapath/internal/netns"
)

// groupFiles are /proc/net/igmp and igmp6 of a namespace, opened at the first
// use and read again and again. Its zero value is ready to use.
//
// They list all links. Who asks while they are being read shares the next
// reading with all others who do: a thousand links that go up at once cost a
// few readings, not a thousand.
type groupFiles struct {
	mu      sync.Mutex
	cond    *sync.Cond // guarded by mu; nil before the first use
	v4, v6  *os.File   // nil before the first use; with buf of the reader
	buf     []byte
	reading bool   // guarded by mu, as is all below
	started uint64 // counts readings
	done    uint64 // the last complete one, of which are groups and err
	groups  map[int][]netip.Addr
	err     error
}

// Groups implements Namespace.
func (n *namespace) Groups(ifindex int) ([]netip.Addr, error) {
	g := &n.groups
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cond == nil {
		g.cond = sync.NewCond(&g.mu)
	}
	for want := g.started + 1; g.done < want; {
		if g.reading {
			g.cond.Wait()
			continue
		}
		g.reading = true
		g.started++
		g.mu.Unlock()
		groups, err := n.readGroups()
		g.mu.Lock()
		g.reading, g.done, g.groups, g.err = false, g.started, groups, err
		g.cond.Broadcast()
	}
	if g.err != nil {
		return nil, n.opError("list groups", strconv.Itoa(ifindex), g.err)
	}
	return slices.Clone(g.groups[ifindex]), nil
}

// readGroups reads the groups of all links. It has one caller at a time.
func (n *namespace) readGroups() (map[int][]netip.Addr, error) {
	g := &n.groups
	if g.v4 == nil {
		if err := n.openGroups(); err != nil {
			return nil, err
		}
	}
	b, err := g.read(g.v4)
	if err != nil {
		return nil, err
	}
	groups := make(map[int][]netip.Addr)
	if err := parseIGMP(b, groups); err != nil || g.v6 == nil {
		return groups, err
	}
	if b, err = g.read(g.v6); err != nil {
		return nil, err
	}
	return groups, parseIGMP6(b, groups)
}

// openGroups opens the files inside the namespace; a kernel without IPv6 has
// no igmp6.
func (n *namespace) openGroups() error {
	g := &n.groups
	return netns.Do(n.file, func() (err error) {
		if g.v4, err = os.Open("/proc/thread-self/net/igmp"); err != nil {
			return err
		}
		g.v6, err = os.Open("/proc/thread-self/net/igmp6")
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			g.v4.Close()
			g.v4 = nil
		}
		return err
	})
}

// read returns the whole file as it is now, until the next read.
func (g *groupFiles) read(f *os.File) ([]byte, error) {
	if g.buf == nil {
		g.buf = make([]byte, 16<<10)
	}
	for n := 0; ; {
		if n == len(g.buf) {
			g.buf = append(g.buf, make([]byte, len(g.buf))...)
		}
		k, err := f.ReadAt(g.buf[n:], int64(n))
		n += k
		if err == io.EOF {
			return g.buf[:n], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (g *groupFiles) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.reading {
		g.cond.Wait()
	}
	for _, f := range []*os.File{g.v4, g.v6} {
		if f != nil {
			f.Close()
		}
	}
}

// parseIGMP adds the groups in /proc/net/igmp by link. A line with the index
// opens a link, a line that starts with white space is a group of it, as a
// 32-bit word in the machine's byte order (igmp_mc_seq_show).
func parseIGMP(b []byte, groups map[int][]netip.Addr) error {
	current := 0
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		line := s.Bytes()
		f := bytes.Fields(line)
		switch {
		case len(f) == 0, string(f[0]) == "Idx":
		case line[0] != ' ' && line[0] != '\t':
			n, err := strconv.Atoi(string(f[0]))
			if err != nil {
				return err
			}
			current = n
		default:
			word, err := strconv.ParseUint(string(f[0]), 16, 32)
			if err != nil {
				return err
			}
			var a [4]byte
			binary.NativeEndian.PutUint32(a[:], uint32(word))
			groups[current] = append(groups[current], netip.AddrFrom4(a))
		}
	}
	return nil
}

// parseIGMP6 does the same for /proc/net/igmp6, with a line for each group:
// index, name, address, ... (igmp6_mc_seq_show).
func parseIGMP6(b []byte, groups map[int][]netip.Addr) error {
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		f := bytes.Fields(s.Bytes())
		if len(f) < 3 {
			continue
		}
		n, err := strconv.Atoi(string(f[0]))
		if err != nil {
			return err
		}
		var a [16]byte
		if len(f[2]) != 2*len(a) {
			return errShort
		}
		if _, err := hex.Decode(a[:], f[2]); err != nil {
			return err
		}
		groups[n] = append(groups[n], netip.AddrFrom16(a))
	}
	return nil
}
