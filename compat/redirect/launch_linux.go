package redirect

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/filter"
)

// Command describes what Exec runs.
type Command struct {
	// Path is the program, Args its arguments with its name in front, Env its
	// environment.
	Path string
	Args []string
	Env  []string
	// Socket is the path of the service's socket.
	Socket string
	// Supervisor is the command line that runs Supervise: its last arguments
	// are appended to it.
	Supervisor []string
	// Prepare, if set, is called on the thread that becomes the program, before
	// the filter is there.
	Prepare func() error
}

// handshakeTimeout bounds the start of the supervisor.
const handshakeTimeout = 10 * time.Second

// Exec becomes the program. It returns only if that fails; the program has not
// run then. Inside a program that Exec runs it runs another one without a
// supervisor of its own: one is enough.
func Exec(c Command) error {
	if supervised() {
		runtime.LockOSThread()
		if err := c.prepare(); err != nil {
			return err
		}
		return c.exec()
	}
	fds := filter.RangeFor(softLimit())
	prog, err := filter.Program(fds)
	if err != nil {
		return err
	}
	// The supervisor starts while this process prepares itself.
	conn, pid, err := c.startSupervisor(fds)
	if err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	runtime.LockOSThread()
	err = c.prepare()
	if err == nil {
		err = handOver(prog, conn)
	}
	wait(pid)
	if err != nil {
		return err
	}
	return c.exec()
}

// handOver installs the filter for the calling thread. When it returns, the
// supervisor answers and nobody else does.
func handOver(prog []bpf.RawInstruction, conn int) error {
	listener, err := filter.Install(prog)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(listener) }()
	if err := unix.Sendmsg(conn, []byte{helloListener}, unix.UnixRights(listener), nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("handing over to the supervisor: %w", err)
	}
	return expect(conn, helloServing)
}

func (c *Command) prepare() error {
	if c.Prepare == nil {
		return nil
	}
	return c.Prepare()
}

func (c *Command) exec() error {
	err := syscall.Exec(c.Path, c.Args, c.Env)
	return &os.PathError{Op: "exec", Path: c.Path, Err: err}
}

// supervised reports whether a supervisor of ours answers this process.
func supervised() bool {
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, ^uintptr(0), filter.SIOCETHTOOL, probeArgument)
	return errno == 0 && n == probeAnswer
}

// softLimit is the limit of open files that the program will have. The Go
// runtime has raised that of this process, and lowers it again with execve, to
// what it was inherited as.
func softLimit() uint64 {
	var lim unix.Rlimit
	if err := unix.Prlimit(os.Getppid(), unix.RLIMIT_NOFILE, nil, &lim); err != nil {
		return fallbackLimit
	}
	return lim.Cur
}

// fallbackLimit is assumed where the limit cannot be read.
const fallbackLimit = 1024

// Words of the handshake, one byte each.
const (
	helloListener = 'l' // here is the listener
	helloServing  = 's' // the supervisor answers
)

func expect(conn int, word byte) error {
	var b [1]byte
	for {
		n, _, err := unix.Recvfrom(conn, b[:], 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("waiting for the supervisor: %w", err)
		case n != 1 || b[0] != word:
			return errors.New("the supervisor ended")
		default:
			return nil
		}
	}
}

// supervisorFD is the supervisor's end of the handshake.
const supervisorFD = 3

// Stages of the supervisor's start.
const (
	stageSpawn = "spawn"
	stageRun   = "run"
)

// startSupervisor begins to run the supervisor. It returns a socket to it and
// the process that starts it and ends at once, to be waited for: the supervisor
// is no child of the program to be, which may wait for all of its children.
func (c *Command) startSupervisor(fds filter.Range) (conn, pid int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	defer func() { _ = unix.Close(pair[1]) }()
	tv := unix.NsecToTimeval(handshakeTimeout.Nanoseconds())
	_ = unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	args := []string{c.Socket, fds.String(), strconv.Itoa(os.Getpid())}
	// A shell starts faster than this program.
	shell := append([]string{"/bin/sh", "-c", `"$@" &`, "sh"}, c.Supervisor...)
	pid, err = spawn(append(append(shell, stageRun), args...), pair[1])
	if err != nil {
		line := append([]string(nil), c.Supervisor...)
		pid, err = spawn(append(append(line, stageSpawn), args...), pair[1])
	}
	if err != nil {
		_ = unix.Close(pair[0])
	}
	return pair[0], pid, err
}

// spawn starts a process that has the socket conn as supervisorFD.
func spawn(line []string, conn int) (pid int, err error) {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(null) }()
	in := uintptr(null)
	return syscall.ForkExec(line[0], line, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []uintptr{in, in, in, supervisorFD: uintptr(conn)},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
}

// wait waits for a child to end.
func wait(pid int) {
	for {
		if _, err := syscall.Wait4(pid, nil, 0, nil); !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}
