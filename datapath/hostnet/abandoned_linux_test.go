package hostnet

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// A namespace is in use by a process, by an open file and by a mount.
func TestIntegrationAbandoned(t *testing.T) {
	k, ns := newNS(t)
	h := NewHost()
	abandoned := func() bool {
		got := h.Abandoned([]ID{ns.ID(), {Dev: ns.ID().Dev, Ino: 1}})
		return len(got) == 2 && got[0] == ns.ID()
	}
	used := func() bool { return len(h.Abandoned([]ID{ns.ID()})) == 0 }
	for what, cmd := range map[string]*exec.Cmd{
		"process":   k.Command(t.Context(), "sleep", "60"),
		"open file": exec.CommandContext(t.Context(), "sleep", "60"),
	} {
		if what == "open file" {
			cmd.ExtraFiles = []*os.File{ns.File()}
		}
		must(t, cmd.Start())
		waitFor(t, what, used)
		cmd.Process.Kill()
		cmd.Wait()
		waitFor(t, "end of "+what, abandoned)
	}
	at := filepath.Join(t.TempDir(), "ns")
	must(t, os.WriteFile(at, nil, 0o600))
	must(t, unix.Mount(pathOf(ns), at, "", unix.MS_BIND, ""))
	if !used() {
		t.Error("a mounted namespace is abandoned")
	}
	must(t, unix.Unmount(at, 0))
	if !abandoned() {
		t.Error("still in use after the mount is gone")
	}
}

func pathOf(ns Namespace) string { return "/proc/self/fd/" + strconv.Itoa(int(ns.File().Fd())) }
