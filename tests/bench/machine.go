package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// Machine is where a run took place and what was compared.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Date   string `json:"date"`
	// Load is the load average over a minute when the run began.
	Load string `json:"load"`
	// Congestion is the TCP congestion control.
	Congestion string `json:"congestion,omitempty"`
	Ipoib      string `json:"ipoib"`
	Wireguard  string `json:"wireguard_go"`
	Iperf      string `json:"iperf3"`
	Sockperf   string `json:"sockperf"`
}

func describeMachine(ctx context.Context, now time.Time) (Machine, error) {
	cpuinfo, err1 := os.ReadFile("/proc/cpuinfo")
	kernel, err2 := os.ReadFile("/proc/sys/kernel/osrelease")
	load, err3 := os.ReadFile("/proc/loadavg")
	if err := errors.Join(err1, err2, err3); err != nil {
		return Machine{}, err
	}
	m := Machine{
		CPU: cpuModel(string(cpuinfo)), Cores: runtime.NumCPU(),
		Kernel: strings.TrimSpace(string(kernel)), Go: runtime.Version(),
		Date:      now.UTC().Format(time.DateOnly),
		Ipoib:     version(ctx, "ipoib", "--version"),
		Iperf:     version(ctx, "iperf3", "--version"),
		Sockperf:  version(ctx, "sockperf", "--version"),
		Wireguard: wireguardVersion(),
	}
	m.Load, _, _ = strings.Cut(string(load), " ")
	return m, nil
}

// cpuModel finds the name of the processor in /proc/cpuinfo.
func cpuModel(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		key, value, ok := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name", "Model", "cpu model", "uarch": // x86, arm, mips, riscv
			if ok {
				return strings.TrimSpace(value)
			}
		}
	}
	return runtime.GOARCH
}

var versionNumber = regexp.MustCompile(`v?\d+\.\d+[\w.+-]*|\b[0-9a-f]{7,}(-dirty)?\b`)

// version asks a program for its version.
func version(ctx context.Context, name string, args ...string) string {
	text, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "unknown"
	}
	if v := versionNumber.FindString(string(text)); v != "" {
		return v
	}
	// Such as "ipoib version devel".
	first, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return first[strings.LastIndex(first, " ")+1:]
}

// wireguardVersion is the version of the module that is compiled in.
func wireguardVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "golang.zx2c4.com/wireguard" {
				return d.Version
			}
		}
	}
	return "unknown"
}
