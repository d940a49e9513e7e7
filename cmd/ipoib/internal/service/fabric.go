package service

import (
	"fmt"
	"os"
	"sync"

	"ipoib/rdma/soft"
	"ipoib/rdma/soft/sm"
)

// Sizes of the embedded fabric's switches. The root switch runs the subnet
// manager; further switches hang on it when it is full.
const (
	switchPorts = 64
	uplinkPort  = switchPorts
	// rootReserve are the ports of the root that are kept for switches.
	rootReserve = 32
)

// fabric is the embedded fabric: switches in a star, adapters at them.
type fabric struct {
	*soft.Fabric
	mu       sync.Mutex
	switches []*soft.Switch // guarded by mu; the first is the root
}

func newFabric(o soft.Options) (*fabric, error) {
	f := &fabric{Fabric: soft.NewFabric(o)}
	if _, err := f.addSwitch(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *fabric) root() *soft.Switch {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.switches[0]
}

// addSwitch adds a switch and joins it to the root.
func (f *fabric) addSwitch() (*soft.Switch, error) {
	n := len(f.switches)
	host, _ := os.Hostname()
	sw, err := f.AddSwitch(soft.SwitchConfig{
		NodeGUID: defaultGUID(fmt.Sprint("switch", n)), Ports: switchPorts, PKeys: fullPKeys,
		Desc: fmt.Sprintf("%.40s switch%d", host, n),
	})
	if err != nil {
		return nil, err
	}
	if n > 0 {
		if n > rootReserve {
			return nil, fmt.Errorf("the fabric has no room for more than %d switches", n)
		}
		if _, err := f.Connect(sw.At(uplinkPort), f.switches[0].At(switchPorts-n+1)); err != nil {
			return nil, err
		}
	}
	f.switches = append(f.switches, sw)
	return sw, nil
}

// plug connects a port of an adapter to a free port of a switch.
func (f *fabric) plug(end soft.End) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, sw := range f.switches {
		limit := switchPorts - 1
		if i == 0 {
			limit = switchPorts - rootReserve
		}
		if p, err := sw.FreePort(); err == nil && p <= limit {
			_, err := f.Connect(end, sw.At(p))
			return err
		}
	}
	sw, err := f.addSwitch()
	if err != nil {
		return err
	}
	_, err = f.Connect(end, sw.At(1))
	return err
}

// switchAt returns a switch by number, from 0.
func (f *fabric) switchAt(n int) (*soft.Switch, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n < 0 || n >= len(f.switches) {
		return nil, false
	}
	return f.switches[n], true
}

// loadPartitions reads a partition file; an empty name is open membership.
func loadPartitions(path string) (*sm.Partitions, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the partitions: %w", err)
	}
	defer func() { _ = file.Close() }()
	p, err := sm.ParsePartitions(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}
