package redirect

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/filter"
)

// Supervise is the process that Exec starts: line is the command line that it
// was started with, without the arguments that Exec added, which are args. It
// returns when the program and all of its children have ended.
func Supervise(line, args []string, log *slog.Logger) error {
	if len(args) != 4 {
		return errors.New("redirect: the supervisor is started by exec")
	}
	stage, socket := args[0], args[1]
	fds, err := filter.ParseRange(args[2])
	if err != nil {
		return err
	}
	if stage == stageSpawn {
		// This process ends, and the next one is nobody's child.
		line := append(append([]string(nil), line...), stageRun)
		_, err := spawn(append(line, args[1:]...), supervisorFD)
		return err
	}
	// The terminal's signals are for the program.
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE)
	closeInherited()
	listener, err := takeListener(supervisorFD)
	if err != nil {
		return err
	}
	s, err := NewSupervisor(listener, fds, socket, log)
	if err != nil {
		return err
	}
	if _, err := unix.Write(supervisorFD, []byte{helloServing}); err != nil {
		return fmt.Errorf("redirect: %w", err)
	}
	_ = unix.Close(supervisorFD)
	return s.Run()
}

// takeListener receives the listener of the filter.
func takeListener(conn int) (int, error) {
	tv := unix.NsecToTimeval(handshakeTimeout.Nanoseconds())
	_ = unix.SetsockoptTimeval(conn, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	b, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	for end := time.Now().Add(handshakeTimeout); time.Now().Before(end); {
		n, oobn, _, _, err := unix.Recvmsg(conn, b, oob, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return -1, fmt.Errorf("redirect: %w", err)
		}
		ms, err := unix.ParseSocketControlMessage(oob[:oobn])
		if n != 1 || err != nil || len(ms) != 1 {
			break
		}
		if list, err := unix.ParseUnixRights(&ms[0]); err == nil && len(list) == 1 {
			return list[0], nil
		}
		break
	}
	return -1, errors.New("redirect: the program did not start")
}

// closeInherited closes what the program's caller has open, such as the pipe
// of a command substitution: the supervisor ends later than the program.
func closeInherited() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= supervisorFD {
			continue
		}
		// What this process opened itself is close-on-exec.
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
}
