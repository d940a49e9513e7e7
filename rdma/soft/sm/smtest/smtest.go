// Package smtest has a small fabric with a subnet manager, for the tests of
// what is above it. It works inside a bubble of testing/synctest.
package smtest

import (
	"context"
	"testing"

	"ipoib/rdma"
	"ipoib/rdma/soft"
	"ipoib/rdma/soft/sm"
)

// Fabric is a channel adapter, all of whose ports are connected to a switch.
type Fabric struct {
	*soft.Fabric
	Switch *soft.Switch
	HCA    *soft.HCA
	SM     *sm.SM
}

// GUIDs of the fabric's nodes; the ports of the adapter have those that follow.
const (
	SwitchGUID rdma.GUID = 0x0002c90300a0b000
	HCAGUID    rdma.GUID = 0x0002c90300a0b0c0
)

// New makes a fabric whose manager runs until the test ends. The adapter has
// the name soft0, one port and the GUIDs above where hca does not say
// otherwise.
func New(tb testing.TB, hca soft.HCAConfig) *Fabric {
	tb.Helper()
	f := &Fabric{Fabric: soft.NewFabric(soft.Options{Seed: 7})}
	hca.Ports = max(hca.Ports, 1)
	if hca.Name == "" {
		hca.Name = "soft0"
	}
	if hca.NodeGUID == 0 {
		hca.NodeGUID = HCAGUID
	}
	for n := len(hca.PortGUIDs); n < hca.Ports; n++ {
		hca.PortGUIDs = append(hca.PortGUIDs, hca.NodeGUID+rdma.GUID(n+1))
	}
	var err error
	f.Switch, err = f.AddSwitch(soft.SwitchConfig{NodeGUID: SwitchGUID, Ports: hca.Ports + 3, Desc: "switch one"})
	check(tb, err)
	f.SM = Run(tb, f.Switch)
	f.HCA, err = f.AddHCA(hca)
	check(tb, err)
	tb.Cleanup(func() { _ = f.HCA.Close() })
	for n := range hca.Ports {
		_, err := f.Connect(f.HCA.At(n+1), f.Switch.At(n+1))
		check(tb, err)
	}
	return f
}

// Run runs a manager on a switch until the test ends.
func Run(tb testing.TB, sw *soft.Switch) *sm.SM {
	tb.Helper()
	m, err := sm.New(sw.ManagementPort(), sm.Config{})
	check(tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx)
	}()
	tb.Cleanup(func() { cancel(); <-done; _ = m.Close() })
	return m
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
