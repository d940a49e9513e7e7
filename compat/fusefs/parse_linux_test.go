package fusefs

import (
	"slices"
	"strings"
	"testing"
)

func TestParseMounts(t *testing.T) {
	const text = `22 27 0:21 / /proc rw,relatime - proc proc rw
70 27 0:50 / /run/ipoib/sys rw,nosuid - fuse.ipoib ipoib:/run/ipoib rw,user_id=0
71 23 0:50 /netns/1/x /sys/devices/virtual/net/ib0 rw shared:3 master:1 - fuse.ipoib ipoib:/run/my\040dir rw
nonsense
72 23 0:50 / - fuse.ipoib
`
	got, err := parseMounts(strings.NewReader(text))
	want := []mountPoint{
		{"/proc", "/", "proc", "proc"}, {"/run/ipoib/sys", "/", "fuse.ipoib", "ipoib:/run/ipoib"},
		{"/sys/devices/virtual/net/ib0", "/netns/1/x", "fuse.ipoib", "ipoib:/run/my dir"},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add("22 27 0:21 / /proc rw,relatime - proc proc rw\n")
	f.Add("22 27 0:21 / /a\\040b rw - fuse.ipoib x\\ rw\n")
	f.Add("\\0\\04\\999")
	f.Fuzz(func(t *testing.T, s string) {
		list, _ := parseMounts(strings.NewReader(s))
		for _, m := range list {
			if m.fsType == "" {
				t.Errorf("%q: %v", s, m)
			}
		}
	})
}
