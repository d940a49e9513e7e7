package iproute

import (
	"io"
	"os"
	"time"

	"ipoib/nl"
)

// Socket is a rtnetlink socket: [nl.Conn] is one. Datagrams are whole
// messages.
type Socket interface {
	WriteDatagram(b []byte) error
	ReadDatagram() (nl.Datagram, error)
	JoinGroup(group uint32) error
	PortID() uint32
	Close() error
}

// Env is what a command needs from outside.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Dial opens a rtnetlink socket of the service at runDir, "" being the
	// default directory, in the network namespace of the calling thread.
	Dial func(runDir string, cfg nl.ConnConfig) (Socket, error)
	// Host is the system that the process runs on.
	Host Host
	// Terminal is set when Stdout is a terminal; ColorFGBG is the environment
	// variable of that name, from which ip guesses the background.
	Terminal  bool
	ColorFGBG string
	// Now is the clock.
	Now func() time.Time
	// Version is printed by -V.
	Version string
	// Object runs a command that is none of this package's, in a batch file.
	// ok is false when there is no such command.
	Object func(args []string) (code int, ok bool)
}

// Host is what the commands ask of the system.
type Host interface {
	// EnterNetNS moves the calling thread to a network namespace that ip netns
	// knows. The error is printed as it is.
	EnterNetNS(name string) error
	// OpenNetNS opens the nsfs file of a namespace by name or path, for a
	// request that refers to it by its descriptor.
	OpenNetNS(name string) (*os.File, error)
	// NetNSNames lists the names that ip netns knows.
	NetNSNames() []string
	// Link and Ifname ask the kernel for a link, whatever its kind, in the
	// namespace of the calling thread; 0 and "" when there is none.
	Link(name string) (index uint32, kind string)
	Ifname(index uint32) string
	// Groups are the names of link groups by number (/etc/iproute2/group).
	Groups() map[uint32]string
	// Open opens a file for reading.
	Open(name string) (io.ReadCloser, error)
}
