package redirect

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

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
// run then. Inside a program that Exec runs it runs another one plainly: one
// supervisor is enough.
func Exec(c Command) error {
	if supervised() {
		return c.exec()
	}
	fds := filter.RangeFor(softLimit())
	prog, err := filter.Program(fds)
	if err != nil {
		return err
	}
	conn, err := c.startSupervisor(fds)
	if err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	runtime.LockOSThread()
	if c.Prepare != nil {
		if err := c.Prepare(); err != nil {
			return err
		}
	}
	listener, err := filter.Install(prog)
	if err != nil {
		return err
	}
	if err := unix.Sendmsg(conn, []byte{helloListener}, unix.UnixRights(listener), nil, 0); err != nil {
		return fmt.Errorf("handing over to the supervisor: %w", err)
	}
	if err := expect(conn, helloServing); err != nil {
		return err
	}
	// From here on nobody answers but the supervisor.
	_ = unix.Close(listener)
	return c.exec()
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
	helloReady    = 'r' // the supervisor runs
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

// startSupervisor runs the supervisor and returns a socket to it. It goes
// through a process that ends at once, so that the supervisor is no child of
// the program to be, which may wait for all of its children.
func (c *Command) startSupervisor(fds filter.Range) (int, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socketpair", err)
	}
	tv := unix.NsecToTimeval(handshakeTimeout.Nanoseconds())
	_ = unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	theirs := os.NewFile(uintptr(pair[1]), "supervisor")
	defer func() { _ = theirs.Close() }()
	if err := spawnAside(c.Supervisor, c.Socket, fds, theirs); err != nil {
		return -1, err
	}
	_ = theirs.Close()
	return pair[0], expect(pair[0], helloReady)
}

// spawnAside starts the supervisor through a process that ends at once: a
// shell, which starts faster than this program, or without one this program.
func spawnAside(line []string, socket string, fds filter.Range, conn *os.File) error {
	shell := []string{"/bin/sh", "-c", `"$@" &`, "sh"}
	if err := spawn(append(shell, line...), stageRun, socket, fds, conn, true); err == nil {
		return nil
	}
	return spawn(line, stageSpawn, socket, fds, conn, true)
}

// spawn starts a stage of the supervisor.
func spawn(line []string, stage, socket string, fds filter.Range, conn *os.File, wait bool) error {
	args := append(append([]string(nil), line[1:]...), stage, socket, fds.String(), strconv.Itoa(os.Getpid()))
	cmd := exec.Command(line[0], args...)
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{conn}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	if !wait {
		return cmd.Process.Release()
	}
	return cmd.Wait()
}
