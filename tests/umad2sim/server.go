package umad2sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"ipoib/rdma"
)

// Port is a port that programs may work at: one of a channel adapter, or the
// management port of a switch.
type Port interface {
	RegisterAgent(rdma.MADAgentConfig) (rdma.MADAgent, error)
	SetIsSM(bool) error
}

// library finds the library that programs are started with, where Debian's
// packages have it.
func library() (string, error) {
	found, err := filepath.Glob("/usr/lib/*/umad2sim/libumad2sim.so")
	if err == nil && len(found) == 0 {
		err = errors.New("no libumad2sim.so: it is in Debian's package ibsim-utils")
	}
	if err != nil {
		return "", fmt.Errorf("umad2sim: %w", err)
	}
	return found[0], nil
}

// Server serves the ports of a fabric.
type Server struct {
	name    string
	library string
	ctl     *net.UnixConn
	ports   map[string]Port

	mu      sync.Mutex
	clients map[uint32]*client // guarded by mu, as is all below
	next    uint32
	closed  bool
	done    sync.WaitGroup
}

// Listen serves ports, by the names that SIM_HOST may have, on sockets whose
// names begin with name.
func Listen(name string, ports map[string]Port) (*Server, error) {
	lib, err := library()
	if err != nil {
		return nil, err
	}
	s := &Server{name: name, library: lib, ports: ports, clients: make(map[uint32]*client)}
	if s.ctl, err = net.ListenUnixgram("unixgram", s.addr("ctl")); err != nil {
		return nil, fmt.Errorf("umad2sim: %w", err)
	}
	s.done.Go(s.control)
	return s, nil
}

// Env returns the environment of a program that works at a port.
func (s *Server) Env(host string) []string {
	return append(os.Environ(), "LD_PRELOAD="+s.library, "IBSIM_SOCKNAME="+s.name, "SIM_HOST="+host)
}

// Close ends the service.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	clients := s.clients
	s.clients = make(map[uint32]*client)
	s.mu.Unlock()
	_ = s.ctl.Close()
	for _, c := range clients {
		c.close()
	}
	s.done.Wait()
}

// addr returns the address of a socket: names are abstract, and a counted zero
// ends them.
func (s *Server) addr(part string) *net.UnixAddr {
	return &net.UnixAddr{Net: "unixgram", Name: "@" + s.name + ":" + part + "\x00"}
}

// The control datagrams: magic, client, type and length in host byte order,
// and 64 octets of data.
const (
	ctlLen   = 80
	ctlMagic = 0xdeadbeef

	ctlError       = 0
	ctlConnect     = 1
	ctlDisconnect  = 2
	ctlGetVendor   = 4
	ctlGetNodeInfo = 7
	ctlGetPortInfo = 8
	ctlSetIsSM     = 9
	ctlGetPKeys    = 10
)

var host = binary.NativeEndian

// control answers control datagrams until the socket is closed.
func (s *Server) control() {
	buf := make([]byte, 2*ctlLen)
	for {
		n, from, err := s.ctl.ReadFromUnix(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n != ctlLen || host.Uint32(buf) != ctlMagic || from == nil {
			continue
		}
		m := buf[:ctlLen]
		if s.answer(m) != nil {
			host.PutUint32(m[8:], ctlError)
		}
		from.Name += "\x00" // which package net takes for the end
		_, _ = s.ctl.WriteToUnix(m, from)
	}
}

var errUnknown = errors.New("unknown client, host or type")

// answer answers a control datagram in place.
func (s *Server) answer(m []byte) error {
	id, kind, data := host.Uint32(m[4:]), host.Uint32(m[8:]), m[16:]
	if kind == ctlConnect {
		return s.connect(m, data)
	}
	s.mu.Lock()
	c := s.clients[id]
	if kind == ctlDisconnect {
		delete(s.clients, id)
	}
	s.mu.Unlock()
	if c == nil {
		return errUnknown
	}
	switch kind {
	case ctlDisconnect:
		c.close()
	case ctlGetVendor:
		clear(data)
	case ctlGetNodeInfo:
		return c.ask(data, attrNodeInfo, 0)
	case ctlGetPortInfo:
		return c.ask(data, attrPortInfo, uint32(data[0]))
	case ctlGetPKeys:
		return c.ask(data, attrPKeyTable, 0)
	case ctlSetIsSM:
		return c.setIsSM(host.Uint32(data) != 0)
	default:
		return errUnknown
	}
	return nil
}

// connect makes a client of a program.
func (s *Server) connect(m, data []byte) error {
	pid, isSM := host.Uint32(data), host.Uint32(data[8:]) != 0
	name := cString(data[12:44])
	s.mu.Lock()
	defer s.mu.Unlock()
	port := s.ports[name]
	if port == nil || s.closed {
		return errUnknown
	}
	// A port serves one program: the one before was killed, which nobody
	// tells us.
	for id, c := range s.clients {
		if c.port == port {
			delete(s.clients, id)
			c.close()
		}
	}
	id := s.next
	s.next++
	c, err := newClient(s, port, id, s.addr("in"+strconv.Itoa(int(pid))))
	if err != nil {
		return err
	}
	if err := c.setIsSM(isSM); err != nil {
		c.close()
		return err
	}
	s.clients[id] = c
	host.PutUint32(m[4:], id)
	host.PutUint32(data, id)
	s.done.Go(c.read)
	return nil
}

func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
