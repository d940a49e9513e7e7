// Package modparam knows the module parameters of ib_ipoib: their names, their
// modes, and how the kernel reads and prints them
// (/sys/module/ib_ipoib/parameters). The values are the driver's; how sizes
// are rounded is datapath's business.
package modparam

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"ipoib/compat/internal/kstr"
	"ipoib/datapath"
)

// param is one module parameter. All are of type int.
type param struct {
	name string
	// level is the switch that a parameter of mode 0644 sets; nil for those
	// that are fixed at start, which have set and get.
	level func(*datapath.DebugLevels) *atomic.Int32
	set   func(*datapath.Params, int)
	get   func(datapath.Params) int
}

// size keeps a size that was given apart from one that was not: both 0 and
// less are below every limit.
func size(v int) int { return max(v, 1) }

// params are in the order of ls.
var params = []param{
	{name: "cm_data_debug_level", level: func(l *datapath.DebugLevels) *atomic.Int32 { return &l.CMData }},
	{name: "data_debug_level", level: func(l *datapath.DebugLevels) *atomic.Int32 { return &l.Data }},
	{name: "debug_level", level: func(l *datapath.DebugLevels) *atomic.Int32 { return &l.Debug }},
	{
		name: "max_nonsrq_conn_qp",
		set: func(p *datapath.Params, v int) {
			if p.MaxNonSRQConnQP = v; v == 0 {
				p.MaxNonSRQConnQP = -1 // none; 0 would be the default
			}
		},
		get: func(p datapath.Params) int { return p.MaxNonSRQConnQP },
	},
	{name: "mcast_debug_level", level: func(l *datapath.DebugLevels) *atomic.Int32 { return &l.Mcast }},
	{
		name: "recv_queue_size",
		set:  func(p *datapath.Params, v int) { p.RecvQueueSize = size(v) },
		get:  func(p datapath.Params) int { return p.RecvQueueSize },
	},
	{
		name: "send_queue_size",
		set:  func(p *datapath.Params, v int) { p.SendQueueSize = size(v) },
		get:  func(p datapath.Params) int { return p.SendQueueSize },
	},
}

// Names lists the parameters.
func Names() []string {
	out := make([]string, len(params))
	for i := range params {
		out[i] = params[i].name
	}
	return out
}

func find(name string) *param {
	i := slices.IndexFunc(params, func(p param) bool { return p.name == name })
	if i < 0 {
		return nil
	}
	return &params[i]
}

// Parse reads a value as the kernel does (param_set_int): C notation, an
// optional sign and newline; EINVAL or ERANGE.
func Parse(b []byte) (int, error) {
	v, err := kstr.ParseInt(b)
	return int(v), err
}

// Check refuses a parameter that does not exist.
func Check(name string) error {
	if find(name) == nil {
		return fmt.Errorf("unknown parameter %q: there are %s", name, strings.Join(Names(), ", "))
	}
	return nil
}

// Apply sets the parameters that are fixed at start in p, and the debug
// levels in levels; either may be nil. Unknown names are left out (Check).
func Apply(values map[string]int, p *datapath.Params, levels *datapath.DebugLevels) {
	for name, v := range values {
		switch q := find(name); {
		case q == nil:
		case q.level == nil && p != nil:
			q.set(p, v)
		case q.level != nil && levels != nil:
			q.level(levels).Store(int32(v))
		}
	}
}

// Param is a parameter as it is now.
type Param struct {
	Name string
	// Value is the one in effect, after rounding.
	Value int
	// Writable parameters can be changed at run time (mode 0644), others are
	// 0444.
	Writable bool
}

// Set holds the parameters of a driver. Its methods may be called from any
// goroutine.
type Set struct {
	drv *datapath.Driver

	mu   sync.Mutex
	subs []func(name string) // guarded by mu
}

// New returns the parameters of a driver.
func New(drv *datapath.Driver) *Set { return &Set{drv: drv} }

// List returns all parameters, by name.
func (s *Set) List() []Param {
	out := make([]Param, len(params))
	for i := range params {
		out[i], _ = s.Get(params[i].name)
	}
	return out
}

// Get returns one parameter; ok is false when there is none of that name.
func (s *Set) Get(name string) (p Param, ok bool) {
	q := find(name)
	switch {
	case q == nil:
		return Param{}, false
	case q.level != nil:
		return Param{Name: name, Value: int(q.level(&s.drv.Debug).Load()), Writable: true}, true
	}
	return Param{Name: name, Value: q.get(s.drv.Params())}, true
}

// Store sets a parameter as a write to its file does: ENOENT when there is
// none of that name, EACCES for one that is fixed at start, EINVAL or ERANGE
// for what is no int.
func (s *Set) Store(name string, b []byte) error {
	q := find(name)
	if q == nil {
		return syscall.ENOENT
	}
	if q.level == nil {
		return syscall.EACCES
	}
	v, err := Parse(b)
	if err != nil {
		return err
	}
	q.level(&s.drv.Debug).Store(int32(v))
	s.mu.Lock()
	subs := slices.Clone(s.subs)
	s.mu.Unlock()
	for _, fn := range subs {
		fn(name)
	}
	return nil
}

// Subscribe calls fn after each parameter that Store sets.
func (s *Set) Subscribe(fn func(name string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs = append(s.subs, fn)
}
