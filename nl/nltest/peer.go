package nltest

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"

	"ipoib/nl"
)

// Peer is a client process that a test makes up. Its zero value is no
// process; use NewPeer.
type Peer struct {
	mu    sync.Mutex
	pid   int
	uid   uint32
	netns nl.NetNS
	caps  uint64
	host  bool
	file  string
}

var _ nl.Peer = (*Peer)(nil)

// HostNetNS is the network namespace of a new Peer.
var HostNetNS = nl.NetNS{Dev: 4, Ino: 4026531840}

// NewPeer returns process 1000 of user 1000 in HostNetNS, without
// capabilities.
func NewPeer() *Peer { return &Peer{pid: 1000, uid: 1000, netns: HostNetNS, host: true} }

// SetCaps makes these the peer's capabilities, from its next request on.
func (p *Peer) SetCaps(caps ...nl.Cap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.caps = 0
	for _, c := range caps {
		p.caps |= 1 << c
	}
}

// SetContainer makes the peer's capabilities count in its network namespace
// only, as those of root in a user namespace do.
func (p *Peer) SetContainer(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.host = !on
}

// SetID changes process and user id. Call it before Dial.
func (p *Peer) SetID(pid int, uid uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pid, p.uid = pid, uid
}

// SetNetNS moves the peer to a network namespace; file, if not empty, is what
// OpenNetNS opens. Call it before Dial.
func (p *Peer) SetNetNS(ns nl.NetNS, file string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.netns, p.file = ns, file
}

// PID implements nl.Peer.
func (p *Peer) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// UID implements nl.Peer.
func (p *Peer) UID() uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.uid
}

// NetNS implements nl.Peer.
func (p *Peer) NetNS() nl.NetNS {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.netns
}

// OpenNetNS implements nl.Peer.
func (p *Peer) OpenNetNS() (*os.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == "" {
		return nil, errors.New("nltest: peer without namespace file")
	}
	return os.Open(p.file)
}

// Capable implements nl.Peer.
func (p *Peer) Capable(_ nl.Sender, c nl.Cap) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.host && p.caps&(1<<c) != 0
}

// NetCapable implements nl.Peer.
func (p *Peer) NetCapable(_ nl.Sender, c nl.Cap) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.caps&(1<<c) != 0
}

// Close implements nl.Peer.
func (p *Peer) Close() error { return nil }

// NewServer returns a server that is closed when the test ends; a handler
// that never returns fails the test by its timeout.
func NewServer(tb testing.TB, cfg nl.Config) *nl.Server {
	tb.Helper()
	srv := nl.NewServer(cfg)
	tb.Cleanup(func() { srv.Close() })
	return srv
}

// Dial connects to srv as peer and says hello. The connection is closed when
// the test ends.
func Dial(tb testing.TB, srv *nl.Server, peer *Peer, cfg nl.ConnConfig) *nl.Conn {
	tb.Helper()
	c, err := Connect(srv, peer, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// Connect is Dial for tests that expect a refusal.
func Connect(srv *nl.Server, peer *Peer, cfg nl.ConnConfig) (*nl.Conn, error) {
	client, server := Pipe(peer.PID())
	if err := srv.Attach(server, peer); err != nil {
		client.Close()
		return nil, err
	}
	return nl.NewConn(context.Background(), client, cfg)
}
