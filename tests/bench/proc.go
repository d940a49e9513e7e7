package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// userHZ is the unit of times in /proc (USER_HZ, 100 on every architecture
// that Go knows).
const userHZ = 100

// cpuOf is the CPU time of a process that has ended.
func cpuOf(s *os.ProcessState) time.Duration {
	if s == nil {
		return 0
	}
	return s.UserTime() + s.SystemTime()
}

// wakeupsOf is the number of times that a process that has ended slept.
func wakeupsOf(s *os.ProcessState) int64 {
	if s == nil {
		return 0
	}
	if ru, ok := s.SysUsage().(*syscall.Rusage); ok {
		return ru.Nvcsw
	}
	return 0
}

// parseSchedstat reads /proc/PID/task/TID/schedstat: its first field is the
// time on a CPU in nanoseconds.
func parseSchedstat(text string) (time.Duration, error) {
	first, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	ns, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("schedstat: %w", err)
	}
	return time.Duration(ns), nil
}

// cpuTime is the CPU time of the threads of a running process. The services
// measured here keep their threads.
func cpuTime(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, errors.Join(fmt.Errorf("process %d is gone", pid), err)
	}
	var sum time.Duration
	for _, f := range files {
		text, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // the thread has just ended
		}
		if err != nil {
			return 0, err
		}
		d, err := parseSchedstat(string(text))
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// parseStatus reads a numeric field of /proc/PID/status, such as VmRSS in KiB.
func parseStatus(text, field string) (int64, error) {
	for line := range strings.Lines(text) {
		value, ok := strings.CutPrefix(line, field+":")
		if !ok {
			continue
		}
		value, _, _ = strings.Cut(strings.TrimSpace(value), " ")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", field, err)
		}
		return n, nil
	}
	return 0, fmt.Errorf("no %s in the status of the process", field)
}

// memory is the resident memory of a process in MiB.
func memory(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	kib, err := parseStatus(string(text), "VmRSS")
	return float64(kib) / 1024, err
}

// parseInterruptTime reads the time of the machine in hard and soft interrupts
// from /proc/stat. Kernels that account it (CONFIG_IRQ_TIME_ACCOUNTING) do not
// charge it to the process that was interrupted; for others it is near 0 here.
func parseInterruptTime(stat string) (time.Duration, error) {
	line, _, _ := strings.Cut(stat, "\n")
	// cpu user nice system idle iowait irq softirq ...
	f := strings.Fields(line)
	if len(f) < 8 || f[0] != "cpu" {
		return 0, errors.New("/proc/stat: no line of all CPUs")
	}
	var sum int64
	for _, v := range f[6:8] {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		sum += n
	}
	return time.Duration(sum) * (time.Second / userHZ), nil
}

func interruptTime() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseInterruptTime(string(text))
}

// hasSocket tells whether a table of sockets (/proc/PID/net/tcp, udp and so
// on) has one bound to a port and not connected.
func hasSocket(table []byte, port int) bool {
	sc := bufio.NewScanner(bytes.NewReader(table))
	want := fmt.Sprintf(":%04X", port)
	for sc.Scan() {
		// sl local_address rem_address st ...
		f := strings.Fields(sc.Text())
		if len(f) > 3 && strings.HasSuffix(f[1], want) && strings.HasSuffix(f[2], ":0000") {
			return true
		}
	}
	return false
}

// listens tells whether something in the network namespace of a process waits
// at a port.
func listens(pid, port int) bool {
	for _, proto := range []string{"tcp", "tcp6", "udp", "udp6"} {
		table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, proto))
		if err == nil && hasSocket(table, port) {
			return true
		}
	}
	return false
}
