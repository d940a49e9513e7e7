package fusefs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountPoint is a line of /proc/self/mountinfo.
type mountPoint struct {
	path, root, fsType, source string
}

// of reports whether a tree of that source is mounted.
func (m *mountPoint) of(source string) bool { return m.fsType == fsType && m.source == source }

// parseMounts reads mountinfo; lines that make no sense are left out.
func parseMounts(r io.Reader) ([]mountPoint, error) {
	var out []mountPoint
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		front, back, ok := strings.Cut(sc.Text(), " - ")
		f, b := strings.Fields(front), strings.Fields(back)
		if !ok || len(f) < 6 || len(b) < 2 {
			continue
		}
		out = append(out, mountPoint{unescape(f[4]), unescape(f[3]), b[0], unescape(b[1])})
	}
	return out, sc.Err()
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	var sb strings.Builder
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 || i+4 > len(s) {
			return sb.String() + s
		}
		v, err := strconv.ParseUint(s[i+1:i+4], 8, 8)
		if err != nil {
			sb.WriteString(s[:i+1])
			s = s[i+1:]
			continue
		}
		sb.WriteString(s[:i])
		sb.WriteByte(byte(v))
		s = s[i+4:]
	}
}

// mounts lists what is mounted in the mount namespace of the calling thread.
func mounts() ([]mountPoint, error) { return mountsOf("/proc/thread-self/mountinfo") }

func mountsOf(path string) ([]mountPoint, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return parseMounts(f)
}

// Clean unmounts what trees of that source have left: the tree itself, all
// that was bound from it, and other mounts at the places given. It returns the
// places.
func Clean(source string, places ...string) ([]string, error) {
	list, err := mounts()
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(m mountPoint) bool { return !m.of(source) && !slices.Contains(places, m.path) })
	var gone []string
	err = unmountAll(list, &gone)
	return gone, err
}

// unmountAll unmounts in the order in which that can be done, and adds what is
// unmounted to gone.
func unmountAll(list []mountPoint, gone *[]string) error {
	var errs []error
	for _, m := range slices.Backward(list) {
		err := Unmount(m.path)
		if err == nil && gone != nil {
			*gone = append(*gone, m.path)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Unmount takes a mount away, even one that is in use; none there is no error.
func Unmount(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "unmount", Path: path, Err: err}
	}
	return nil
}

// Bind shows from also at to.
func Bind(from, to string) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting %s over %s: %w", from, to, err)
	}
	return nil
}

// Serves reports whether a living tree of this package is mounted at path, or
// whether path is in one.
func Serves(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.FUSE_SUPER_MAGIC
}
