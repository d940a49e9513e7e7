package tracee

import (
	"bytes"
	"strconv"
)

// Status is what /proc/TID/status tells of a thread (proc_pid_status(5)).
type Status struct {
	// TGID is the process; NSTGID is its number in the innermost process
	// namespace, which is what it sees itself as.
	TGID, NSTGID int
	// Threads is how many the process has.
	Threads int
	// Private, Shared and Blocked are sets of signals, bit n-1 for signal n:
	// those that wait for the thread, those that wait for the process, and
	// those that the thread does not take.
	Private, Shared, Blocked uint64
	// Effective is the set of effective capabilities.
	Effective uint64
}

// ReadStatus reads the status of a thread.
func ReadStatus(tid int) (Status, error) {
	b, err := readAll(proc(tid)+"status", make([]byte, 8192))
	if err != nil {
		return Status{}, err
	}
	return ParseStatus(b), nil
}

// ParseStatus reads the text of a status file; what is missing or malformed
// is 0.
func ParseStatus(b []byte) (s Status) {
	for line := range bytes.Lines(b) {
		key, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimSpace(value)
		switch string(key) {
		case "Tgid":
			s.TGID = number(value)
		case "NStgid":
			s.NSTGID = number(value[bytes.LastIndexByte(value, '\t')+1:])
		case "Threads":
			s.Threads = number(value)
		case "SigPnd":
			s.Private = set(value)
		case "ShdPnd":
			s.Shared = set(value)
		case "SigBlk":
			s.Blocked = set(value)
		case "CapEff":
			s.Effective = set(value)
		}
	}
	return s
}

func number(b []byte) int {
	n, err := strconv.Atoi(string(b))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func set(b []byte) uint64 {
	v, err := strconv.ParseUint(string(b), 16, 64)
	if err != nil {
		return 0
	}
	return v
}
