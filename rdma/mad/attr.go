package mad

import "fmt"

// AttrID is an attribute ID. Its meaning depends on the class (Name).
type AttrID uint16

// Attributes of every class (IBA 13.4.8).
const (
	AttrClassPortInfo AttrID = 0x0001
	AttrNotice        AttrID = 0x0002
	AttrInformInfo    AttrID = 0x0003
)

// Attributes of subnet management (IBA 14.2.5).
const (
	AttrNodeDescription          AttrID = 0x0010
	AttrNodeInfo                 AttrID = 0x0011
	AttrSwitchInfo               AttrID = 0x0012
	AttrGUIDInfo                 AttrID = 0x0014
	AttrPortInfo                 AttrID = 0x0015
	AttrPKeyTable                AttrID = 0x0016
	AttrSLtoVLMappingTable       AttrID = 0x0017
	AttrVLArbitrationTable       AttrID = 0x0018
	AttrLinearForwardingTable    AttrID = 0x0019
	AttrRandomForwardingTable    AttrID = 0x001a
	AttrMulticastForwardingTable AttrID = 0x001b
	AttrSMInfo                   AttrID = 0x0020
	AttrVendorDiag               AttrID = 0x0030
	AttrLedInfo                  AttrID = 0x0031
	// AttrMlnxExtendedPortInfo is a vendor's attribute that tells FDR10.
	AttrMlnxExtendedPortInfo AttrID = 0xff90
)

// Attributes of subnet administration (IBA 15.2.5).
const (
	AttrNodeRecord               AttrID = 0x0011
	AttrPortInfoRecord           AttrID = 0x0012
	AttrSLtoVLMappingTableRecord AttrID = 0x0013
	AttrSwitchInfoRecord         AttrID = 0x0014
	AttrLFTRecord                AttrID = 0x0015
	AttrRFTRecord                AttrID = 0x0016
	AttrMFTRecord                AttrID = 0x0017
	AttrSMInfoRecord             AttrID = 0x0018
	AttrLinkRecord               AttrID = 0x0020
	AttrGUIDInfoRecord           AttrID = 0x0030
	AttrServiceRecord            AttrID = 0x0031
	AttrPKeyTableRecord          AttrID = 0x0033
	AttrPathRecord               AttrID = 0x0035
	AttrVLArbitrationTableRecord AttrID = 0x0036
	AttrMCMemberRecord           AttrID = 0x0038
	AttrTraceRecord              AttrID = 0x0039
	AttrMultiPathRecord          AttrID = 0x003a
	AttrServiceAssociationRecord AttrID = 0x003b
	AttrInformInfoRecord         AttrID = 0x00f3
)

// Attributes of performance management (IBA 16.1.3).
const (
	AttrPortSamplesControl   AttrID = 0x0010
	AttrPortSamplesResult    AttrID = 0x0011
	AttrPortCounters         AttrID = 0x0012
	AttrPortCountersExtended AttrID = 0x001d
)

// Messages of communication management (IBA 12.6).
const (
	AttrREQ     AttrID = 0x0010
	AttrMRA     AttrID = 0x0011
	AttrREJ     AttrID = 0x0012
	AttrREP     AttrID = 0x0013
	AttrRTU     AttrID = 0x0014
	AttrDREQ    AttrID = 0x0015
	AttrDREP    AttrID = 0x0016
	AttrSIDRREQ AttrID = 0x0017
	AttrSIDRREP AttrID = 0x0018
	AttrLAP     AttrID = 0x0019
	AttrAPR     AttrID = 0x001a
)

var commonAttrNames = map[AttrID]string{
	AttrClassPortInfo: "ClassPortInfo", AttrNotice: "Notice", AttrInformInfo: "InformInfo",
}

var attrNames = map[Class]map[AttrID]string{
	ClassSM: {
		AttrNodeDescription: "NodeDescription", AttrNodeInfo: "NodeInfo",
		AttrSwitchInfo: "SwitchInfo", AttrGUIDInfo: "GUIDInfo", AttrPortInfo: "PortInfo",
		AttrPKeyTable: "P_KeyTable", AttrSLtoVLMappingTable: "SLtoVLMappingTable",
		AttrVLArbitrationTable:       "VLArbitrationTable",
		AttrLinearForwardingTable:    "LinearForwardingTable",
		AttrRandomForwardingTable:    "RandomForwardingTable",
		AttrMulticastForwardingTable: "MulticastForwardingTable",
		AttrSMInfo:                   "SMInfo", AttrVendorDiag: "VendorDiag", AttrLedInfo: "LedInfo",
		AttrMlnxExtendedPortInfo: "MlnxExtendedPortInfo",
	},
	ClassSA: {
		AttrNodeRecord: "NodeRecord", AttrPortInfoRecord: "PortInfoRecord",
		AttrSLtoVLMappingTableRecord: "SLtoVLMappingTableRecord",
		AttrSwitchInfoRecord:         "SwitchInfoRecord",
		AttrLFTRecord:                "LinearForwardingTableRecord",
		AttrRFTRecord:                "RandomForwardingTableRecord",
		AttrMFTRecord:                "MulticastForwardingTableRecord",
		AttrSMInfoRecord:             "SMInfoRecord", AttrLinkRecord: "LinkRecord",
		AttrGUIDInfoRecord: "GuidInfoRecord", AttrServiceRecord: "ServiceRecord",
		AttrPKeyTableRecord: "P_KeyTableRecord", AttrPathRecord: "PathRecord",
		AttrVLArbitrationTableRecord: "VLArbitrationTableRecord",
		AttrMCMemberRecord:           "MCMemberRecord", AttrTraceRecord: "TraceRecord",
		AttrMultiPathRecord:          "MultiPathRecord",
		AttrServiceAssociationRecord: "ServiceAssociationRecord",
		AttrInformInfoRecord:         "InformInfoRecord",
	},
	ClassPerf: {
		AttrPortSamplesControl: "PortSamplesControl", AttrPortSamplesResult: "PortSamplesResult",
		AttrPortCounters: "PortCounters", AttrPortCountersExtended: "PortCountersExtended",
	},
	ClassCM: {
		AttrREQ: "ConnectRequest", AttrMRA: "MsgRcptAck", AttrREJ: "ConnectReject",
		AttrREP: "ConnectReply", AttrRTU: "ReadyToUse", AttrDREQ: "DisconnectRequest",
		AttrDREP: "DisconnectReply", AttrSIDRREQ: "ServiceIDResReq",
		AttrSIDRREP: "ServiceIDResReqResp", AttrLAP: "LoadAlternatePath",
		AttrAPR: "AlternatePathResponse",
	},
}

// Name returns the IBA name that the ID has in a class, or its number.
func (a AttrID) Name(c Class) string {
	if n, ok := commonAttrNames[a]; ok {
		return n
	}
	if c == ClassSMDirected {
		c = ClassSM
	}
	if n, ok := attrNames[c][a]; ok {
		return n
	}
	return a.String()
}

// String prints the number: a name needs the class, see Name.
func (a AttrID) String() string { return fmt.Sprintf("0x%04x", uint16(a)) }
