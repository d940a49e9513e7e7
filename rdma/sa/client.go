package sa

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// How long requests wait, and how often they are sent: in the end those of the
// kernel's IPoIB, which gives a path query 1000 ms and a join 3000 ms, in ten
// tries (ipoib_main.c path_rec_start, core/multicast.c send_join,
// core/sa_query.c).
const (
	tries        = 10
	pathTimeout  = 1000 * time.Millisecond / tries
	joinTimeout  = 3000 * time.Millisecond / tries
	queryTimeout = 1000 * time.Millisecond
	queryRetries = 3
)

var (
	pathOptions  = mad.Options{Timeout: pathTimeout, Retries: tries - 1}
	joinOptions  = mad.Options{Timeout: joinTimeout, Retries: tries - 1}
	queryOptions = mad.Options{Timeout: queryTimeout, Retries: queryRetries}
)

// Config configures a Client. The zero value is usable.
type Config struct {
	// Clock drives timers; nil is the real one.
	Clock clockwork.Clock
	// Log takes messages; nil discards them.
	Log *slog.Logger
	// TID is the transaction ID before the first one; 0 draws one.
	TID uint32
}

// Client asks the SA on behalf of one port.
type Client struct {
	port  rdma.Port
	clock clockwork.Clock
	log   *slog.Logger
	mads  *mad.Client

	mcast   Multicast
	reports reports
	watch   groupWatch

	unsubscribe func() // device events
	closeOnce   sync.Once
}

// New returns a client for a port.
func New(port rdma.Port, cfg Config) (*Client, error) {
	if cfg.Clock == nil {
		cfg.Clock = clockwork.NewRealClock()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{port: port, clock: cfg.Clock, log: cfg.Log}
	c.mcast.init(c)
	c.reports.init(c)
	c.watch.init(c)
	ready := make(chan struct{})
	var err error
	c.mads, err = mad.Open(port, rdma.MADAgentConfig{
		QP: rdma.QPNGSI, Class: uint8(mad.ClassSA), ClassVersion: mad.SAClassVersion,
		Methods: []uint8{uint8(mad.MethodReport)},
		Receive: func(from rdma.MADAddr, m *[rdma.MADSize]byte) {
			<-ready
			c.reports.receive(from, mad.View(m))
		},
	}, mad.ClientConfig{Clock: cfg.Clock, Logger: cfg.Log, TID: cfg.TID})
	if err != nil {
		return nil, fmt.Errorf("sa: %w", err)
	}
	close(ready)
	c.unsubscribe = port.Device().SubscribeEvents(c.event)
	return c, nil
}

// Close ends all requests, which fail with rdma.ErrClosed, and detaches the
// client. Memberships are not left: the port leaves all with its partition or
// its link.
func (c *Client) Close() error {
	var err error
	c.closeOnce.Do(func() {
		c.unsubscribe()
		c.watch.close()
		c.mcast.close()
		err = c.mads.Close()
	})
	return err
}

// Multicast returns the memberships of the port.
func (c *Client) Multicast() *Multicast { return &c.mcast }

// event takes an event of the device.
func (c *Client) event(e rdma.AsyncEvent) {
	if e.Port != c.port.Num() {
		return
	}
	switch e.Type {
	case rdma.EventPortErr, rdma.EventLIDChange, rdma.EventSMChange, rdma.EventClientReregister:
		c.mcast.event(eventReset)
	case rdma.EventPKeyChange:
		c.mcast.event(eventPKey)
	}
	switch e.Type {
	case rdma.EventPortActive, rdma.EventLIDChange, rdma.EventSMChange, rdma.EventClientReregister:
		c.watch.renew()
	}
}

// manager returns the address of the SA as the port knows it now.
func (c *Client) manager() (rdma.MADAddr, error) {
	a := c.port.Attr()
	if !a.SMLID.IsUnicast() {
		return rdma.MADAddr{}, ErrNoManager
	}
	// Requests travel in the default partition (IBA 15.4.2).
	index, err := c.port.FindPKey(rdma.PKeyDefault)
	if err != nil {
		index = 0
	}
	return rdma.MADAddr{LID: a.SMLID, SL: a.SMSL, QPN: rdma.QPNGSI, QKey: rdma.QKeyGSI, PKeyIndex: index}, nil
}

// request is a request to the SA.
type request struct {
	op      string
	gid     rdma.GID // for errors
	method  mad.Method
	attr    mad.AttrID
	mask    mad.ComponentMask
	record  mad.Attribute
	key     uint64
	options mad.Options
}

// start sends a request. done and cancel are as of [mad.Client.Start].
func (c *Client) start(q request, done func(*mad.Response, error)) (cancel func()) {
	m := mad.New(mad.ClassSA, q.method, q.attr)
	m.SetComponentMask(q.mask)
	m.SetSMKey(q.key)
	if q.record != nil {
		m.SetAttr(q.record)
	}
	to, err := c.manager()
	if err != nil {
		// Who cancels may hold a lock that done takes.
		var ended atomic.Bool
		timer := c.clock.AfterFunc(0, func() {
			if ended.CompareAndSwap(false, true) {
				done(nil, wrap(q.op, q.gid, err))
			}
		})
		return func() {
			ended.Store(true)
			timer.Stop()
		}
	}
	return c.mads.Start(to, m.Bytes(), q.options, func(r *mad.Response, err error) {
		done(r, wrap(q.op, q.gid, err))
	})
}

// do sends a request and waits for its end.
func (c *Client) do(ctx context.Context, q request) (*mad.Response, error) {
	type result struct {
		r   *mad.Response
		err error
	}
	ch := make(chan result, 1)
	cancel := c.start(q, func(r *mad.Response, err error) { ch <- result{r, err} })
	select {
	case res := <-ch:
		return res.r, res.err
	case <-ctx.Done():
		cancel()
		return nil, wrap(q.op, q.gid, ctx.Err())
	}
}

// ClassPortInfo asks what the SA can do.
func (c *Client) ClassPortInfo(ctx context.Context) (*mad.ClassPortInfo, error) {
	const op = "class port info query"
	r, err := c.do(ctx, request{
		op: op, method: mad.MethodGet, attr: mad.AttrClassPortInfo, options: queryOptions,
	})
	if err != nil {
		return nil, err
	}
	info := new(mad.ClassPortInfo)
	if err := r.MAD.Attr(info); err != nil {
		return nil, wrap(op, rdma.GID{}, err)
	}
	return info, nil
}
