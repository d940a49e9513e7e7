package nl_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/nl"
	"ipoib/nl/nltest"
)

// scripted is a listener that returns these errors, then connections that are
// handed to it.
type scripted struct {
	errs  []error
	conns chan nl.PacketConn
}

func (l *scripted) Accept() (nl.PacketConn, nl.Peer, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, nil, err
	}
	c, ok := <-l.conns
	if !ok {
		return nil, nil, net.ErrClosed
	}
	return c, nltest.NewPeer(), nil
}

func (l *scripted) Close() error {
	defer func() { _ = recover() }() // closing twice is fine for a listener
	close(l.conns)
	return nil
}

func (l *scripted) Addr() net.Addr { return &net.UnixAddr{} }

// TestServe: accepting goes on after errors that pass, slower each time, and
// after those of one peer; any other ends it.
func TestServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		_, srv := newToy(t, nl.Config{MaxClients: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		l := &scripted{conns: make(chan nl.PacketConn), errs: []error{
			fmt.Errorf("accept: %w", syscall.EMFILE), syscall.ECONNABORTED, syscall.EMFILE,
			fmt.Errorf("%w: gone", nl.ErrPeer),
		}}
		done := make(chan error, 1)
		start := time.Now()
		go func() { done <- srv.Serve(t.Context(), l) }()
		client, server := nltest.Pipe(1)
		l.conns <- server
		if took := time.Since(start); took != (5+10+20)*time.Millisecond {
			t.Errorf("waited %v", took)
		}
		c, err := nl.NewConn(t.Context(), client, nl.ConnConfig{Protocol: toyProto})
		if err != nil {
			t.Fatal(err)
		}
		second, server := nltest.Pipe(1)
		l.conns <- server
		if _, _, err := second.ReadPacket(); !errors.Is(err, io.EOF) {
			t.Errorf("above the limit: %v", err)
		}
		c.Close()
		l.Close()
		if err := <-done; err != nil {
			t.Errorf("closed listener: %v", err)
		}
		srv.Close()
		for _, want := range []string{"too many open files", "peer cannot be identified: gone", "1 connections already"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("log lacks %q:\n%s", want, log.String())
			}
		}
	})
}

func TestServeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, srv := newToy(t, nl.Config{})
		l := &scripted{conns: make(chan nl.PacketConn), errs: []error{errToy}}
		if err := srv.Serve(t.Context(), l); !errors.Is(err, errToy) {
			t.Errorf("broken listener: %v", err)
		}
		// A context that ends while accepting waits.
		ctx, cancel := context.WithCancel(t.Context())
		l = &scripted{conns: make(chan nl.PacketConn), errs: []error{syscall.EMFILE, syscall.EMFILE, syscall.EMFILE}}
		done := make(chan error, 1)
		go func() { done <- srv.Serve(ctx, l) }()
		time.Sleep(time.Millisecond)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		srv.Close()
	})
}

func TestFormatDatagram(t *testing.T) {
	var e nl.Encoder
	e.Raw([]byte{3, 1, 0, 0})
	e.String(2, "nlctrl")
	e.Nest(1, func() { e.U32(2, 7) })
	e.Put(5|0x4000, make([]byte, 300))
	generic := request(16, 0x304, 9, e.Bytes()...)
	generic = append(generic, 1, 2, 3)
	for _, c := range []struct {
		proto int
		b     []byte
		want  []string
	}{
		{nl.ProtoGeneric, generic, []string{
			"type nlctrl flags REQUEST|ACK|ROOT|MATCH seq 9 pid 0 cmd 3 version 1\n",
			"    [2] \"nlctrl\"\n", "    [1]\n        [2] 07000000\n", "[5 BE] 0000", "(300 bytes)", "3 stray bytes 010203\n",
		}},
		{nl.ProtoRoute, request(16, 0x600, 1, make([]byte, 16)...), []string{"type RTM_NEWLINK flags REQUEST|EXCL|CREATE", "ifinfomsg 0000"}},
		{nl.ProtoRoute, request(17, 0x200, 1), []string{"type RTM_DELLINK flags REQUEST|BULK"}},
		{nl.ProtoRoute, request(3, 0x1300, 1, 0xff, 0xff, 0xff, 0xff), []string{"type DONE flags REQUEST|CAPPED|ACK_TLVS|0x1000 seq 1 pid 0 errno -1 ("}},
		{nl.ProtoRoute, request(2, 0, 1, 1), []string{"type ERROR flags REQUEST seq 1 pid 0 errno 1\n"}},
		{nl.ProtoRoute, request(4, 0, 1), []string{"type OVERRUN"}},
		{nl.ProtoRoute, request(1, 0, 1), []string{"type NOOP"}},
		{99, request(1000, 0, 1), []string{"type 0x3e8"}},
		{99, nl.NewControl(nl.OpSetOption, 1, uint32(nl.OptExtAck), 1).Append(nil), []string{"CONTROL", "setsockopt EXT_ACK 1\n"}},
		{99, nl.NewControl(nl.OpSetOption, 1, 77, 1).Append(nil), []string{"setsockopt option 77 1\n"}},
		{99, nl.NewControl(nl.OpPacketInfo, 1, 5, 6).Append(nil), []string{"pktinfo [5 6]\n"}},
		{99, request(nl.ControlType, 0, 1), []string{"bad control message"}},
		{99, nil, []string{"empty\n"}},
	} {
		got := nl.FormatDatagram(c.proto, c.b)
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%q lacks %q", got, want)
			}
		}
	}
	seen := make(map[string]bool)
	for _, o := range []nl.Option{1, 2, 3, 4, 5, 8, 10, 11, 12, 256, 257} {
		if s := o.String(); strings.HasPrefix(s, "option") || seen[s] {
			t.Errorf("option %d is %q", uint32(o), s)
		} else {
			seen[s] = true
		}
	}
	if s := (nl.NetNS{Dev: 4, Ino: 17}).String(); s != "net:[17]" {
		t.Errorf("namespace %q", s)
	}
}
