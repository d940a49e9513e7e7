package iproute

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// netnsDir is where ip netns keeps its names (NETNS_RUN_DIR).
const netnsDir = "/var/run/netns"

// groupFile names the link groups.
const groupFile = "/etc/iproute2/group"

// dialTimeout bounds the hello of a connection: a service that does not answer
// by then hangs.
const dialTimeout = 10 * time.Second

// NewEnv returns the environment of this process. socket is the path of the
// service's socket in a run directory, "" being the default one.
func NewEnv(stdin io.Reader, stdout, stderr io.Writer, socket func(runDir string) string) Env {
	env := Env{
		Stdin: stdin, Stdout: stdout, Stderr: stderr, Host: linuxHost{}, Now: time.Now,
		ColorFGBG: os.Getenv("COLORFGBG"),
		Dial: func(runDir string, cfg nl.ConnConfig) (Socket, error) {
			ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
			defer cancel()
			cfg.ReceiveSize = receiveSize
			return dialService(ctx, socket(runDir), cfg)
		},
	}
	if f, ok := stdout.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		env.Terminal = err == nil
	}
	return env
}

// receiveSize is the buffer that ip receives into, in bytes: dumps come in
// fewer and larger pieces than by default.
const receiveSize = 32 << 10

func dialService(ctx context.Context, path string, cfg nl.ConnConfig) (Socket, error) {
	c, err := nl.Dial(ctx, path, cfg)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// linuxHost is Host on Linux.
type linuxHost struct{}

// EnterNetNS implements Host. ip also mounts a fresh /sys, which nothing here
// reads.
func (linuxHost) EnterNetNS(name string) error {
	f, err := os.Open(filepath.Join(netnsDir, name))
	if err != nil {
		return fmt.Errorf("Cannot open network namespace \"%s\": %s", name, strerror(err)) //nolint:staticcheck // ip's text
	}
	defer func() { _ = f.Close() }()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setting the network namespace \"%s\" failed: %s", name, strerror(err))
	}
	return nil
}

// OpenNetNS implements Host.
func (linuxHost) OpenNetNS(name string) (*os.File, error) {
	if !strings.Contains(name, "/") {
		name = filepath.Join(netnsDir, name)
	}
	return os.Open(name)
}

// NetNSNames implements Host.
func (linuxHost) NetNSNames() []string {
	list, err := os.ReadDir(netnsDir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

// Link implements Host.
func (linuxHost) Link(name string) (index uint32, kind string) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = c.Close() }()
	var e nl.Encoder
	rtlink.AppendHeader(&e, 0, 0, 0, 0, 0)
	e.String(nameAttr(name), name)
	msgs, err := c.Execute(netlink.Message{Header: netlink.Header{Type: rtlink.GetLink, Flags: netlink.Request}, Data: e.Bytes()})
	if err != nil || len(msgs) == 0 {
		return 0, ""
	}
	l, err := rtlink.Decode(msgs[0].Data)
	if err != nil {
		return 0, ""
	}
	if l.Info != nil {
		kind = l.Info.Kind
	}
	return uint32(l.Index), kind
}

// Ifname implements Host.
func (linuxHost) Ifname(index uint32) string {
	i, err := net.InterfaceByIndex(int(index))
	if err != nil {
		return ""
	}
	return i.Name
}

// Groups implements Host: lines of a number and a name.
func (linuxHost) Groups() map[uint32]string {
	text, err := os.ReadFile(groupFile)
	if err != nil {
		return nil
	}
	out := make(map[uint32]string)
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		w := strings.Fields(line)
		if len(w) < 2 {
			continue
		}
		if n, err := strconv.ParseUint(w[0], 0, 32); err == nil {
			out[uint32(n)] = w[1]
		}
	}
	return out
}

// Open implements Host.
func (linuxHost) Open(name string) (io.ReadCloser, error) { return os.Open(name) }
