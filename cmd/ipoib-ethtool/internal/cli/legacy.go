package cli

import (
	"errors"
	"syscall"

	"ipoib/nl/ipoibnl"
)

// The commands in this file and the ones below are those that ethtool makes
// with an ioctl. Of what they ask for an IPoIB interface has the driver's
// information and the statistics; the others check their words and report
// what the service answers.

// ioctl makes a request; a service that is lost is ECONNREFUSED, which perror
// explains.
func (s *session) ioctl(cmd uint32) (ipoibnl.EthtoolReply, syscall.Errno) {
	r, err := s.endpoint.Legacy(ipoibnl.EthtoolRequest{Ifname: s.dev, Cmd: cmd})
	var errno syscall.Errno
	if err != nil && !errors.As(err, &errno) {
		s.lost, errno = err, syscall.ECONNREFUSED
	}
	return r, errno
}

// perror prints an error behind what could not be done.
func (s *session) perror(text string, errno syscall.Errno) {
	if s.lost != nil {
		s.errorf("ipoib-ethtool: %v\n", s.lost)
		return
	}
	s.errorf("%s: %s\n", text, strerror(errno))
}

// step is a request of a command, with its text and exit code for a failure.
type step struct {
	cmd  uint32
	text string
	code int
}

// steps makes requests until one fails.
func (s *session) steps(list ...step) int {
	for _, st := range list {
		if _, errno := s.ioctl(st.cmd); errno != 0 {
			s.perror(st.text, errno)
			return st.code
		}
	}
	return 0
}

// driverInfo is -i.
func driverInfo(s *session) int {
	if len(s.args) != 0 {
		return s.badArgs()
	}
	r, errno := s.ioctl(ipoibnl.EthtoolGDrvInfo)
	if errno != 0 {
		s.perror("Cannot get driver information", errno)
		return 71
	}
	s.out.printf("driver: %s\nversion: %s\nfirmware-version: %s\nexpansion-rom-version: \nbus-info: %s\n",
		r.Driver, r.Version, r.Firmware, r.Bus)
	s.out.printf("supports-statistics: %s\n", yesNo(r.NumStats != 0, "yes", "no"))
	s.out.print("supports-test: no\nsupports-eeprom-access: no\nsupports-register-dump: no\nsupports-priv-flags: no\n")
	return 0
}

// nicStats is -S without groups.
func nicStats(s *session) int {
	if len(s.args) != 0 {
		return s.badArgs()
	}
	if code := s.steps(step{ipoibnl.EthtoolGSsetInfo, "Cannot get stats strings information", 96}); code != 0 {
		return code
	}
	r, errno := s.ioctl(ipoibnl.EthtoolGStats)
	switch {
	case errno == syscall.EOPNOTSUPP || errno == 0 && len(r.Stats) == 0:
		s.errorf("no stats available\n")
		return 94
	case errno != 0:
		s.perror("Cannot get stats information", errno)
		return 97
	}
	s.out.print("NIC statistics:\n")
	for _, c := range r.Stats {
		s.out.printf("     %s: %d\n", c.Name, c.Value)
	}
	return 0
}

// phyStats is --phy-statistics, of which the driver has none.
func phyStats(s *session) int {
	if len(s.args) != 0 {
		return s.badArgs()
	}
	if code := s.steps(step{ipoibnl.EthtoolGSsetInfo, "Cannot get stats strings information", 96}); code != 0 {
		return code
	}
	s.errorf("no stats available\n")
	return 94
}

func registerDump(s *session) int {
	if !s.words(word{"raw", isOnOff}, word{"hex", isOnOff}, word{"file", anyWord}) {
		return s.badArgs()
	}
	return s.steps(
		step{ipoibnl.EthtoolGDrvInfo, "Cannot get driver information", 72},
		step{ipoibnl.EthtoolGRegs, "Cannot get register dump", 74},
	)
}

func dumpEEPROM(s *session) int {
	if !s.words(word{"offset", upTo(max32)}, word{"length", upTo(max32)}, word{"raw", isOnOff}) {
		return s.badArgs()
	}
	return s.steps(
		step{ipoibnl.EthtoolGDrvInfo, "Cannot get driver information", 74},
		step{ipoibnl.EthtoolGEEPROM, "Cannot get EEPROM data", 74},
	)
}

// changeEEPROM is -E: an EEPROM of no bytes cannot be changed.
func changeEEPROM(s *session) int {
	var offset, length, value *uint64
	if !s.words(word{"magic", upTo(max32)}, word{"offset", into(&offset, max32)}, word{"length", into(&length, max32)},
		word{"value", into(&value, max8)}) {
		return s.badArgs()
	}
	if code := s.steps(step{ipoibnl.EthtoolGDrvInfo, "Cannot get driver information", 74}); code != 0 {
		return code
	}
	n := uint64(0)
	switch {
	case length != nil:
		n = *length
	case value != nil:
		n = 1
	}
	if value != nil && n != 1 {
		s.errorf("value requires length 1\n")
		return 1
	}
	if offset != nil {
		n += *offset
	}
	if uint32(n) != 0 {
		s.errorf("offset & length out of bounds\n")
		return 1
	}
	s.errorf("not enough data from stdin\n")
	return 75
}

// minusOne is the exit code of a command that returns the ioctl's -1.
const minusOne = 255

func negotiate(s *session) int {
	if len(s.args) != 0 {
		return s.badArgs()
	}
	return s.steps(step{ipoibnl.EthtoolNWayRst, "Cannot restart autonegotiation", minusOne})
}

func identify(s *session) int {
	if len(s.args) > 1 {
		return s.badArgs()
	}
	if len(s.args) == 1 {
		if _, ok := inRange(s.args[0], -1<<31, 1<<31-1); !ok {
			return s.badArgs()
		}
	}
	return s.steps(step{ipoibnl.EthtoolPhysID, "Cannot identify NIC", minusOne})
}

func selfTest(s *session) int {
	if len(s.args) > 1 {
		return s.badArgs()
	}
	if len(s.args) == 1 {
		switch s.args[0] {
		case "online", "offline", "external_lb":
		default:
			return s.badArgs()
		}
	}
	return s.steps(
		step{ipoibnl.EthtoolGSsetInfo, "Cannot get strings", 74},
		step{ipoibnl.EthtoolTest, "Cannot test", 74},
	)
}

// maxFlashName is the longest name of a firmware file, in bytes.
const maxFlashName = 127

func flash(s *session) int {
	if len(s.args) < 1 || len(s.args) > 2 {
		return s.badArgs()
	}
	if len(s.args) == 2 {
		if v, _ := cstrtoul(s.args[1], 0); int32(v) < 0 {
			return s.badArgs()
		}
	}
	if len(s.args[0]) > maxFlashName {
		s.out.print("Filename too long\n")
		return 99
	}
	return s.steps(step{ipoibnl.EthtoolFlashDev, "Flashing failed", minusOne})
}

func getDump(s *session) int {
	if len(s.args) != 0 && (len(s.args) != 2 || s.args[0] != "data") {
		return s.badArgs()
	}
	return s.steps(step{ipoibnl.EthtoolGetDumpFlag, "Can not get dump level", 1})
}

func setDump(s *session) int {
	if len(s.args) != 1 {
		return s.badArgs()
	}
	if _, ok := number(s.args[0], max32); !ok {
		return s.badArgs()
	}
	return s.steps(step{ipoibnl.EthtoolSetDump, "Can not set dump level", 1})
}

// wholeEEPROM is -m with hex or raw on.
func wholeEEPROM(s *session) int {
	var raw, hex bool
	if !s.words(word{"offset", upTo(max32)}, word{"length", upTo(max32)}, word{"raw", onInto(&raw)}, word{"hex", onInto(&hex)}) {
		return s.badArgs()
	}
	if raw && hex {
		s.out.print("Hex and raw dump cannot be specified together\n")
		return 1
	}
	return s.steps(step{ipoibnl.EthtoolGModuleInfo, "Cannot get module EEPROM information", 1})
}

// noOld is the old way of commands that have a message: the service has it,
// so there is none.
func noOld(s *session) int {
	s.errorf("netlink error: %s\n", strerror(syscall.EOPNOTSUPP))
	return 1
}
