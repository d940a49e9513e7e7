package mad

import "fmt"

// Class is a management class (IBA 13.4.4).
type Class uint8

// The classes.
const (
	ClassSM         Class = 0x01 // subnet management, LID routed
	ClassSA         Class = 0x03 // subnet administration
	ClassPerf       Class = 0x04 // performance management
	ClassBM         Class = 0x05 // baseboard management
	ClassDM         Class = 0x06 // device management
	ClassCM         Class = 0x07 // communication management
	ClassSNMP       Class = 0x08 // SNMP tunnelling
	ClassCC         Class = 0x21 // congestion control
	ClassSMDirected Class = 0x81 // subnet management, directed route
)

var classNames = map[Class]string{
	ClassSM: "SubnMgt", ClassSA: "SubnAdm", ClassPerf: "PerfMgt", ClassBM: "BM",
	ClassDM: "DevMgt", ClassCM: "ComMgt", ClassSNMP: "SNMP", ClassCC: "CC",
	ClassSMDirected: "SubnMgtDirected",
}

// String prints the IBA name.
func (c Class) String() string {
	if n, ok := classNames[c]; ok {
		return n
	}
	return fmt.Sprintf("Class(0x%02x)", uint8(c))
}

// Version returns the class version that the class has today.
func (c Class) Version() uint8 {
	switch c {
	case ClassSA, ClassCC:
		return SAClassVersion
	case ClassCM:
		return CMClassVersion
	default:
		return SMClassVersion
	}
}

// IsSMP reports whether the class belongs to QP0.
func (c Class) IsSMP() bool { return c == ClassSM || c == ClassSMDirected }

// Method is a method, with bit 7 set in responses (IBA 13.4.5).
type Method uint8

// The methods. The table and multi methods and Delete are of the SA class
// (IBA 15.2.2).
const (
	MethodGet           Method = 0x01
	MethodSet           Method = 0x02
	MethodSend          Method = 0x03
	MethodTrap          Method = 0x05
	MethodReport        Method = 0x06
	MethodTrapRepress   Method = 0x07
	MethodGetTable      Method = 0x12
	MethodGetTraceTable Method = 0x13
	MethodGetMulti      Method = 0x14
	MethodDelete        Method = 0x15

	MethodGetResp      Method = 0x81 // also answers Set
	MethodReportResp   Method = 0x86
	MethodGetTableResp Method = 0x92
	MethodGetMultiResp Method = 0x94
	MethodDeleteResp   Method = 0x95

	methodResponse Method = 0x80
)

var methodNames = map[Method]string{
	MethodGet: "Get", MethodSet: "Set", MethodSend: "Send", MethodTrap: "Trap",
	MethodReport: "Report", MethodTrapRepress: "TrapRepress", MethodGetTable: "GetTable",
	MethodGetTraceTable: "GetTraceTable", MethodGetMulti: "GetMulti", MethodDelete: "Delete",
	MethodGetResp: "GetResp", MethodReportResp: "ReportResp",
	MethodGetTableResp: "GetTableResp", MethodGetMultiResp: "GetMultiResp",
	MethodDeleteResp: "DeleteResp",
}

// String prints the IBA name.
func (m Method) String() string {
	if n, ok := methodNames[m]; ok {
		return n
	}
	return fmt.Sprintf("Method(0x%02x)", uint8(m))
}

// IsResponse reports whether bit 7 is set.
func (m Method) IsResponse() bool { return m&methodResponse != 0 }

// Response returns the method that answers m: GetResp for Get and Set,
// TrapRepress for Trap, GetTableResp for GetTraceTable, m with bit 7 set
// otherwise.
func (m Method) Response() Method {
	switch m {
	case MethodSet:
		return MethodGetResp
	case MethodTrap:
		return MethodTrapRepress
	case MethodGetTraceTable:
		return MethodGetTableResp
	}
	return m | methodResponse
}
