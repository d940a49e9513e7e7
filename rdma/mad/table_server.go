package mad

import (
	"log/slog"
	"sync"

	"github.com/jonboulle/clockwork"

	"ipoib/rdma"
)

// DefaultMaxTransfers is the number of tables that a TableServer sends at a
// time unless its configuration says otherwise.
const DefaultMaxTransfers = 1024

// TableServerConfig configures a TableServer. The zero value is usable.
type TableServerConfig struct {
	// Clock is a real clock when nil.
	Clock clockwork.Clock
	// Logger is silent when nil.
	Logger *slog.Logger
	// MaxTransfers bounds the tables under way.
	MaxTransfers int
	// RMPP holds Timeout and Retries of the sender.
	RMPP RMPPConfig
}

// TableServer sends the table responses of an SA as RMPP transfers. The SA
// passes every datagram that its agent receives to Handle first. All methods
// may be called from any goroutine.
type TableServer struct {
	send func(to rdma.MADAddr, m *[rdma.MADSize]byte) error
	cfg  TableServerConfig

	mu        sync.Mutex
	transfers map[transferKey]*transfer
	closed    bool
}

// transferKey names a transfer: a peer does not use a transaction ID twice at
// a time.
type transferKey struct {
	lid   rdma.LID
	qpn   rdma.QPN
	class Class
	tid   uint64
}

type transfer struct {
	to    rdma.MADAddr
	rmpp  *RMPPSender
	timer clockwork.Timer
}

// NewTableServer returns a server that transmits with send, such as the Send
// method of an agent.
func NewTableServer(send func(to rdma.MADAddr, m *[rdma.MADSize]byte) error, cfg TableServerConfig) *TableServer {
	if cfg.Clock == nil {
		cfg.Clock = clockwork.NewRealClock()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxTransfers == 0 {
		cfg.MaxTransfers = DefaultMaxTransfers
	}
	return &TableServer{send: send, cfg: cfg, transfers: map[transferKey]*transfer{}}
}

func keyOf(peer rdma.MADAddr, m *MAD) transferKey {
	return transferKey{lid: peer.LID, qpn: peer.QPN, class: m.Class(), tid: m.TID()}
}

// Busy reports whether the table that answers req is under way already: the
// request is a repetition and needs no answer.
func (s *TableServer) Busy(from rdma.MADAddr, req *MAD) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transfers[keyOf(from, req)] != nil
}

// Send begins to send a table and returns. resp has the headers of the
// response, AttributeOffset and component mask included; data are the records,
// which the server keeps. It returns rdma.ErrInUse when the request's table is
// under way already (Busy), rdma.ErrQueueFull when there are too many
// transfers, and rdma.ErrClosed after Close. What happens to the transfer
// later is only logged.
func (s *TableServer) Send(to rdma.MADAddr, resp *MAD, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := keyOf(to, resp)
	switch {
	case s.closed:
		return rdma.ErrClosed
	case s.transfers[k] != nil:
		return rdma.ErrInUse
	case len(s.transfers) >= s.cfg.MaxTransfers:
		return rdma.ErrQueueFull
	}
	t := &transfer{to: to, rmpp: NewRMPPSender(s.cfg.RMPP, resp, data)}
	s.transfers[k] = t
	s.advance(k, t)
	return nil
}

// Handle takes an RMPP datagram of a transfer. It reports false for all other
// datagrams, which are the caller's.
func (s *TableServer) Handle(from rdma.MADAddr, b *[rdma.MADSize]byte) bool {
	m := View(b)
	if !m.IsRMPP() || m.IsResponse() || m.RMPP().Type == RMPPData || m.RMPP().Type == RMPPNone {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := keyOf(from, m)
	t := s.transfers[k]
	if t == nil {
		return true // late, or not ours
	}
	reply, err := t.rmpp.Receive(s.cfg.Clock.Now(), m)
	s.transmit(t, reply)
	if err != nil {
		s.cfg.Logger.Debug("table not delivered", "lid", t.to.LID, "err", err)
	}
	s.advance(k, t)
	return true
}

// advance sends what may be sent, sets the timer, and forgets a transfer that
// is over. s.mu is held.
func (s *TableServer) advance(k transferKey, t *transfer) {
	now := s.cfg.Clock.Now()
	for m := t.rmpp.Next(now); m != nil; m = t.rmpp.Next(now) {
		s.transmit(t, m)
	}
	if t.timer != nil {
		t.timer.Stop()
	}
	if t.rmpp.Done() || t.rmpp.Err() != nil {
		delete(s.transfers, k)
		return
	}
	t.timer = s.cfg.Clock.AfterFunc(t.rmpp.Deadline().Sub(now), func() { s.expire(k, t) })
}

func (s *TableServer) expire(k transferKey, t *transfer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.transfers[k] != t {
		return
	}
	reply, err := t.rmpp.Expire(s.cfg.Clock.Now())
	s.transmit(t, reply)
	if err != nil {
		s.cfg.Logger.Debug("table not delivered", "lid", t.to.LID, "err", err)
	}
	s.advance(k, t)
}

// transmit sends a datagram of a transfer; an error counts as loss. s.mu is
// held: an agent's Send neither waits nor calls back.
func (s *TableServer) transmit(t *transfer, m *MAD) {
	if m == nil {
		return
	}
	if err := s.send(t.to, m.Bytes()); err != nil {
		s.cfg.Logger.Debug("management datagram not sent", "lid", t.to.LID, "err", err)
	}
}

// Close aborts all transfers.
func (s *TableServer) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for k, t := range s.transfers {
		s.transmit(t, t.rmpp.Abort(RMPPUnspecified))
		t.timer.Stop()
		delete(s.transfers, k)
	}
}
