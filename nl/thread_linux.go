package nl

import (
	"os"
	"strconv"
)

// ThreadNetNS returns the network namespace that a thread is in.
func ThreadNetNS(tid int) (NetNS, error) {
	id, err := pathID("/proc/" + strconv.Itoa(tid) + "/ns/net")
	return NetNS{id.dev, id.ino}, err
}

// ThreadNetCapable reports whether a thread has capability k in the user
// namespace that owns netns, or in one around it (ns_capable). The thread must
// not end meanwhile: one that waits for the caller's answer does not.
func ThreadNetCapable(tid int, netns *os.File, k Cap) bool {
	if tid <= 0 || netns == nil {
		return false
	}
	dir := "/proc/" + strconv.Itoa(tid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return false
	}
	var c procCreds
	if c.eff, err = parseCapEff(status); err != nil {
		return false
	}
	if c.userNS, err = pathID(dir + "/ns/user"); err != nil {
		return false
	}
	for _, ns := range owners(int(netns.Fd())) {
		if c.has(k, ns) {
			return true
		}
	}
	return false
}
