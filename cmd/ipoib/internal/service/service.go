package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ipoib/compat/fusefs"
	"ipoib/compat/ipoibface"
	"ipoib/compat/modparam"
	"ipoib/compat/rtnlface"
	"ipoib/datapath"
	"ipoib/datapath/hostnet"
	"ipoib/datapath/tun"
	"ipoib/ethtoolsrv"
	"ipoib/nl"
	"ipoib/nl/genl"
	"ipoib/nl/rtnl"
	"ipoib/rdma"
	"ipoib/rdma/soft"
	"ipoib/rdma/soft/hrclock"
	"ipoib/rdma/soft/sm"
)

// Service is one running instance.
type Service struct {
	cfg     Config
	log     *slog.Logger
	lock    *os.File
	store   *store
	fabric  *fabric
	sm      *sm.SM
	driver  *datapath.Driver
	host    hostnet.Host
	netlink *nl.Server
	links   *rtnlface.Face
	ethtool *ethtoolsrv.Server
	poller  *tun.Poller
	clock   *hrclock.Clock // of the fabric
	socket  *nl.UnixListener
	params  *modparam.Set
	started time.Time

	mu       sync.Mutex
	hcas     []*adapter     // guarded by mu
	files    files          // guarded by mu
	places   []fusefs.Place // guarded by mu: where other processes are to have the files
	stop     context.CancelFunc
	teardown bool // guarded by mu
	dirty    chan struct{}
}

// adapter is a channel adapter with its configuration.
type adapter struct {
	HCA
	dev *soft.HCA
}

// New takes the run directory and assembles a service that does nothing yet.
func New(cfg Config, log *slog.Logger) (*Service, error) {
	if err := cfg.Normalize(); err != nil {
		return nil, err
	}
	partitions, err := loadPartitions(cfg.Partitions)
	if err != nil {
		return nil, err
	}
	lock, err := lockRunDir(cfg.RunDir)
	if err != nil {
		return nil, err
	}
	s := &Service{
		cfg: cfg, log: log, lock: lock, host: hostnet.NewHost(), started: time.Now(),
		store: &store{path: filepath.Join(cfg.RunDir, "state.json")}, dirty: make(chan struct{}, 1),
	}
	if err := s.assemble(partitions); err != nil {
		_ = s.poller.Close()
		_ = lock.Close()
		return nil, err
	}
	return s, nil
}

func (s *Service) assemble(partitions *sm.Partitions) error {
	seed := uint64(s.started.UnixNano())
	var err error
	if s.poller, err = newPoller(s.cfg.NoIOURing); err != nil {
		return err
	}
	if err := s.poller.RingError(); err != nil {
		s.log.Debug("interfaces are read without io_uring", "err", err)
	}
	if s.clock, err = hrclock.New(); err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	if err := s.poller.Watch(s.clock.Descriptor(), s.clock.Expire); err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	if s.fabric, err = newFabric(soft.Options{Seed: seed, Log: s.log, Clock: s.clock}); err != nil {
		return err
	}
	prefix, err := s.cfg.prefix()
	if err != nil {
		return err
	}
	s.sm, err = sm.New(s.fabric.root().ManagementPort(), sm.Config{
		SubnetPrefix: prefix, Partitions: partitions, Log: s.log.With("sm", "soft"),
	})
	if err != nil {
		return err
	}
	s.driver = datapath.New(datapath.System{
		Host: s.host, OpenTUN: tun.Open, Poller: s.poller, Seed: seed, Log: s.log,
		// With a partition file the file decides: an interface without its
		// P_Key waits without carrier.
		RequestPKey: func(p rdma.Port, pk rdma.PKey) { _ = s.sm.Allow(p.GUID(), pk) },
		ReleasePKey: func(p rdma.Port, pk rdma.PKey) { _ = s.sm.Disallow(p.GUID(), pk) },
	}, s.cfg.params())
	modparam.Apply(s.cfg.Params, nil, &s.driver.Debug)
	s.params = modparam.New(s.driver)
	if s.socket, err = nl.Listen(s.cfg.Socket(), 0o666); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := s.registerFaces(); err != nil {
		_ = s.socket.Close()
		return err
	}
	return nil
}

// newPoller returns what reads the interfaces: a thread for two processors, as
// the programs that use the interfaces need some too, and an acknowledgement is
// cheaper for the thread that is busy with the data than for another that it
// wakes (docs/performance.md). Go's scheduler gets a processor more for each.
func newPoller(noRing bool) (*tun.Poller, error) {
	threads := min((runtime.NumCPU()+1)/2, maxPollers)
	p, err := tun.NewPoller(tun.PollerConfig{Threads: threads, NoRing: noRing})
	if err != nil {
		return nil, fmt.Errorf("poller: %w", err)
	}
	runtime.GOMAXPROCS(runtime.NumCPU() + threads)
	return p, nil
}

// maxPollers bounds the threads that read interfaces.
const maxPollers = 16

// registerFaces makes the netlink server and what it answers.
func (s *Service) registerFaces() error {
	s.netlink = nl.NewServer(nl.Config{Logger: s.log})
	var err error
	s.links, err = rtnlface.Register(rtnl.NewTable(s.netlink), rtnlface.Config{
		Driver: s.driver, Host: s.host, Log: s.log,
	})
	if err != nil {
		return err
	}
	families := genl.New(s.netlink)
	if s.ethtool, err = ethtoolsrv.Register(families, ethtoolsrv.Config{Driver: s.driver}); err != nil {
		return err
	}
	_, err = ipoibface.Register(families, ipoibface.Config{
		Driver: s.driver, Fabric: s.fabric.Fabric, SM: s.sm, Service: s, Params: s.params, FollowLog: s.cfg.FollowLog,
	})
	return err
}

// Driver returns the driver.
func (s *Service) Driver() *datapath.Driver { return s.driver }

// Run runs the service until ctx ends, a client asks it to stop, or a part
// fails. Interfaces stay for the next process, unless a client asked for a
// teardown.
func (s *Service) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.stop = cancel
	s.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return ignoreCancel(s.sm.Run(ctx)) })
	cancelSub := s.driver.Subscribe(func(datapath.Change) { s.touch() })
	defer cancelSub()
	err := s.restore()
	if err == nil {
		err = s.openFiles()
	}
	if err != nil {
		cancel()
		_ = g.Wait()
		s.release(false)
		return err
	}
	g.Go(func() error { return ignoreCancel(s.netlink.Serve(ctx, s.socket)) })
	g.Go(func() error { s.keep(ctx); return nil })
	g.Go(func() error { s.releaseNamespaces(ctx); return nil })
	s.log.Info("serving", "socket", s.cfg.Socket(), "interfaces", len(s.driver.Interfaces(hostnet.ID{})))
	err = g.Wait()
	s.mu.Lock()
	teardown := s.teardown
	s.mu.Unlock()
	s.release(teardown)
	return err
}

func ignoreCancel(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, nl.ErrServerClosed) {
		return nil
	}
	return err
}

// release ends what assemble and restore made.
func (s *Service) release(teardown bool) {
	_ = s.netlink.Close()
	_ = s.socket.Close()
	s.closeFiles()
	if !teardown {
		s.saveState()
	}
	s.links.Close()
	_ = s.ethtool.Close()
	s.driver.Close(!teardown)
	_ = s.sm.Close()
	for _, h := range s.fabric.HCAs() {
		_ = h.Close()
	}
	_ = s.poller.Close()
	_ = s.clock.Close()
	if teardown {
		if err := s.store.remove(); err != nil {
			s.log.Warn("cannot remove the state", "err", err)
		}
	}
	_ = s.lock.Close()
	s.log.Info("stopped", "teardown", teardown)
}

// restore makes the configured adapters and those of the last run, with their
// interfaces.
func (s *Service) restore() error {
	st, err := s.store.load()
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.places = st.Places
	s.mu.Unlock()
	hcas := slices.Clone(s.cfg.HCAs)
	for _, h := range st.HCAs {
		if !slices.ContainsFunc(hcas, func(o HCA) bool { return o.Name == h.Name }) {
			hcas = append(hcas, h)
		}
	}
	for _, h := range hcas {
		if err := s.addAdapter(h, st.Interfaces); err != nil {
			if !h.Dynamic {
				return err
			}
			// What was added at run time may have lost its namespace.
			s.log.Warn("cannot restore an adapter", "dev", h.Name, "err", err)
		}
	}
	s.restoreChildren(st.Interfaces)
	s.saveState()
	return nil
}

// addAdapter plugs an adapter into the fabric and makes its interfaces.
func (s *Service) addAdapter(h HCA, old []datapath.State) (err error) {
	if err := h.normalize(); err != nil {
		return err
	}
	cfg, err := h.soft()
	if err != nil {
		return err
	}
	dev, err := s.fabric.AddHCA(cfg)
	if err != nil {
		return err
	}
	a := &adapter{HCA: h, dev: dev}
	defer func() {
		if err != nil {
			s.closeAdapter(a, false)
		}
	}()
	for n := 1; n <= h.Ports; n++ {
		if err := s.fabric.plug(dev.At(n)); err != nil {
			return err
		}
	}
	for n := 1; n <= h.Ports; n++ {
		if err := s.addPort(a, n, old); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.hcas = append(s.hcas, a)
	s.mu.Unlock()
	return nil
}

// addPort makes the parent interface of a port, or takes over what a former
// process left of it.
func (s *Service) addPort(a *adapter, n int, old []datapath.State) error {
	p, err := a.dev.Port(n)
	if err != nil {
		return err
	}
	cfg := datapath.PortConfig{Port: p, Name: a.ifname(n)}
	at := slices.IndexFunc(old, func(o datapath.State) bool { return !o.Child && o.Device == a.Name && o.Port == n })
	if at >= 0 {
		ns, err := s.host.ByID(old[at].NS)
		if err == nil {
			cfg.NS, cfg.Name, cfg.Restore = ns, old[at].Name, &old[at]
		} else {
			s.log.Warn("the namespace of an interface is gone", "ifname", old[at].Name, "err", err)
		}
	}
	if cfg.NS == nil {
		if cfg.NS, err = s.namespace(a.NetNS); err != nil {
			return err
		}
	}
	_, err = s.driver.AddPort(cfg)
	return err
}

// namespace opens a namespace by its name in /run/netns; "" is our own.
func (s *Service) namespace(name string) (hostnet.Namespace, error) {
	if name == "" {
		return s.host.Current()
	}
	return s.host.ByName(name)
}

// restoreChildren takes over the children that a former process left.
func (s *Service) restoreChildren(old []datapath.State) {
	for _, st := range old {
		if !st.Child {
			continue
		}
		log := s.log.With("ifname", st.Name)
		p := s.driver.ByName(st.ParentNS, st.Parent)
		if p == nil {
			log.Warn("the parent of an interface is gone", "parent", st.Parent)
			continue
		}
		ns, err := s.host.ByID(st.NS)
		if err != nil {
			log.Warn("the namespace of an interface is gone", "err", err)
			continue
		}
		if _, err := s.driver.RestoreChild(p, ns, st); err != nil {
			log.Warn("cannot restore an interface", "err", err)
		}
	}
}

// touch asks for the state to be saved soon.
func (s *Service) touch() {
	select {
	case s.dirty <- struct{}{}:
	default:
	}
}

// keep saves the state when it changed: at once, but not more often than every
// 50 ms.
func (s *Service) keep(ctx context.Context) {
	const pause = 50 * time.Millisecond
	var next <-chan time.Time
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.dirty:
			if wait := pause - time.Since(last); wait > 0 {
				if next == nil {
					next = time.After(wait)
				}
				continue
			}
		case <-next:
		}
		next, last = nil, time.Now()
		s.saveState()
	}
}

func (s *Service) saveState() {
	st := &state{Version: stateVersion, Interfaces: s.driver.States()}
	s.mu.Lock()
	st.Places = s.places
	for _, a := range s.hcas {
		if a.Dynamic {
			st.HCAs = append(st.HCAs, a.HCA)
		}
	}
	s.mu.Unlock()
	if err := s.store.save(st); err != nil {
		s.log.Error("cannot save the state", "err", err)
	}
}

func (s *Service) closeAdapter(a *adapter, keep bool) {
	for n := 1; n <= a.Ports; n++ {
		if p, err := a.dev.Port(n); err == nil {
			s.driver.RemovePort(p, keep)
		}
	}
	_ = a.dev.Close()
}
