package service

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ipoib/datapath"
)

func configFile(tb testing.TB, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "ipoib.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

const fullConfig = `
run_dir = "/run/other"
partitions = "/etc/partitions.conf"
subnet_prefix = "fec0:0:0:1::"
log_level = "warn"
sysfs = true
sysfs_overlay = true
rfc_sendonly = true
no_io_uring = true
[params]
send_queue_size = 512
debug_level = 1
[[hca]]
name = "mlx0"
ports = 2
guid = "0002:c903:00a0:b0c0"
port_guids = ["0x0002c90300a0b0c1", "0002:c903:00a0:b0c2"]
mtu = 2048
speed = "HDR"
width = "2X"
profile = "generic"
netns = "blue"
ifnames = ["ibx"]
desc = "a node"
[[hca]]
name = "mlx1"
`

func TestLoadConfig(t *testing.T) {
	c, err := LoadConfig(configFile(t, fullConfig), true)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Normalize(); err != nil {
		t.Fatal(err)
	}
	if c.RunDir != "/run/other" || c.Partitions != "/etc/partitions.conf" || c.LogLevel != "warn" || !c.Sysfs || !c.SysfsOverlay ||
		c.Params["debug_level"] != 1 || c.Socket() != "/run/other/netlink.sock" || len(c.HCAs) != 2 || !c.NoIOURing {
		t.Errorf("%+v", c)
	}
	if p, err := c.prefix(); err != nil || p != 0xfec0000000000001 {
		t.Errorf("prefix %#x, %v", p, err)
	}
	if p := c.params(); p.SendQueueSize != 512 || !p.RFCSendOnly {
		t.Errorf("%+v", p)
	}
	h, err := c.HCAs[0].soft()
	if err != nil || h.Ports != 2 || h.MTU.Bytes() != 2048 || h.Speed.String() != "HDR" || h.Width.String() != "2X" ||
		h.NodeGUID != 0x0002c90300a0b0c0 || len(h.PortGUIDs) != 2 || h.PKeys != 0 {
		t.Errorf("%+v, %v", h, err)
	}
	if c.HCAs[0].ifname(1) != "ibx" || c.HCAs[0].ifname(2) != "ib%d" {
		t.Errorf("%q %q", c.HCAs[0].ifname(1), c.HCAs[0].ifname(2))
	}
	d := c.HCAs[1]
	if d.Ports != 1 || d.MTU != 4096 || d.Speed != "EDR" || d.Width != "4X" || d.Profile != "full" || !strings.HasSuffix(d.Desc, "mlx1") {
		t.Errorf("defaults %+v", d)
	}
	if h, err := d.soft(); err != nil || h.NodeGUID>>40 != 0x026962 || h.NodeGUID&0xff != 0 || h.PKeys != fullPKeys {
		t.Errorf("%+v, %v", h, err)
	}
}

// Without a file, and without anything in it, there is one adapter.
func TestDefaults(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.toml")
	if _, err := LoadConfig(none, true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	for _, path := range []string{none, configFile(t, "")} {
		c, err := LoadConfig(path, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Normalize(); err != nil || c.RunDir != DefaultRunDir || len(c.HCAs) != 1 || c.HCAs[0].Name != "soft0" {
			t.Errorf("%+v, %v", c, err)
		}
		if p, _ := c.prefix(); p != 0xfe80000000000000 {
			t.Errorf("prefix %#x", p)
		}
		if c.params() != (datapath.Params{}) {
			t.Errorf("%+v", c.params())
		}
	}
	c := &Config{NoHCA: true}
	if err := c.Normalize(); err != nil || len(c.HCAs) != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

// What is wrong is named.
func TestBadConfig(t *testing.T) {
	const hca = "[[hca]]\nname = \"a\"\n"
	for text, want := range map[string]string{
		"run_dir = ":                  "ipoib.toml",
		"run_dir = 5":                 "incompatible types",
		"rundir = \"x\"":              `unknown key "rundir"`,
		hca + "port = 2":              `unknown key "hca.port"`,
		"subnet_prefix = \"fe80::1\"": "is not a /64 prefix",
		"subnet_prefix = \"ff12::\"":  "is not a /64 prefix",
		"subnet_prefix = \"x\"":       "is not a /64 prefix",
		"[params]\nlro = 1":           `unknown parameter "lro"`,
		"[[hca]]\nports = 1":          `"" cannot be the name of an adapter`,
		"[[hca]]\nname = \"a/b\"":     `"a/b" cannot be the name of an adapter`,
		"[[hca]]\nname = \"" + strings.Repeat("a", 33) + "\"": "cannot be the name of an adapter",
		hca + hca:                        `two adapters are named "a"`,
		hca + "guid = \"x\"":             "adapter a: ",
		hca + "port_guids = [\"x\"]":     "adapter a: ",
		hca + "mtu = 1500":               "adapter a: ",
		hca + "speed = \"FAST\"":         "adapter a: ",
		hca + "width = \"5X\"":           "adapter a: ",
		hca + "profile = \"best\"":       `profile "best" is none of full, generic and datagram`,
		hca + "ifnames = [\"x\", \"y\"]": "adapter a has 1 ports and 2 interface names",
	} {
		c, err := LoadConfig(configFile(t, text), true)
		if err == nil {
			err = c.Normalize()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, not %q", text, err, want)
		}
	}
}

// FuzzConfig reads files that nobody wrote.
func FuzzConfig(f *testing.F) {
	f.Add(fullConfig)
	f.Add("[[hca]]\nname = \"a\"\nports = -1\nmtu = -1")
	f.Add("[params]\nsend_queue_size = -9223372036854775808")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(dir, "f.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := LoadConfig(path, true)
		if err != nil || c.Normalize() != nil {
			return
		}
		// What is accepted can be used.
		if _, err := c.prefix(); err != nil {
			t.Error(err)
		}
		for i := range c.HCAs {
			if _, err := c.HCAs[i].soft(); err != nil {
				t.Error(err)
			}
			for n := 1; n <= min(c.HCAs[i].Ports, 300); n++ {
				if c.HCAs[i].ifname(n) == "" {
					t.Error("no name")
				}
			}
		}
		_ = c.params()
	})
}
