package nlsock

import (
	"sync"

	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/tracee"
)

// processes remembers which table of features a process has read. Bits of
// features are numbered by a global table of names, which the kernel has and
// the service has, and which differ between versions. A program that asks for
// the features of an interface of the service first, and for the names then,
// gets both from the service, as ethtool -k does; one that has read the
// kernel's names gets the bits in the kernel's order.
type processes struct {
	mu   sync.Mutex
	proc map[int]*process
}

type process struct {
	// kernel is set when it has read the kernel's names, service when the last
	// features that it asked for were the service's in the service's order.
	kernel, service bool
}

// of returns the entry of a thread's process. The caller holds p.mu.
func (p *processes) of(tid int) *process {
	tgid := tid
	if st, err := tracee.ReadStatus(tid); err == nil {
		tgid = st.TGID
	}
	if p.proc == nil {
		p.proc = make(map[int]*process)
	}
	if p.proc[tgid] == nil {
		p.proc[tgid] = new(process)
	}
	return p.proc[tgid]
}

// features notes a request for the features of an interface, and reports
// whether the answer of the service is to be in the kernel's order.
func (p *processes) features(tid int, ours bool) (toKernel bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.of(tid)
	e.service = ours && !e.kernel
	return e.kernel
}

// namesFromService notes a request for the names of the features, and reports
// whether the service is to answer.
func (p *processes) namesFromService(tid int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.of(tid)
	e.kernel = e.kernel || !e.service
	return e.service
}

// reap forgets processes that have ended.
func (p *processes) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for tgid := range p.proc {
		if unix.Kill(tgid, 0) == unix.ESRCH {
			delete(p.proc, tgid)
		}
	}
}
