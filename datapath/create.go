package datapath

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/datapath/encap"
	"ipoib/datapath/hostnet"
	"ipoib/datapath/tun"
	"ipoib/rdma"
)

// createConfig says how an interface is made.
type createConfig struct {
	port    *port
	parent  *Interface
	legacy  bool
	ns      hostnet.Namespace // taken over
	name    string
	index   int // ifindex; 0 lets the kernel choose
	pkey    rdma.PKey
	addr    rdma.GUID // chosen by the user; 0 is the port's
	restore *State
}

// create makes an interface: queue pair, TUN, tables. Nothing is left behind
// when it fails. The caller starts it.
func (d *Driver) create(cfg createConfig) (_ *Interface, err error) {
	d.mu.Lock()
	rng := rand.New(rand.NewPCG(d.rng.Uint64(), d.rng.Uint64()))
	d.mu.Unlock()
	i := &Interface{
		drv: d, port: cfg.port, parent: cfg.parent, legacy: cfg.legacy, rng: rng,
		name: cfg.name, ifindex: cfg.index, pkey: cfg.pkey.Full(), pkeyIdx: noPKey,
		dests: make(map[netip.Addr]dest),
		host: hostState{
			dup: make(map[netip.Addr]bool), dad: make(map[netip.Addr]clockwork.Timer),
			defended: make(map[netip.Addr]time.Time),
		},
		mtu:     newMTUState(cfg.port.rdma.Attr().MaxMTU, maxCMMTU(cfg.port.rdma.Device().Attr())),
		txqlen:  2 * d.params.SendQueueSize,
		neverUp: cfg.restore == nil,
	}
	if cfg.restore != nil && cfg.restore.Mode == Connected && cfg.port.cm != nil {
		i.mode, i.mtu.connected = Connected, true
	}
	i.initFeatures(cfg.restore)
	if i.ns, err = d.useNamespace(cfg.ns); err != nil {
		return nil, err
	}
	i.info.Store(&Info{Name: cfg.name})
	undo := []func(){func() { d.releaseNamespace(i.ns) }}
	defer func() {
		if err != nil {
			for _, u := range slices.Backward(undo) {
				u()
			}
		}
	}()
	if err = i.createQP(cfg.restore); err != nil {
		return nil, refuseCreate(cfg.name, err)
	}
	undo = append(undo, i.closeQP)
	if err = i.openTUN(cfg.restore); err != nil {
		return nil, err
	}
	undo = append(undo, func() { i.closeTUN(false) })
	gid, err := cfg.port.rdma.GID(0)
	if err != nil {
		return nil, system("create", cfg.name, err)
	}
	i.permAddr = encap.UnicastAddr(i.hwFlags(), i.qp.Num(), gid)
	if cfg.addr != 0 {
		gid, i.addrSet = rdma.MakeGID(gid.Prefix(), cfg.addr), true
		if cfg.restore == nil {
			// What a user chose is not permanent (kernel register_netdevice).
			i.permAddr = encap.HardwareAddr{}
		}
	}
	i.newTables()
	i.setAddr(gid)
	if cfg.restore != nil {
		i.umcast, i.noARP = cfg.restore.Umcast, cfg.restore.NoARP
		if cfg.restore.NoLinkLocal {
			i.addrGen = hostnet.AddrGenNone
		}
		i.restoreCoalesce(Coalesce{RxUsecs: cfg.restore.RxUsecs, RxFrames: cfg.restore.RxFrames})
	}
	d.mu.Lock()
	d.ifaces = append(d.ifaces, i)
	d.mu.Unlock()
	i.ns.attach(i.ifindex, i)
	return i, nil
}

func refuseCreate(name string, err error) error {
	return &Error{Op: "create", Name: name, Num: syscall.ENOMEM, Err: err}
}

// start begins the life of a created interface: the transmitter, and the state
// of its link, which may have changed before we heard of changes.
func (i *Interface) start() {
	if i.parent != nil && i.drv.sys.RequestPKey != nil {
		i.drv.sys.RequestPKey(i.port.rdma, i.pkey)
	}
	i.loop.call(func() {
		i.findPKey()
		i.updateViews()
		i.refreshAlias()
		i.publish()
	})
	i.loop.call(i.startTransmitter)
	i.loop.call(i.readLink)
}

// readLink reads the state of a link that we hear of from now on.
func (i *Interface) readLink() {
	addrs, err := i.ns.ns.Addrs(i.ifindex)
	if err == nil {
		for _, a := range addrs {
			i.onAddr(a)
		}
	}
	if l, err := i.ns.ns.LinkByIndex(i.ifindex); err == nil {
		i.onLink(l)
	}
}

// createQP makes the UD queue pair, with the number that it had before where
// that is still free: peers keep our address then.
func (i *Interface) createQP(restore *State) error {
	dev, attr := i.port.rdma.Device(), i.port.rdma.Attr()
	var err error
	if i.pd, err = dev.AllocPD(); err != nil {
		return err
	}
	if i.sendCQ, err = dev.CreateCQ(rdma.CQConfig{Depth: i.drv.params.SendQueueSize}); err != nil {
		return err
	}
	i.recvCQ, err = dev.CreateCQ(rdma.CQConfig{Depth: i.recvDepth(), Handler: i.receive})
	if err != nil {
		return err
	}
	cfg := rdma.QPConfig{
		Type: rdma.QPTUD, Port: i.port.rdma.Num(), SendCQ: i.sendCQ, RecvCQ: i.recvCQ,
		MaxSend: i.drv.params.SendQueueSize, MaxRecv: i.drv.params.RecvQueueSize,
		RecvSize:               attr.MaxMTU.Bytes(),
		BlockMulticastLoopback: dev.Attr().Caps&rdma.CapBlockMulticastLoopback != 0,
		LSO:                    dev.Attr().Caps&rdma.CapUDTSO != 0,
	}
	if restore != nil {
		cfg.Num = restore.QPN
	}
	i.qp, err = i.pd.CreateQP(cfg)
	if errors.Is(err, rdma.ErrInUse) && cfg.Num != 0 {
		cfg.Num = 0
		i.qp, err = i.pd.CreateQP(cfg)
	}
	if err != nil {
		return err
	}
	return i.createRC()
}

// recvDepth is how many receive completions may wait: those of the UD pair
// and of the shared queue, or of all incoming connections.
func (i *Interface) recvDepth() int {
	attr, n := i.port.rdma.Device().Attr(), i.drv.params.RecvQueueSize
	if i.port.cm == nil || attr.Caps&rdma.CapSRQ != 0 {
		return min(4*n, attr.MaxCQE)
	}
	return min((2+i.drv.params.MaxNonSRQConnQP)*n, attr.MaxCQE)
}

func (i *Interface) closeQP() {
	i.closeRC()
	_ = i.qp.Close()
	_ = i.sendCQ.Close()
	_ = i.recvCQ.Close()
	_ = i.pd.Close()
}

// openTUN makes the TUN, or takes over the one that was left.
func (i *Interface) openTUN(restore *State) error {
	cfg := tun.Config{
		Name: i.name, Mode: tun.CreateNew, NetNS: i.ns.ns.File(), Persist: true,
		Offload: i.tunFeatures(), TxQueueLen: i.txqlen, Pool: i.pd.Buffers(), Ifindex: i.ifindex,
		ReadInvalid: func() { i.stats.drop(TXOffload) },
	}
	attached := false
	if restore != nil {
		cfg.Mode = tun.OpenOrCreate
		_, err := i.ns.ns.LinkByName(restore.Name)
		attached = err == nil
	}
	dev, err := i.drv.sys.OpenTUN(cfg)
	switch {
	case errors.Is(err, tun.ErrExist):
		i.warnf("failed to initialize; error %d", -int(syscall.EEXIST))
		return &Error{Op: "create", Name: i.name, Num: syscall.EEXIST, Err: err}
	case errors.Is(err, tun.ErrBusy):
		return &Error{Op: "create", Name: i.name, Num: syscall.EBUSY, Err: err}
	case err != nil:
		return system("create", i.name, err)
	}
	i.dev, i.tunActive = dev, cfg.Offload
	if err := i.adoptLink(attached); err != nil {
		i.closeTUN(attached)
		return err
	}
	return nil
}

// adoptLink reads the link of a TUN that was just opened and, unless it was
// there before, gives it what an IPoIB interface starts with.
func (i *Interface) adoptLink(attached bool) error {
	name, err := i.dev.Name()
	if err != nil {
		return system("create", i.name, err)
	}
	i.name = name
	ns := i.ns.ns
	l, err := ns.LinkByName(name)
	if err != nil {
		return system("create", name, err)
	}
	i.ifindex, i.alias, i.txqlen = l.Index, l.Alias, l.TxQueueLen
	if err := i.dev.SetCarrier(false); err != nil {
		return system("create", name, err)
	}
	i.setGSO()
	if attached {
		// Whatever the user set while we were away is what he wants.
		if eff, err := i.mtu.change(name, l.MTU); err == nil {
			i.mtu.mtu = eff
		}
		i.ownAlias = l.Alias
		return nil
	}
	if err := ns.SetAddrGenMode(l.Index, hostnet.AddrGenNone); err != nil {
		i.debugf("cannot set addrgenmode: %v", err) // no IPv6 here
	}
	if err := ns.SetMTU(l.Index, i.mtu.mtu); err != nil {
		return system("create", name, err)
	}
	return nil
}

// closeTUN lets go of the TUN; unless keep is set it disappears. The kernel
// then waits for its readers, ten times as long as it takes until nobody sees
// the link any more: that is what we wait for.
func (i *Interface) closeTUN(keep bool) {
	if keep {
		_ = i.dev.Close()
		return
	}
	gone := i.ns.awaitGone(i.ifindex)
	_ = i.dev.SetPersist(false)
	closed := make(chan struct{})
	i.drv.closing <- struct{}{}
	i.drv.closers.Go(func() {
		_ = i.dev.Close()
		<-i.drv.closing
		close(closed)
	})
	select {
	case <-closed:
	case <-gone:
		// What is left of it goes while the kernel's lock is held, which
		// this asks for.
		_, _ = i.ns.ns.LinkByIndex(i.ifindex)
	}
	i.ns.stopAwaiting(i.ifindex)
}

// remove ends an interface. keep leaves the TUN in place, without carrier.
func (i *Interface) remove(keep bool) {
	i.loop.call(func() { i.shutdown(keep) })
	i.loop.close()
}

// shutdown is remove, in the loop.
func (i *Interface) shutdown(keep bool) {
	if i.removed {
		return
	}
	i.debugf("cleaning up ib_dev")
	i.up = false
	i.ibStop()
	i.removed = true
	i.tx.Store(nil)
	i.neighs.Close()
	i.ns.detach(i.ifindex)
	i.closeQP()
	i.closeTUN(keep)
	old := i.info.Load()
	i.drv.forget(i)
	i.drv.notify(Change{Interface: i, Old: old})
	i.drv.releaseNamespace(i.ns)
	if i.parent != nil && i.drv.sys.ReleasePKey != nil {
		i.drv.sys.ReleasePKey(i.port.rdma, i.pkey)
	}
}

func (d *Driver) forget(i *Interface) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, o := range d.ifaces {
		if o == i {
			d.ifaces = append(d.ifaces[:k:k], d.ifaces[k+1:]...)
			return
		}
	}
}
