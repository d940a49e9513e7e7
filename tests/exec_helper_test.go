//go:build integration

package tests

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// helperEnv makes the test binary one of the programs below, which stand for
// programs of users: they know nothing of the service.
const helperEnv = "IPOIB_TEST_HELPER"

var helpers = map[string]func([]string) error{
	"storm": stormHelper, "rebind": rebindHelper, "matrix": matrixHelper, "readers": readersHelper,
	"cni": cniHelper, "mixed": mixedHelper,
}

// runHelper runs a helper with the arguments of the process.
func runHelper(name string) {
	do := helpers[name]
	if do == nil {
		fmt.Fprintln(os.Stderr, "no helper", name)
		os.Exit(2)
	}
	if err := do(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// helper runs a helper in host i under exec and returns its output.
func (l *lab) helper(i int, name string, args ...string) string {
	l.t.Helper()
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	return l.on(i, append([]string{"timeout", "120", "ipoib", "exec", "--", "env", helperEnv + "=" + name, self}, args...)...)
}

// sock is a plain netlink socket.
type sock struct {
	fd  int
	seq uint32
}

func openSock(proto int) (*sock, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	return &sock{fd: fd}, nil
}

func (s *sock) close() { _ = unix.Close(s.fd) }

var toKernel = &unix.SockaddrNetlink{Family: unix.AF_NETLINK}

// linkRequest builds a request for links: of one index, or with dump of all.
func linkRequest(seq uint32, flags netlink.HeaderFlags, index int32) []byte {
	var e nl.Encoder
	_ = e.Message(netlink.Header{Type: rtlink.GetLink, Flags: netlink.Request | flags, Sequence: seq}, func(e *nl.Encoder) error {
		rtlink.AppendHeader(e, 0, 0, index, 0, 0)
		e.U32(rtlink.AttrExtMask, rtlink.FilterVF)
		return nil
	})
	return e.Bytes()
}

type message struct {
	netlink.Header
	body []byte
}

func split(b []byte) (out []message, err error) {
	for len(b) >= nl.HeaderLen {
		h := nl.ParseHeader(b)
		if h.Length < nl.HeaderLen || int(h.Length) > len(b) {
			return out, fmt.Errorf("a message of %d bytes in %d", h.Length, len(b))
		}
		out = append(out, message{h, b[nl.HeaderLen:h.Length]})
		b = b[min(nl.Align(int(h.Length)), len(b)):]
	}
	return out, nil
}

// stormHelper asks for links while a timer's signal comes every millisecond,
// until there were many of both.
func stormHelper([]string) error {
	signal.Ignore(unix.SIGHUP)
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGALRM)
	if _, err := unix.Setitimer(unix.ItimerReal, unix.MakeItimerval(time.Millisecond, time.Millisecond)); err != nil {
		return err
	}
	var signals atomic.Int64
	go func() {
		for range ch {
			signals.Add(1)
		}
	}()
	s, err := openSock(nl.ProtoRoute)
	if err != nil {
		return err
	}
	defer s.close()
	rounds := 0
	for end := time.Now().Add(patience); rounds < 500 || signals.Load() < 500; rounds++ {
		if time.Now().After(end) {
			return fmt.Errorf("only %d rounds and %d signals", rounds, signals.Load())
		}
		names, err := s.dumpNames(1 << 15)
		if err != nil {
			return fmt.Errorf("round %d: %w", rounds, err)
		}
		if !slices.Contains(names, "ib0/ipoib") {
			return fmt.Errorf("round %d: links %v", rounds, names)
		}
	}
	fmt.Printf("rounds %d signals %d\n", rounds, signals.Load())
	return nil
}

// dumpNames dumps the links with a buffer of a size; names have the kind
// behind a slash.
func (s *sock) dumpNames(size int) (names []string, err error) {
	s.seq++
	if err := retry(func() error { return unix.Sendto(s.fd, linkRequest(s.seq, netlink.Dump, 0), 0, toKernel) }); err != nil {
		return nil, fmt.Errorf("sendto: %w", err)
	}
	b := make([]byte, size)
	for {
		var n int
		err := retry(func() (err error) { n, _, err = unix.Recvfrom(s.fd, b, 0); return err })
		if err != nil {
			return names, fmt.Errorf("recvfrom: %w", err)
		}
		more, done, err := namesIn(b[:n], s.seq)
		names = append(names, more...)
		if err != nil || done {
			return names, err
		}
	}
}

// retry repeats a call that a signal interrupted.
func retry(fn func() error) error {
	for {
		if err := fn(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func namesIn(b []byte, seq uint32) (names []string, done bool, err error) {
	ms, err := split(b)
	if err != nil {
		return nil, false, err
	}
	for _, m := range ms {
		if m.Sequence != seq {
			return names, false, fmt.Errorf("sequence number %d, not %d", m.Sequence, seq)
		}
		switch m.Type {
		case netlink.Done:
			return names, true, nil
		case netlink.Error:
			return names, false, unix.Errno(-int32(binary.NativeEndian.Uint32(m.body)))
		case rtlink.NewLink:
			l, err := rtlink.Decode(m.body)
			if err != nil {
				return names, false, err
			}
			kind := ""
			if l.Info != nil {
				kind = l.Info.Kind
			}
			names = append(names, l.Name+"/"+kind)
		}
	}
	return names, false, nil
}

// rebindHelper opens, binds to one port id, asks and closes, again and again.
func rebindHelper([]string) error {
	for i := range 1500 {
		s, err := openSock(nl.ProtoRoute)
		if err != nil {
			return err
		}
		if err := unix.Bind(s.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: 0x12345678}); err != nil {
			return fmt.Errorf("round %d: bind: %w", i, err)
		}
		// To the service and to the kernel in turn, answered and not.
		b := linkRequest(1, 0, 1)
		if i%2 == 0 {
			b = setRequest(1, "ib0", netlink.Acknowledge)
		}
		if err := unix.Sendto(s.fd, b, 0, toKernel); err != nil {
			return fmt.Errorf("round %d: sendto: %w", i, err)
		}
		if i%3 != 0 {
			buf := make([]byte, 8192)
			if _, _, err := unix.Recvfrom(s.fd, buf, 0); err != nil {
				return fmt.Errorf("round %d: recvfrom: %w", i, err)
			}
		}
		s.close()
	}
	return nil
}

// setRequest builds a request that changes nothing of a link: an empty
// RTM_NEWLINK by name.
func setRequest(seq uint32, name string, flags netlink.HeaderFlags) []byte {
	var e nl.Encoder
	_ = e.Message(netlink.Header{Type: rtlink.NewLink, Flags: netlink.Request | flags, Sequence: seq}, func(e *nl.Encoder) error {
		rtlink.AppendHeader(e, 0, 0, 0, 0, 0)
		e.String(rtlink.AttrIfname, name)
		return nil
	})
	return e.Bytes()
}

// matrixHelper dumps with buffers of several sizes, waiting in several ways,
// and checks that each link comes once.
func matrixHelper([]string) error {
	waits := map[string]func(fd int) error{
		"block": func(int) error { return nil },
		"poll": func(fd int) error {
			return retry(func() error {
				_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000)
				return err
			})
		},
		"select": func(fd int) error {
			return retry(func() error {
				var set unix.FdSet
				set.Set(fd)
				tv := unix.Timeval{Sec: 5}
				n, err := unix.Select(fd+1, &set, nil, nil, &tv)
				if err == nil && n == 0 {
					return errors.New("select: nothing to read")
				}
				return err
			})
		},
		"epoll": func(fd int) error {
			ep, err := unix.EpollCreate1(0)
			if err != nil {
				return err
			}
			defer func() { _ = unix.Close(ep) }()
			if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
				return err
			}
			return retry(func() error {
				n, err := unix.EpollWait(ep, make([]unix.EpollEvent, 1), 5000)
				if err == nil && n == 0 {
					return errors.New("epoll: nothing to read")
				}
				return err
			})
		},
	}
	want := 0
	for _, size := range []int{4096, 5000, 8192, 16384, 32768, 65536} {
		for name, wait := range waits {
			for _, nonblock := range []bool{false, true} {
				n, err := matrixOne(size, wait, nonblock)
				if err != nil {
					return fmt.Errorf("%d bytes, %s, nonblock %v: %w", size, name, nonblock, err)
				}
				if want == 0 {
					want = n
				}
				if n != want || n < 42 {
					return fmt.Errorf("%d bytes, %s, nonblock %v: %d links, not %d", size, name, nonblock, n, want)
				}
			}
		}
	}
	fmt.Println("links", want)
	return nil
}

func matrixOne(size int, wait func(int) error, nonblock bool) (int, error) {
	s, err := openSock(nl.ProtoRoute)
	if err != nil {
		return 0, err
	}
	defer s.close()
	if err := unix.SetNonblock(s.fd, nonblock); err != nil {
		return 0, err
	}
	if err := unix.Sendto(s.fd, linkRequest(7, netlink.Dump, 0), 0, toKernel); err != nil {
		return 0, err
	}
	seen := make(map[string]bool)
	b := make([]byte, size)
	for {
		if err := wait(s.fd); err != nil {
			return 0, err
		}
		n, _, flags, _, err := recvmsg(s.fd, b)
		if errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if flags&unix.MSG_TRUNC != 0 {
			return 0, fmt.Errorf("a datagram does not fit into %d bytes", size)
		}
		names, done, err := namesIn(b[:n], 7)
		if err != nil {
			return 0, err
		}
		for _, name := range names {
			if seen[name] {
				return 0, fmt.Errorf("%s came twice", name)
			}
			seen[name] = true
		}
		if done {
			return len(seen), nil
		}
	}
}

func recvmsg(fd int, b []byte) (n, oobn, flags int, from unix.Sockaddr, err error) {
	err = retry(func() error {
		n, oobn, flags, from, err = unix.Recvmsg(fd, b, nil, 0)
		return err
	})
	return n, oobn, flags, from, err
}

// readersHelper has four threads receive from one socket the answers to
// requests, each of which must come once.
func readersHelper([]string) error {
	s, err := openSock(nl.ProtoRoute)
	if err != nil {
		return err
	}
	defer s.close()
	if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 300000}); err != nil {
		return err
	}
	const requests = 600
	var mu sync.Mutex
	seen := make(map[uint32]int)
	answers := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(seen)
	}
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	end := time.Now().Add(patience)
	for range 4 {
		wg.Go(func() {
			b := make([]byte, 16384)
			for {
				n, _, _, from, err := recvmsg(s.fd, b)
				if errors.Is(err, unix.EAGAIN) {
					// Nothing more comes for a while.
					if answers() == requests || time.Now().After(end) {
						return
					}
					continue
				}
				if err != nil {
					errs <- err
					return
				}
				if name, ok := from.(*unix.SockaddrNetlink); !ok || name.Pid != 0 {
					errs <- fmt.Errorf("from %v", from)
					return
				}
				ms, err := split(b[:n])
				if err != nil {
					errs <- err
					return
				}
				mu.Lock()
				for _, m := range ms {
					seen[m.Sequence]++
				}
				mu.Unlock()
			}
		})
	}
	for i := range uint32(requests) {
		b := setRequest(i+1, "ib0", netlink.Acknowledge)
		switch i % 3 {
		case 1:
			b = linkRequest(i+1, 0, 1)
		case 2:
			b = setRequest(i+1, "lo", netlink.Acknowledge)
		}
		if err := retry(func() error { return unix.Sendto(s.fd, b, 0, toKernel) }); err != nil {
			return err
		}
		// No more than the buffer of the socket takes.
		for int(i)-answers() > 100 && time.Now().Before(end) {
			time.Sleep(time.Millisecond)
		}
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
	}
	for i := range uint32(requests) {
		if seen[i+1] != 1 {
			return fmt.Errorf("the answer to request %d came %d times", i+1, seen[i+1])
		}
	}
	return nil
}
