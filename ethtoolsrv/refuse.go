package ethtoolsrv

import (
	"math/bits"
	"syscall"

	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// What the driver has no operation for. The core refuses it with EOPNOTSUPP,
// after the checks that it makes itself.

// nothing is the get of a command without an operation.
func nothing(*query) (getFunc, error) {
	return func(*query) (fillFunc, error) { return nil, syscall.EOPNOTSUPP }, nil
}

// refuse is the set of a command without an operation.
func refuse(*query) error { return syscall.EOPNOTSUPP }

// headerOnly answers with nothing but the header.
func headerOnly(*query) (fillFunc, error) { return func(*nl.Encoder) {}, nil }

func noTunnels(*query) (getFunc, error) {
	return func(*query) (fillFunc, error) {
		return nil, nl.Errorf(syscall.EOPNOTSUPP, "device does not report tunnel offload info")
	}, nil
}

func noPHY(*query) (getFunc, error) {
	return func(*query) (fillFunc, error) { return nil, nl.Errorf(syscall.EOPNOTSUPP, "No PHY is attached") }, nil
}

func refusePSE(*query) error { return nl.Errorf(syscall.EOPNOTSUPP, "No PHY is attached") }

// noEEPROM checks what part of a module's memory is asked for (kernel
// eeprom_parse_request).
func noEEPROM(q *query) (getFunc, error) {
	const half = 128 // ETH_MODULE_EEPROM_PAGE_LEN
	offset, ok1 := q.Attrs.Get(ethnl.ModuleEEPROMOffset)
	length, ok2 := q.Attrs.Get(ethnl.ModuleEEPROMLength)
	page, ok3 := q.Attrs.Get(ethnl.ModuleEEPROMPage)
	if !ok1 || !ok2 || !ok3 || !q.Attrs.Has(ethnl.ModuleEEPROMI2CAddress) {
		return nil, syscall.EINVAL
	}
	from, to := offset.Uint32(), offset.Uint32()+length.Uint32()
	switch {
	case page.Uint8() != 0 && from < half:
		return nil, nl.BadAttr(syscall.EINVAL, page, "reading from lower half page is allowed for page 0 only")
	case from < half && to > half:
		return nil, nl.BadAttr(syscall.EINVAL, length, "reading cross half page boundary is illegal")
	case to > 2*half:
		return nil, nl.BadAttr(syscall.EINVAL, length, "reading cross page boundary is illegal")
	}
	return nothing(q)
}

// refuseLinkModes refuses values that no driver takes first (kernel
// ethnl_check_linkmodes).
func refuseLinkModes(q *query) error {
	// MASTER_SLAVE_CFG_MASTER_PREFERRED to _SLAVE_FORCE.
	if a, ok := q.Attrs.Get(ethnl.LinkModesMasterSlaveCfg); ok && (a.Uint8() < 2 || a.Uint8() > 5) {
		return nl.BadAttr(syscall.EOPNOTSUPP, a, "master/slave value is invalid")
	}
	if a, ok := q.Attrs.Get(ethnl.LinkModesLanes); ok && bits.OnesCount32(a.Uint32()) != 1 {
		return nl.BadAttr(syscall.EINVAL, a, "lanes value is invalid")
	}
	return syscall.EOPNOTSUPP
}

func refusePrivFlags(q *query) error {
	if !q.Attrs.Has(ethnl.PrivFlagsFlags) {
		return syscall.EINVAL
	}
	return syscall.EOPNOTSUPP
}

// refuseRings names the parameter that the driver does not have (kernel
// ethnl_set_rings_validate).
func refuseRings(q *query) error {
	for _, p := range []struct {
		attr uint16
		text string
	}{
		{ethnl.RingsRxBufLen, "setting rx buf len not supported"},
		{ethnl.RingsCQESize, "setting cqe size not supported"},
		{ethnl.RingsTxPush, "setting tx push not supported"},
	} {
		if a, ok := q.Attrs.Get(p.attr); ok {
			return nl.BadAttr(syscall.EOPNOTSUPP, a, p.text)
		}
	}
	return syscall.EOPNOTSUPP
}

// refuseModule is a success when nothing is asked for.
func refuseModule(q *query) error {
	if a, ok := q.Attrs.Get(ethnl.ModulePowerModePolicy); ok {
		return nl.BadAttr(syscall.EOPNOTSUPP, a, "Setting power mode policy is not supported by this device")
	}
	return nil
}
