package sm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// Port is what the manager needs of the port that it runs at: a rdma.Port, or
// the management port of a switch.
type Port interface {
	GUID() rdma.GUID
	Attr() rdma.PortAttr
	GID(i int) (rdma.GID, error)
	RegisterAgent(rdma.MADAgentConfig) (rdma.MADAgent, error)
	SetIsSM(bool) error
}

// Defaults of Config, as OpenSM's where it has the option.
const (
	DefaultSMKey          uint64 = 1
	DefaultSweepInterval         = 10 * time.Second
	DefaultMADTimeout            = 200 * time.Millisecond
	DefaultMADRetries            = 5
	DefaultMaxOutstanding        = 32
)

// Config configures a manager. Zero values have defaults.
type Config struct {
	// SubnetPrefix is the upper half of the GIDs, fe80:: by default.
	SubnetPrefix uint64
	// Priority decides with the GUID between managers, 0 to 15.
	Priority uint8
	// SMKey marks trusted requests to the SA; DefaultSMKey by default.
	SMKey uint64
	// Partitions is the partition configuration; nil is open membership.
	Partitions *Partitions
	// SweepInterval is the time between light sweeps, and between two
	// questions to the master while in standby.
	SweepInterval time.Duration
	// MADTimeout is the time that a subnet management packet may take,
	// MADRetries how often it is sent again.
	MADTimeout time.Duration
	MADRetries int
	// MaxOutstanding is the number of packets under way at a time.
	MaxOutstanding int
	// SLtoVL is written to all ports when it is set; otherwise the tables
	// stay as they are, as with OpenSM without QoS.
	SLtoVL *mad.SLtoVLMappingTable
	// Clock drives timers; nil is the real one.
	Clock clockwork.Clock
	// Log takes messages; nil discards them.
	Log *slog.Logger
}

func (c *Config) setDefaults() error {
	if c.SubnetPrefix == 0 {
		c.SubnetPrefix = rdma.DefaultSubnetPrefix
	}
	if c.SMKey == 0 {
		c.SMKey = DefaultSMKey
	}
	if c.SweepInterval == 0 {
		c.SweepInterval = DefaultSweepInterval
	}
	if c.MADTimeout == 0 {
		c.MADTimeout = DefaultMADTimeout
	}
	if c.MADRetries == 0 {
		c.MADRetries = DefaultMADRetries
	}
	if c.MaxOutstanding == 0 {
		c.MaxOutstanding = DefaultMaxOutstanding
	}
	if c.Clock == nil {
		c.Clock = clockwork.NewRealClock()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Priority > 15 || c.SweepInterval < 0 || c.MADTimeout < 0 || c.MADRetries < 0 || c.MaxOutstanding < 1 {
		return fmt.Errorf("sm: configuration: %w", rdma.ErrInvalid)
	}
	return nil
}

// ErrClosedMembership is returned by Allow and Disallow while a partition
// configuration is in force.
var ErrClosedMembership = errors.New("membership is configured by the partition file")

// SM is a subnet manager with its subnet administration.
type SM struct {
	port  Port
	cfg   Config
	clock clockwork.Clock
	log   *slog.Logger

	smi *mad.Client // subnet management, QP0
	gsi *mad.Client // subnet administration, QP1
	// tables sends the tables of the SA.
	tables *mad.TableServer

	// attached is closed when the three above are set; datagrams wait for it.
	attached chan struct{}

	// lightNext is the end port that a light sweep looked at last, and tables
	// are next written at nextTables at the earliest; both belong to the
	// sweeper.
	lightNext  int
	nextTables time.Time

	// kick wakes the sweeper, kickMFT the multicast worker.
	kick, kickMFT chan struct{}

	mu sync.Mutex
	// All below is guarded by mu.
	topo *topology
	// known are the LIDs by port GUID, of ports that are gone as well: they
	// get theirs back.
	known   map[rdma.GUID]rdma.LID
	file    *Partitions // nil with open membership
	allowed map[allowKey]int
	conf    *Partitions // what applies; nil is worked out by confLocked
	groups  groupTable
	// reregister are the ports that are to be asked to register again, beside
	// those that are new.
	reregister map[rdma.GUID]bool
	subs       []*subscription
	services   []*service
	mft        mftState
	state      mad.SMState
	// ready is set when the first sweep as master is over.
	ready    bool
	readyCh  chan struct{}
	paused   bool
	todo     todo
	actCount uint32
	master   *masterInfo // whom a standby watches
	takeOver bool        // mastership was handed over
	stats    Stats
	started  bool
	cancel   context.CancelFunc
	done     chan struct{}
}

// todo is what the sweeper is asked for.
type todo struct {
	heavy   bool      // sweep
	due     time.Time // not before; debounces traps
	tables  bool      // partitions changed: write the P_Key tables
	restart bool      // forget everything first
}

// New returns a manager for a port. It does nothing until Run.
func New(port Port, cfg Config) (*SM, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	s := &SM{
		port: port, cfg: cfg, clock: cfg.Clock, log: cfg.Log,
		kick: make(chan struct{}, 1), kickMFT: make(chan struct{}, 1),
		readyCh: make(chan struct{}), done: make(chan struct{}), attached: make(chan struct{}),
		file: cfg.Partitions, allowed: make(map[allowKey]int), state: mad.SMDiscovering,
	}
	s.forgetLocked()
	return s, nil
}

// forgetLocked drops all that was learnt.
func (s *SM) forgetLocked() {
	s.topo = newTopology()
	s.known = make(map[rdma.GUID]rdma.LID)
	s.groups = newGroupTable()
	s.reregister = make(map[rdma.GUID]bool)
	for _, sub := range s.subs {
		sub.gone = true
	}
	s.subs, s.services = nil, nil
	s.mft = newMFTState()
	s.master = nil
	s.state = mad.SMDiscovering
	s.setReadyLocked(false)
	s.applyPartitionsLocked()
}

func (s *SM) setReadyLocked(ready bool) {
	if s.ready == ready {
		return
	}
	s.ready = ready
	if ready {
		close(s.readyCh)
		return
	}
	s.readyCh = make(chan struct{})
}

// Run manages the subnet until the context ends or Close is called. It returns
// nil then, and an error when the port cannot be used. It can run once.
func (s *SM) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	if s.started {
		s.mu.Unlock()
		return fmt.Errorf("sm: run: %w", rdma.ErrInUse)
	}
	s.started, s.cancel = true, cancel
	s.mu.Unlock()
	defer close(s.done)
	if err := s.attach(); err != nil {
		return fmt.Errorf("sm: %w", err)
	}
	defer s.detach()
	var workers sync.WaitGroup
	workers.Go(func() { s.mftWorker(ctx) })
	s.sweeper(ctx)
	workers.Wait()
	return nil
}

// Close ends Run and waits for it.
func (s *SM) Close() error {
	s.mu.Lock()
	cancel, started := s.cancel, s.started
	s.started = true // no Run any more
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	if started && cancel != nil {
		<-s.done
	}
	return nil
}

// Ready returns a channel that is closed when the subnet is up: the first
// sweep as master is over and the SA answers. After Restart, or when the
// manager went to standby, ask again.
func (s *SM) Ready() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readyCh
}

// String names the task in logs.
func (s *SM) String() string { return fmt.Sprintf("subnet manager at port %v", s.port.GUID()) }

// Sweep asks for a heavy sweep.
func (s *SM) Sweep() { s.request(todo{heavy: true}) }

// Restart makes the manager forget all that it knows, as if it was started
// anew: groups, subscriptions and services are lost, and the ports are asked to
// register again. Ports keep the LIDs that they have.
func (s *SM) Restart() {
	s.mu.Lock()
	s.setReadyLocked(false)
	s.mu.Unlock()
	s.request(todo{heavy: true, restart: true})
}

// Pause makes the SA silent, or ends that: requests are dropped. Sweeps go
// on.
func (s *SM) Pause(silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = silent
}

// request adds to what the sweeper has to do and wakes it.
func (s *SM) request(t todo) {
	s.mu.Lock()
	s.requestLocked(t)
	s.mu.Unlock()
}

func (s *SM) requestLocked(t todo) {
	if t.heavy {
		if !s.todo.heavy || t.due.Before(s.todo.due) {
			s.todo.due = t.due
		}
		s.todo.heavy = true
	}
	s.todo.tables = s.todo.tables || t.tables
	s.todo.restart = s.todo.restart || t.restart
	wake(s.kick)
}

func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
