package ipoibnl

// Commands of EthtoolRequest (uapi/linux/ethtool.h).
const (
	EthtoolGDrvInfo    uint32 = 0x03
	EthtoolGRegs       uint32 = 0x04
	EthtoolNWayRst     uint32 = 0x09
	EthtoolGEEPROM     uint32 = 0x0b
	EthtoolTest        uint32 = 0x1a
	EthtoolGStrings    uint32 = 0x1b
	EthtoolPhysID      uint32 = 0x1c
	EthtoolGStats      uint32 = 0x1d
	EthtoolGFlags      uint32 = 0x25
	EthtoolGRxFH       uint32 = 0x29
	EthtoolSRxFH       uint32 = 0x2a
	EthtoolGRxRings    uint32 = 0x2d
	EthtoolGRxClsRlCnt uint32 = 0x2e
	EthtoolGRxClsRule  uint32 = 0x2f
	EthtoolSRxClsRlDel uint32 = 0x31
	EthtoolSRxClsRlIns uint32 = 0x32
	EthtoolFlashDev    uint32 = 0x33
	EthtoolReset       uint32 = 0x34
	EthtoolGSsetInfo   uint32 = 0x37
	EthtoolGChannels   uint32 = 0x3c
	EthtoolSetDump     uint32 = 0x3e
	EthtoolGetDumpFlag uint32 = 0x3f
	EthtoolGModuleInfo uint32 = 0x42
	EthtoolGTunable    uint32 = 0x48
	EthtoolSTunable    uint32 = 0x49
	EthtoolPerQueue    uint32 = 0x4b
	EthtoolPHYGTunable uint32 = 0x4e
	EthtoolPHYSTunable uint32 = 0x4f
)

// EthtoolRequest is a request that ethtool makes with the ioctl SIOCETHTOOL
// and has no netlink message for. What the driver does not have is
// EOPNOTSUPP, a privileged command without privilege EPERM.
type EthtoolRequest struct {
	Ifname string `nl:"1"`
	Cmd    uint32 `nl:"2"`
}

// EthtoolReply answers EthtoolGDrvInfo and EthtoolGStats; for other commands
// that succeed it is empty.
type EthtoolReply struct {
	// Driver, Version, Firmware and Bus are the texts of struct
	// ethtool_drvinfo.
	Driver   string `nl:"1"`
	Version  string `nl:"2"`
	Firmware string `nl:"3"`
	Bus      string `nl:"4"`
	// Stats are the statistics in the driver's order.
	Stats []Counter `nl:"5"`
	// NumStats is the number of statistics, of EthtoolGDrvInfo.
	NumStats uint32 `nl:"6"`
}

// EthtoolPublic reports whether a command needs no privilege (kernel
// dev_ethtool).
func EthtoolPublic(cmd uint32) bool {
	switch cmd {
	case EthtoolGDrvInfo, EthtoolGStrings, EthtoolGStats, EthtoolGSsetInfo, EthtoolGFlags, EthtoolGRxFH,
		EthtoolGRxRings, EthtoolGRxClsRlCnt, EthtoolGRxClsRule, EthtoolGChannels, EthtoolGTunable,
		EthtoolPHYGTunable:
		return true
	}
	return false
}
