package redirect

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/ethioctl"
	"ipoib/compat/redirect/filter"
	"ipoib/compat/redirect/nlsock"
	"ipoib/compat/redirect/notify"
	"ipoib/compat/redirect/trap"
	"ipoib/compat/redirect/upstream"
)

// Supervisor answers the system calls of a program and of its children.
type Supervisor struct {
	l      *notify.Listener
	table  *nlsock.Table
	ioctls *ethioctl.Handler
	log    *slog.Logger
}

// NewSupervisor takes over the listener of a filter that was made for the
// descriptors fds. socket is the path of the service's socket.
func NewSupervisor(listener int, fds filter.Range, socket string, log *slog.Logger) (*Supervisor, error) {
	client, err := upstream.NewClient(socket)
	if err != nil {
		return nil, fmt.Errorf("redirect: %w", err)
	}
	l := notify.New(listener)
	client.Yield = l.Yield
	table := nlsock.NewTable(client, fds, log)
	return &Supervisor{
		l: l, table: table, ioctls: &ethioctl.Handler{Worlds: table}, log: log,
	}, nil
}

// reapInterval is how often what programs have closed is forgotten.
const reapInterval = 3 * time.Second

// Run answers until no process has the filter any more.
func (s *Supervisor) Run() error {
	done := make(chan struct{})
	defer close(done)
	go func() {
		t := time.NewTicker(reapInterval)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				s.table.Reap()
			case <-done:
				return
			}
		}
	}()
	if err := s.l.Serve(s.serve); err != nil {
		return fmt.Errorf("redirect: %w", err)
	}
	return nil
}

// serve answers one call, whatever happens.
func (s *Supervisor) serve(c notify.Call) {
	t := trap.New(s.l, c)
	defer t.Close()
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("a call was not answered", "nr", c.Nr, "panic", v, "stack", string(debug.Stack()))
		}
		if !t.Answered() {
			_ = s.giveUp(t)
		}
	}()
	if err := s.dispatch(t); err != nil && !errors.Is(err, notify.ErrGone) {
		s.log.Debug("a call was answered late or not", "nr", c.Nr, "err", err)
	}
}

// giveUp answers a call that nothing else did: what receives has to try again,
// since the kernel's queue holds what is for the supervisor alone.
func (s *Supervisor) giveUp(t *trap.Trap) error {
	if receives(t.Nr) {
		return t.Fail(unix.EINTR)
	}
	return t.Continue()
}

func receives(nr int) bool {
	switch nr {
	case unix.SYS_READ, unix.SYS_READV, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_RECVMMSG:
		return true
	}
	return false
}

func (s *Supervisor) dispatch(t *trap.Trap) error {
	switch t.Nr {
	case unix.SYS_SOCKET:
		// The service and its tools talk to each other without help. To answer
		// the service by asking it would not end.
		if t.Thread.SameExecutable() {
			return t.Continue()
		}
		return s.table.Create(t)
	case unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG:
		return s.table.Send(t)
	case unix.SYS_DUP:
		return s.table.Dup(t, 0, false)
	case unix.SYS_FCNTL:
		return s.table.Dup(t, t.FD(2), uint32(t.Args[1]) == unix.F_DUPFD_CLOEXEC)
	case unix.SYS_IOCTL:
		if t.FD(0) == -1 && t.Args[2] == probeArgument {
			return t.Return(probeAnswer)
		}
		if t.Thread.SameExecutable() {
			return t.Continue()
		}
		return s.ioctls.Handle(t)
	}
	if receives(t.Nr) {
		return s.table.Receive(t)
	}
	return t.Continue()
}

// The probe is an ioctl that fails with EBADF unless a supervisor of ours
// answers it.
const (
	probeArgument = 0x69506f4920657865
	probeAnswer   = 0x69506f49
)
