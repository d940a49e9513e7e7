package ipoibface

import (
	"syscall"

	"ipoib/datapath"
	"ipoib/nl"
	"ipoib/nl/genl"
	"ipoib/nl/ipoibnl"
)

// driverName is DRV_NAME of the kernel's driver.
const driverName = "ib_ipoib"

// ethtool answers what ethtool asks by ioctl (kernel dev_ethtool). Of the
// driver's operations only drvinfo and the statistics are of that kind.
func (f *face) ethtool(r *genl.Request) error {
	var q ipoibnl.EthtoolRequest
	if err := ipoibnl.UnmarshalAttrs(r.Attrs, &q); err != nil {
		return err
	}
	i, err := f.iface(r, 0, q.Ifname)
	if err != nil {
		return syscall.ENODEV
	}
	if !ipoibnl.EthtoolPublic(q.Cmd) && !r.NetCapable(nl.CapNetAdmin) {
		return syscall.EPERM
	}
	var resp ipoibnl.EthtoolReply
	switch q.Cmd {
	case ipoibnl.EthtoolGDrvInfo:
		attr := i.Port().Device().Attr()
		resp.Driver, resp.Version = driverName, f.Service.Info().Version
		resp.Firmware, resp.Bus = attr.FirmwareVersion, attr.BusInfo
		resp.NumStats = uint32(len(datapath.StatNames()))
	case ipoibnl.EthtoolGStats:
		for n, v := range i.Stats().Values() {
			resp.Stats = append(resp.Stats, ipoibnl.Counter{Name: datapath.StatNames()[n], Value: v})
		}
	case ipoibnl.EthtoolGSsetInfo, ipoibnl.EthtoolGFlags, ipoibnl.EthtoolFlashDev:
		// They succeed. Flashing goes to devlink, which has no such device
		// and says nothing.
	default:
		return syscall.EOPNOTSUPP
	}
	return reply(r, ipoibnl.CmdEthtool, resp)
}
