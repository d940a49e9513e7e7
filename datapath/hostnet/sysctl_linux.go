package hostnet

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"ipoib/datapath/internal/netns"
)

// sysctlPath returns the file of net.FAMILY.conf.IFNAME.KEY.
func sysctlPath(f Family, ifname, key string) (string, error) {
	for _, s := range []string{ifname, key} {
		if s == "" || s == "." || s == ".." || strings.Contains(s, "/") {
			return "", unix.EINVAL
		}
	}
	if f != IPv4 && f != IPv6 {
		return "", unix.EINVAL
	}
	return filepath.Join("/proc/sys/net", f.String(), "conf", ifname, key), nil
}

// Sysctl implements Namespace. /proc/sys/net shows the namespace of the
// thread that opens a file.
func (n *namespace) Sysctl(f Family, ifname, key string) (string, error) {
	path, err := sysctlPath(f, ifname, key)
	if err != nil {
		return "", n.opError("read sysctl "+key, ifname, err)
	}
	var b []byte
	err = netns.Do(n.file, func() (err error) {
		b, err = os.ReadFile(path)
		return err
	})
	return strings.TrimSpace(string(b)), n.opError("read sysctl "+key, ifname, err)
}

// SetSysctl implements Namespace.
func (n *namespace) SetSysctl(f Family, ifname, key, value string) error {
	path, err := sysctlPath(f, ifname, key)
	if err == nil {
		err = netns.Do(n.file, func() error {
			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = file.WriteString(value)
			return err
		})
	}
	return n.opError("write sysctl "+key, ifname, err)
}
