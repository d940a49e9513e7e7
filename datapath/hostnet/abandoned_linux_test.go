package hostnet

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// A namespace is in use by a process, by an open file and by a mount, but not
// by another file with the same number.
func TestIntegrationAbandoned(t *testing.T) {
	k, ns := newNS(t)
	h := NewHost()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	must(t, err)
	defer f.Close()
	var st unix.Stat_t
	must(t, unix.Fstat(int(f.Fd()), &st))
	abandoned := func() bool {
		got := h.Abandoned([]ID{ns.ID(), {Dev: ns.ID().Dev, Ino: st.Ino}})
		return len(got) == 2 && got[0] == ns.ID()
	}
	opener := exec.CommandContext(t.Context(), "sleep", "60")
	opener.ExtraFiles = []*os.File{f}
	must(t, opener.Start())
	defer func() {
		opener.Process.Kill()
		opener.Wait()
	}()
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
