package fusefs

import (
	"encoding/binary"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Parts of the FUSE protocol that go-fuse keeps to itself (uapi/linux/fuse.h).
const (
	inHeaderLen  = 40
	outHeaderLen = 16

	opRead        = 15
	opReadDir     = 28
	opPoll        = 40
	opReadDirPlus = 44

	// readSizeAt is fuse_read_in.size behind the header.
	readSizeAt = inHeaderLen + 16

	pollInLen      = 24
	scheduleNotify = 1 << 0 // FUSE_POLL_SCHEDULE_NOTIFY
	notifyPoll     = 1      // FUSE_NOTIFY_POLL
)

// Events of poll(2): what a file without a poll operation always has, and what
// a sysfs file adds when its content changed since it was read (kernel
// kernfs_generic_poll).
const (
	pollAlways  = 0x1 | 0x4 | 0x40 | 0x100 // POLLIN POLLOUT POLLRDNORM POLLWRNORM
	pollChanged = 0x2 | 0x8                // POLLPRI POLLERR
)

// poll answers a FUSE_POLL request of an open file. With schedule, wake is
// called with kh at the next change.
func (r *raw) poll(fh, kh uint64, schedule bool, wake func(kh uint64)) (uint32, fuse.Status) {
	h := r.handle(fh)
	if h == nil || h.file == nil {
		return 0, fuse.EBADF
	}
	f := h.file
	f.mu.Lock()
	defer f.mu.Unlock()
	if schedule {
		if f.waiters == nil {
			f.waiters = make(map[*handle]*waiter)
		}
		f.waiters[h] = &waiter{kh, wake}
	}
	if h.seen != f.event+1 {
		return pollAlways | pollChanged, fuse.OK
	}
	return pollAlways, fuse.OK
}

// pollRequest answers a whole FUSE_POLL message into out and returns the
// length of the answer, 0 for what is none.
func (r *raw) pollRequest(in, out []byte, wake func(kh uint64)) int {
	if len(in) < inHeaderLen+pollInLen {
		return 0
	}
	b := in[inHeaderLen:]
	fh, kh := binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint64(b[8:])
	flags := binary.NativeEndian.Uint32(b[16:])
	events, st := r.poll(fh, kh, flags&scheduleNotify != 0, wake)
	n := outHeaderLen
	if st.Ok() {
		n += 8
		binary.NativeEndian.PutUint32(out[outHeaderLen:], events)
		binary.NativeEndian.PutUint32(out[outHeaderLen+4:], 0)
	}
	putOutHeader(out, n, -int32(st), binary.NativeEndian.Uint64(in[8:]))
	return n
}

// pollWakeup makes the message that wakes the pollers of a file.
func pollWakeup(kh uint64) []byte {
	b := make([]byte, outHeaderLen+8)
	putOutHeader(b, len(b), notifyPoll, 0)
	binary.NativeEndian.PutUint64(b[outHeaderLen:], kh)
	return b
}

func putOutHeader(b []byte, n int, code int32, unique uint64) {
	binary.NativeEndian.PutUint32(b, uint32(n))
	binary.NativeEndian.PutUint32(b[4:], uint32(code))
	binary.NativeEndian.PutUint64(b[8:], unique)
}
