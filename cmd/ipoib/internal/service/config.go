// Package service assembles the parts of `ipoib serve`: the fabric with its
// subnet manager, the driver, the netlink service and what is kept between
// runs. It has no protocol knowledge of its own.
package service

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"

	"ipoib/compat/modparam"
	"ipoib/datapath"
	"ipoib/nl/ipoibnl"
	"ipoib/rdma"
	"ipoib/rdma/soft"
)

// Defaults of Config.
const (
	DefaultRunDir = "/run/ipoib"
	DefaultConfig = "/etc/ipoib/ipoib.toml"
	SocketName    = "netlink.sock"
)

// Config is the configuration of the service, from a TOML file and flags.
type Config struct {
	// RunDir holds the control socket, the lock and the state.
	RunDir string `toml:"run_dir"`
	// Partitions is the path of a partition file in OpenSM's syntax; empty
	// is open membership.
	Partitions string `toml:"partitions"`
	// SubnetPrefix is the upper half of the GIDs, "fe80::" by default.
	SubnetPrefix string `toml:"subnet_prefix"`
	// LogLevel is "debug", "info", "warn" or "error".
	LogLevel string `toml:"log_level"`
	// Params are the module parameters of ib_ipoib by name.
	Params map[string]int `toml:"params"`
	// Sysfs shows the interfaces' files in /sys where the kernel has a place
	// for them; SysfsOverlay covers directories of the kernel's for the rest.
	Sysfs        bool `toml:"sysfs"`
	SysfsOverlay bool `toml:"sysfs_overlay"`
	// FollowLog gives the log to clients (ipoibface.Config); nil for none.
	FollowLog func(n int, fn func(ipoibnl.LogLine)) (cancel func()) `toml:"-"`
	// RFCSendOnly: see datapath.Params.
	RFCSendOnly bool `toml:"rfc_sendonly"`
	// NoIOURing reads the interfaces with epoll, as where the system does not
	// allow io_uring.
	NoIOURing bool `toml:"no_io_uring"`
	// NoHCA starts without channel adapters; HCAs lists them. With neither
	// there is one, soft0.
	NoHCA bool  `toml:"no_hca"`
	HCAs  []HCA `toml:"hca"`
}

// HCA describes a channel adapter of the software fabric.
type HCA struct {
	Name string `toml:"name" json:"name"`
	// Ports is the number of ports, 1 by default.
	Ports int `toml:"ports" json:"ports,omitempty"`
	// GUID is the node GUID, by default one made of the machine's identity
	// and the name; PortGUIDs are by default those that follow it.
	GUID      string   `toml:"guid" json:"guid,omitempty"`
	PortGUIDs []string `toml:"port_guids" json:"port_guids,omitempty"`
	// MTU is the largest InfiniBand MTU in bytes, 4096 by default.
	MTU int `toml:"mtu" json:"mtu,omitempty"`
	// Speed and Width of the links, "EDR" and "4X" by default.
	Speed string `toml:"speed" json:"speed,omitempty"`
	Width string `toml:"width" json:"width,omitempty"`
	// Profile is "full", "generic" or "datagram" (soft.Profile).
	Profile string `toml:"profile" json:"profile,omitempty"`
	// NetNS is the name in /run/netns of the namespace that the interfaces
	// are made in, empty for the service's own.
	NetNS string `toml:"netns" json:"netns,omitempty"`
	// Ifnames are the names of the parent interfaces, "ib%d" by default.
	Ifnames []string `toml:"ifnames" json:"ifnames,omitempty"`
	// Desc is the node description, "<host> <name>" by default.
	Desc string `toml:"desc" json:"desc,omitempty"`
	// Owner marks adapters that were added at run time.
	Owner string `toml:"-" json:"owner,omitempty"`
	// Dynamic marks adapters that are not in the configuration, so that a
	// restart brings them back.
	Dynamic bool `toml:"-" json:"dynamic,omitempty"`
}

// LoadConfig reads a configuration file. A missing file is an empty
// configuration unless must is set.
func LoadConfig(path string, must bool) (*Config, error) {
	cfg := new(Config)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !must {
		return cfg, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	dec := toml.NewDecoder(bytes.NewReader(text))
	meta, err := dec.Decode(cfg)
	if err != nil {
		if pe, ok := errors.AsType[toml.ParseError](err); ok {
			return nil, fmt.Errorf("%s: %s", path, pe.ErrorWithPosition())
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%s: unknown key %q", path, unknown[0].String())
	}
	return cfg, nil
}

// Normalize fills in defaults and checks the configuration.
func (c *Config) Normalize() error {
	if c.RunDir == "" {
		c.RunDir = DefaultRunDir
	}
	if c.SubnetPrefix == "" {
		c.SubnetPrefix = "fe80::"
	}
	if _, err := c.prefix(); err != nil {
		return err
	}
	for name := range c.Params {
		if err := modparam.Check(name); err != nil {
			return err
		}
	}
	if len(c.HCAs) == 0 && !c.NoHCA {
		c.HCAs = []HCA{{Name: "soft0"}}
	}
	seen := make(map[string]bool)
	for i := range c.HCAs {
		if err := c.HCAs[i].normalize(); err != nil {
			return err
		}
		if seen[c.HCAs[i].Name] {
			return fmt.Errorf("two adapters are named %q", c.HCAs[i].Name)
		}
		seen[c.HCAs[i].Name] = true
	}
	return nil
}

func (c *Config) prefix() (uint64, error) {
	g, err := rdma.ParseGID(c.SubnetPrefix)
	if err != nil || g.GUID() != 0 || g.IsMulticast() {
		return 0, fmt.Errorf("subnet_prefix %q is not a /64 prefix, such as fe80:: is", c.SubnetPrefix)
	}
	return g.Prefix(), nil
}

// params returns the driver's parameters.
func (c *Config) params() datapath.Params {
	p := datapath.Params{RFCSendOnly: c.RFCSendOnly}
	modparam.Apply(c.Params, &p, nil)
	return p
}

// Socket is the path of the control socket.
func (c *Config) Socket() string { return filepath.Join(c.RunDir, SocketName) }

// adapterName is compiled when it is needed: most commands start without.
var adapterName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,31}$`)
})

// normalize fills in defaults and checks one adapter.
func (h *HCA) normalize() error {
	if !adapterName().MatchString(h.Name) {
		return fmt.Errorf("%q cannot be the name of an adapter", h.Name)
	}
	if h.Ports == 0 {
		h.Ports = 1
	}
	if h.GUID == "" {
		h.GUID = defaultGUID(h.Name).String()
	}
	if h.MTU == 0 {
		h.MTU = 4096
	}
	if h.Speed == "" {
		h.Speed = rdma.SpeedEDR.String()
	}
	if h.Width == "" {
		h.Width = rdma.Width4X.String()
	}
	if h.Profile == "" {
		h.Profile = string(soft.ProfileFull)
	}
	if h.Desc == "" {
		host := h.NetNS
		if host == "" {
			host, _ = os.Hostname()
		}
		h.Desc = strings.TrimSpace(host + " " + h.Name)
	}
	if len(h.Ifnames) > h.Ports {
		return fmt.Errorf("adapter %s has %d ports and %d interface names", h.Name, h.Ports, len(h.Ifnames))
	}
	_, err := h.soft()
	return err
}

// soft returns the fabric's form of the description.
func (h *HCA) soft() (soft.HCAConfig, error) {
	fail := func(err error) (soft.HCAConfig, error) {
		return soft.HCAConfig{}, fmt.Errorf("adapter %s: %w", h.Name, err)
	}
	guid, err := rdma.ParseGUID(h.GUID)
	if err != nil {
		return fail(err)
	}
	cfg := soft.HCAConfig{Name: h.Name, Ports: h.Ports, NodeGUID: guid, Desc: h.Desc, Profile: soft.Profile(h.Profile)}
	for _, s := range h.PortGUIDs {
		g, err := rdma.ParseGUID(s)
		if err != nil {
			return fail(err)
		}
		cfg.PortGUIDs = append(cfg.PortGUIDs, g)
	}
	if cfg.MTU, err = rdma.MTUFromBytes(h.MTU); err != nil {
		return fail(err)
	}
	if cfg.Speed, err = rdma.ParseLinkSpeed(h.Speed); err != nil {
		return fail(err)
	}
	if cfg.Width, err = rdma.ParseLinkWidth(h.Width); err != nil {
		return fail(err)
	}
	if err := cfg.Profile.Check(); err != nil {
		return fail(err)
	}
	if cfg.Profile != soft.ProfileGeneric {
		cfg.PKeys = fullPKeys
	}
	return cfg, nil
}

// fullPKeys is the P_Key table of the full profile: room for a thousand
// children.
const fullPKeys = 1024

// ifname is the name of the parent interface of a port, from 1.
func (h *HCA) ifname(port int) string {
	if port <= len(h.Ifnames) && h.Ifnames[port-1] != "" {
		return h.Ifnames[port-1]
	}
	return "ib%d"
}

// defaultGUID makes a locally administered node GUID of the machine's identity
// and a name: "02", "ib", four bytes of a hash, and room for port GUIDs.
func defaultGUID(name string) rdma.GUID {
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		host, _ := os.Hostname()
		id = []byte(host)
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(string(id)) + "/" + name))
	return rdma.GUID(0x026962)<<40 | rdma.GUID(binary.BigEndian.Uint32(sum[:]))<<8
}
