package mad

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/rdma"
)

// Defaults of ClientConfig and Options.
const (
	DefaultTimeout        = time.Second // kernel ipoib: path_rec_start, mcast join
	DefaultMaxOutstanding = 64
	DefaultMaxQueued      = 4096
)

// rmppLinger is how long a finished table transfer is remembered so that
// repeated segments are acknowledged again (kernel mad_rmpp.c, 10 s).
const rmppLinger = 10 * time.Second

// ClientConfig configures a Client. The zero value is usable.
type ClientConfig struct {
	// Clock is a real clock when nil.
	Clock clockwork.Clock
	// Logger is silent when nil.
	Logger *slog.Logger
	// MaxOutstanding is how many requests may wait for a response at a time;
	// further ones wait in a queue of MaxQueued.
	MaxOutstanding, MaxQueued int
	// TID is the transaction ID before the first one; 0 draws one.
	TID uint32
	// RMPP limits table responses.
	RMPP RMPPConfig
}

// Registrar makes management agents. rdma.Port is one.
type Registrar interface {
	RegisterAgent(rdma.MADAgentConfig) (rdma.MADAgent, error)
}

// Options of one transaction.
type Options struct {
	// Timeout is how long each try waits for the response; 0 is
	// DefaultTimeout.
	Timeout time.Duration
	// Retries is how often the request is repeated when no response comes.
	Retries int
}

// Response is the answer to a request.
type Response struct {
	From rdma.MADAddr
	// MAD is the response, of a table its first segment.
	MAD MAD
	// Data are the records of a table response, nil of any other: see
	// DecodeRecords.
	Data []byte
}

// Client runs transactions: it sends requests over an agent, repeats them
// under the same transaction ID, matches responses by transaction ID, class,
// method and attribute, and puts RMPP tables together. All methods may be
// called from any goroutine.
type Client struct {
	agent  rdma.MADAgent
	clock  clockwork.Clock
	log    *slog.Logger
	cfg    ClientConfig
	others func(from rdma.MADAddr, m *[rdma.MADSize]byte)

	mu      sync.Mutex
	tid     uint32
	active  map[uint32]*transaction
	queue   []*transaction // waiting for a place, in order; may hold ended ones
	queued  int            // of them not ended
	linger  map[uint32]*lingering
	closed  bool
	dropped uint64 // responses that matched nothing
}

// transaction is a request under way. Its fields belong to Client.mu.
//
//	state      event                              next
//	queued     a place is free                    waiting, request sent
//	waiting    response                           ended
//	waiting    segment 1 of a table               receiving
//	waiting    timeout, retries left              waiting, request sent again
//	waiting    timeout                            ended, ErrTimeout
//	receiving  last segment                       ended; segments acknowledged for rmppLinger
//	receiving  broken off, silence, too long      ended, *RMPPError
//	any        cancel, Close                      ended; a table is aborted
type transaction struct {
	c       *Client
	tid     uint32
	to      rdma.MADAddr
	req     MAD
	timeout time.Duration
	retries int
	done    func(*Response, error)
	timer   clockwork.Timer
	gen     int // tells a timer that was stopped too late
	ended   bool
	rmpp    *RMPPReceiver
	from    rdma.MADAddr // of the table
}

// Open registers an agent and returns a client over it. Datagrams that are no
// responses go to acfg.Receive, which may be nil.
func Open(r Registrar, acfg rdma.MADAgentConfig, cfg ClientConfig) (*Client, error) {
	if cfg.Clock == nil {
		cfg.Clock = clockwork.NewRealClock()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxOutstanding == 0 {
		cfg.MaxOutstanding = DefaultMaxOutstanding
	}
	if cfg.MaxQueued == 0 {
		cfg.MaxQueued = DefaultMaxQueued
	}
	if cfg.TID == 0 {
		cfg.TID = rand.Uint32()
	}
	c := &Client{
		clock: cfg.Clock, log: cfg.Logger, cfg: cfg, others: acfg.Receive, tid: cfg.TID,
		active: map[uint32]*transaction{}, linger: map[uint32]*lingering{},
	}
	acfg.Receive = c.receive
	agent, err := r.RegisterAgent(acfg)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.agent = agent
	c.mu.Unlock()
	return c, nil
}

// Agent returns the agent, to send datagrams that have no response.
func (c *Client) Agent() rdma.MADAgent { return c.agent }

// Dropped returns how many responses came that no request waited for.
func (c *Client) Dropped() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

// Do sends a request and waits for its response. The transaction ID in req is
// not used. A response with a status other than 0 is returned together with a
// *StatusError. Other errors are ErrTimeout, *RMPPError, rdma.ErrClosed,
// rdma.ErrQueueFull when too many requests are waiting, that of ctx, or that
// of the agent's Send.
func (c *Client) Do(ctx context.Context, to rdma.MADAddr, req *[rdma.MADSize]byte, o Options) (*Response, error) {
	type result struct {
		r   *Response
		err error
	}
	ch := make(chan result, 1)
	cancel := c.Start(to, req, o, func(r *Response, err error) { ch <- result{r, err} })
	select {
	case res := <-ch:
		return res.r, res.err
	case <-ctx.Done():
		cancel()
		return nil, ctx.Err()
	}
}

// Start sends a request and returns. done is called once, on a goroutine of
// the client or the agent, never from within Start; it must not block. It gets
// what Do returns. cancel gives the transaction up: done is not called any
// more once it has returned, unless it is being called already.
func (c *Client) Start(to rdma.MADAddr, req *[rdma.MADSize]byte, o Options, done func(*Response, error)) (cancel func()) {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	t := &transaction{c: c, to: to, req: *View(req), timeout: o.Timeout, retries: o.Retries, done: done}
	c.mu.Lock()
	switch {
	case c.closed:
		c.mu.Unlock()
		t.fail(rdma.ErrClosed)
		return func() {}
	case len(c.active) < c.cfg.MaxOutstanding:
		c.activate(t)
		c.mu.Unlock()
		c.transmit(t)
	case c.queued < c.cfg.MaxQueued:
		c.queue = append(c.queue, t)
		c.queued++
		c.mu.Unlock()
	default:
		c.mu.Unlock()
		t.fail(rdma.ErrQueueFull)
		return func() {}
	}
	return func() { c.finish(t, nil, context.Canceled, true) }
}

// fail reports an error without having begun.
func (t *transaction) fail(err error) {
	t.ended = true
	go t.done(nil, err)
}

// Close ends all transactions with rdma.ErrClosed and detaches the agent.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	all := c.queue
	for _, t := range c.active {
		all = append(all, t)
	}
	for _, l := range c.linger {
		l.timer.Stop()
	}
	clear(c.linger)
	c.mu.Unlock()
	for _, t := range all {
		c.finish(t, nil, rdma.ErrClosed, false)
	}
	return c.agent.Close()
}
