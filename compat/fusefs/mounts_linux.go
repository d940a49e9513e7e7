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
	path, fsType, source string
}

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
		out = append(out, mountPoint{unescape(f[4]), b[0], unescape(b[1])})
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

func mounts() ([]mountPoint, error) {
	f, err := os.Open("/proc/self/mountinfo")
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
	var gone []string
	var errs []error
	for _, m := range slices.Backward(list) {
		if (m.fsType != fsType || m.source != source) && !slices.Contains(places, m.path) {
			continue
		}
		if err := Unmount(m.path); err != nil {
			errs = append(errs, err)
			continue
		}
		gone = append(gone, m.path)
	}
	return gone, errors.Join(errs...)
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
