package mad

// CapMask is PortInfo.CapabilityMask (IBA table 146).
type CapMask uint32

// The bits.
const (
	CapIsSM                         CapMask = 1 << 1
	CapNotice                       CapMask = 1 << 2
	CapTrap                         CapMask = 1 << 3
	CapOptionalIPD                  CapMask = 1 << 4
	CapAutomaticMigration           CapMask = 1 << 5
	CapSLMapping                    CapMask = 1 << 6
	CapMKeyNVRAM                    CapMask = 1 << 7
	CapPKeyNVRAM                    CapMask = 1 << 8
	CapLEDInfo                      CapMask = 1 << 9
	CapSMDisabled                   CapMask = 1 << 10
	CapSystemImageGUID              CapMask = 1 << 11
	CapPKeySwitchExternalPortTrap   CapMask = 1 << 12
	CapCableInfo                    CapMask = 1 << 13
	CapExtendedSpeeds               CapMask = 1 << 14
	CapCapMask2                     CapMask = 1 << 15
	CapCommunicationManagement      CapMask = 1 << 16
	CapSNMPTunneling                CapMask = 1 << 17
	CapReinit                       CapMask = 1 << 18
	CapDeviceManagement             CapMask = 1 << 19
	CapVendorClass                  CapMask = 1 << 20
	CapDRNotice                     CapMask = 1 << 21
	CapCapabilityMaskNotice         CapMask = 1 << 22
	CapBootManagement               CapMask = 1 << 23
	CapLinkRoundTripLatency         CapMask = 1 << 24
	CapClientReregister             CapMask = 1 << 25
	CapOtherLocalChangesNotice      CapMask = 1 << 26
	CapLinkSpeedWidthPairsTable     CapMask = 1 << 27
	CapVendorSpecificMADs           CapMask = 1 << 28
	CapMulticastPKeyTrapSuppression CapMask = 1 << 29
	CapMulticastFDBTop              CapMask = 1 << 30
	CapHierarchyInfo                CapMask = 1 << 31
)

// Has reports whether all bits of v are set.
func (c CapMask) Has(v CapMask) bool { return c&v == v }

// CapMask2 is PortInfo.CapabilityMask2, valid with CapCapMask2.
type CapMask2 uint16

// The bits.
const (
	Cap2SetNodeDescription   CapMask2 = 1 << 0
	Cap2PortInfoExtended     CapMask2 = 1 << 1
	Cap2Virtualization       CapMask2 = 1 << 2
	Cap2SwitchPortStateTable CapMask2 = 1 << 3
	Cap2LinkWidth2X          CapMask2 = 1 << 4
	Cap2LinkSpeedHDR         CapMask2 = 1 << 5
	Cap2LinkSpeedNDR         CapMask2 = 1 << 10
)

// Has reports whether all bits of v are set.
func (c CapMask2) Has(v CapMask2) bool { return c&v == v }
