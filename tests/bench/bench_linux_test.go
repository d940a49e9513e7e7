//go:build integration

package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The test binary is the WireGuard device as well, as the program is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == wireguardCommand {
		os.Exit(exitCode(runWireguard(os.Args[2:], os.Stdin, os.Stdout)))
	}
	os.Exit(m.Run())
}

// A short run over every kind of target and every part.
func TestQuickRun(t *testing.T) {
	if os.Getuid() != 0 || os.Getenv("IPOIB_TEST_ROOT") != "1" {
		const why = "needs root and isolated.sh (make integration)"
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	dir := t.TempDir()
	var out, log strings.Builder
	err := run(context.Background(), []string{
		"-quick", "-out", dir,
		"-only", "^(veth|wireguard-go|ours)/(tcp$|idle)|^vxlan/latency|^ours/(udp|latency)|^children|^hosts|^moderation/100$",
	}, &out, &log)
	t.Logf("%s\n%s", log.String(), out.String())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(doc, &r); err != nil {
		t.Fatal(err)
	}
	for target, names := range map[string][]string{
		vethTarget:      {metricTCP, metricCPU},
		vxlanTarget:     {metricP50, metricP99},
		wireguardTarget: {metricTCP, metricIdle, metricMemory},
		oursTarget:      {metricTCP, metricCPU, metricUDP, metricP50, metricP99, metricMemory},
	} {
		for _, name := range names {
			if v, ok := r.median(target, name); !ok || v <= 0 {
				t.Errorf("%s of %s: %v, %v", name, target, v, ok)
			}
		}
	}
	if len(r.Children) != 1 || r.Children[0].Error != "" || r.Children[0].Create.Median <= 0 {
		t.Errorf("children: %+v", r.Children)
	}
	if len(r.Hosts) != 1 || r.Hosts[0].Error != "" || r.Hosts[0].Throughput <= 0 {
		t.Errorf("hosts: %+v", r.Hosts)
	}
	if len(r.Moderation) != 1 || r.Moderation[0].Error != "" || r.Moderation[0].P50.Median < 100 {
		t.Errorf("moderation: %+v", r.Moderation)
	}
	left, _ := filepath.Glob("/run/netns/*")
	dirs, _ := filepath.Glob("/run/ipoib-bench-*")
	if left = append(left, dirs...); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
