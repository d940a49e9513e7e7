package soft

import (
	"fmt"

	"ipoib/rdma"
)

// FatTreeConfig describes a folded Clos network of equal switches in two or
// three levels, the usual layout of a large fabric.
type FatTreeConfig struct {
	// HCAs is the number of channel adapters with one port each.
	HCAs int
	// Radix is the number of ports of a switch, an even number; half of them
	// go up. 36 by default.
	Radix int
	// Levels is 2 or 3; 3 by default.
	Levels int
	// GUIDBase is the first node GUID; nodes are 16 apart.
	GUIDBase rdma.GUID
}

// FatTree is what BuildFatTree made. Switches are listed leaves first.
type FatTree struct {
	Switches []*Switch
	HCAs     []*HCA
}

// BuildFatTree adds a fat tree to the fabric. Leaves take radix/2 adapters
// each. With three levels, radix/2 leaves and as many middle switches form a
// pod, and every middle switch goes up to radix/2 cores.
func BuildFatTree(f *Fabric, cfg FatTreeConfig) (*FatTree, error) {
	if cfg.Radix == 0 {
		cfg.Radix = defaultPorts
	}
	if cfg.Levels == 0 {
		cfg.Levels = 3
	}
	half := cfg.Radix / 2
	if cfg.HCAs < 1 || cfg.Radix < 4 || cfg.Radix%2 != 0 || cfg.Radix > maxSwitchPorts ||
		cfg.Levels < 2 || cfg.Levels > 3 {
		return nil, &rdma.OpError{Op: "build_fat_tree", Err: rdma.ErrInvalid}
	}
	b := &treeBuilder{fabric: f, cfg: cfg, half: half, next: cfg.GUIDBase, tree: new(FatTree)}
	leaves := (cfg.HCAs + half - 1) / half
	limit := cfg.Radix // leaves a two-level tree can join
	if cfg.Levels == 3 {
		limit = half * cfg.Radix
	}
	if leaves > limit {
		return nil, &rdma.OpError{Op: "build_fat_tree", Err: fmt.Errorf(
			"%d adapters need %d leaf switches, %d are possible: %w", cfg.HCAs, leaves, limit, rdma.ErrInvalid)}
	}
	leaf := b.switches("leaf", leaves)
	for i := range cfg.HCAs {
		b.hca(i, leaf[i/half], i%half+1)
	}
	if cfg.Levels == 2 {
		spine := b.switches("spine", half)
		for i, l := range leaf {
			for j, s := range spine {
				b.connect(l.At(half+j+1), s.At(i+1))
			}
		}
		return b.tree, b.err
	}
	pods := (leaves + half - 1) / half
	middle := b.switches("middle", pods*half)
	for i, l := range leaf {
		pod := i / half
		for j := range half {
			b.connect(l.At(half+j+1), middle[pod*half+j].At(i%half+1))
		}
	}
	// Core j*half+k joins middle switch j of every pod.
	core := b.switches("core", half*half)
	for pod := range pods {
		for j := range half {
			for k := range half {
				b.connect(middle[pod*half+j].At(half+k+1), core[j*half+k].At(pod+1))
			}
		}
	}
	return b.tree, b.err
}

// treeBuilder keeps the first error, so that the layout reads straight.
type treeBuilder struct {
	fabric *Fabric
	cfg    FatTreeConfig
	half   int
	next   rdma.GUID
	tree   *FatTree
	err    error
}

func (b *treeBuilder) guid() rdma.GUID {
	g := b.next
	b.next += 16
	return g
}

func (b *treeBuilder) switches(kind string, n int) []*Switch {
	out := make([]*Switch, n)
	for i := range out {
		if b.err != nil {
			return out
		}
		out[i], b.err = b.fabric.AddSwitch(SwitchConfig{
			NodeGUID: b.guid(), Desc: fmt.Sprintf("%s %d", kind, i+1), Ports: b.cfg.Radix,
		})
		b.tree.Switches = append(b.tree.Switches, out[i])
	}
	return out
}

func (b *treeBuilder) hca(i int, leaf *Switch, at int) {
	if b.err != nil {
		return
	}
	name := fmt.Sprintf("soft%d", i)
	var h *HCA
	h, b.err = b.fabric.AddHCA(HCAConfig{Name: name, NodeGUID: b.guid(), Desc: "node" + fmt.Sprint(i+1) + " " + name})
	if b.err != nil {
		return
	}
	b.tree.HCAs = append(b.tree.HCAs, h)
	b.connect(h.At(1), leaf.At(at))
}

func (b *treeBuilder) connect(x, y End) {
	if b.err == nil {
		_, b.err = b.fabric.Connect(x, y)
	}
}
