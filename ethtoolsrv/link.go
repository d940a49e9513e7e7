package ethtoolsrv

import (
	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// linkInfo answers LINKINFO_GET. There is no MDI and no transceiver to tell
// of: the driver leaves them 0.
func linkInfo(q *query) (fillFunc, error) {
	s, err := q.dev.LinkSettings()
	if err != nil {
		return nil, err
	}
	return func(e *nl.Encoder) {
		e.U8(ethnl.LinkInfoPort, s.Port)
		e.U8(ethnl.LinkInfoPhyAddr, s.PhyAddr)
		e.U8(ethnl.LinkInfoTPMDIX, 0)
		e.U8(ethnl.LinkInfoTPMDIXCtrl, 0)
		e.U8(ethnl.LinkInfoTransceiver, 0)
	}, nil
}

// linkModes answers LINKMODES_GET: InfiniBand has no link modes.
func linkModes(q *query) (fillFunc, error) {
	s, err := q.dev.LinkSettings()
	if err != nil {
		return nil, err
	}
	names := ethnl.GlobalStrings(ethnl.SetLinkModes)
	none := ethnl.NewBitmap(len(names))
	ours := ethnl.Bitset{Size: len(names), Value: none, Mask: none, Names: names}
	return func(e *nl.Encoder) {
		e.U8(ethnl.LinkModesAutoneg, flag(s.Autoneg))
		ours.Append(e, ethnl.LinkModesOurs, q.hdr.Compact())
		e.U32(ethnl.LinkModesSpeed, uint32(int32(s.Speed)))
		e.U8(ethnl.LinkModesDuplex, s.Duplex)
		e.U8(ethnl.LinkModesRateMatching, 0)
	}, nil
}

// linkState answers LINKSTATE_GET (kernel ethtool_op_get_link).
func linkState(q *query) (fillFunc, error) {
	return func(e *nl.Encoder) {
		e.U8(ethnl.LinkStateLink, flag(q.info.Up && q.info.Carrier))
	}, nil
}

func flag(on bool) uint8 {
	if on {
		return 1
	}
	return 0
}

// tsInfo answers TSINFO_GET: the core stamps what is received, in software
// (kernel __ethtool_get_ts_info).
func tsInfo(q *query) (fillFunc, error) {
	const rxSoftware, software = 3, 4 // SOF_TIMESTAMPING_RX_SOFTWARE, _SOFTWARE
	names := ethnl.GlobalStrings(ethnl.SetSOFTimestamping)
	can := ethnl.NewBitmap(len(names))
	can.Set(rxSoftware)
	can.Set(software)
	set := ethnl.Bitset{Size: len(names), Value: can, Names: names}
	return func(e *nl.Encoder) {
		set.Append(e, ethnl.TSInfoTimestamping, q.hdr.Compact())
	}, nil
}
