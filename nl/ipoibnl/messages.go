package ipoibnl

import "net/netip"

// Name and Version of the family.
const (
	Name    = "ipoib"
	Version = 1
)

// Commands of the family. Those marked admin need CAP_NET_ADMIN over the
// caller's network namespace, those marked service in the service's own.
const (
	CmdServiceGet     uint8 = iota + 1 // Service
	CmdServiceStop                     // ServiceStop (service)
	CmdNeighGet                        // dump of Neigh
	CmdNeighSet                        // Neigh (admin)
	CmdNeighDel                        // Neigh; without IP all that are not permanent (admin)
	CmdPathGet                         // dump of Path
	CmdGroupGet                        // dump of Group
	CmdStatsGet                        // dump of Stats
	CmdNodeGet                         // dump of Node
	CmdPartitionGet                    // dump of Partition
	CmdFabricGroupGet                  // dump of FabricGroup
	CmdManagerGet                      // Manager
	CmdHCAGet                          // dump of HCA
	CmdHCAAdd                          // HCA (service)
	CmdHCADel                          // HCA by name (service)
	CmdCapture                         // Capture: answered by CaptureData until the client leaves (service)
	CmdFault                           // Fault (service)
	CmdEthtool                         // EthtoolRequest, answered by EthtoolReply
	CmdParamGet                        // dump of Param
	CmdParamSet                        // Param by name (service)
	CmdLog                             // LogFollow: answered by LogLine until the client leaves (service)
	CmdConnGet                         // dump of Conn
)

// Filter limits a dump to an interface, by index or name.
type Filter struct {
	Ifindex uint32 `nl:"1"`
	Ifname  string `nl:"2"`
}

// Service describes the running service.
type Service struct {
	Version string `nl:"1" json:"version"`
	PID     uint32 `nl:"2" json:"pid"`
	// Started is in seconds of the Unix epoch.
	Started uint64 `nl:"3" json:"started"`
	RunDir  string `nl:"4" json:"run_dir"`
	// Interfaces counts those of all namespaces.
	Interfaces uint32 `nl:"5" json:"interfaces"`
	Fabric     string `nl:"6" json:"fabric"`
}

// ServiceStop ends the service; with Teardown nothing stays behind.
type ServiceStop struct {
	Teardown bool `nl:"1"`
}

// Neigh is an entry of an interface's neighbour cache.
type Neigh struct {
	Ifindex   uint32     `nl:"1" json:"ifindex"`
	Ifname    string     `nl:"2" json:"dev"`
	IP        netip.Addr `nl:"3" json:"dst"`
	Addr      []byte     `nl:"4" json:"-"` // 20 octets, empty until known
	State     string     `nl:"5" json:"state"`
	Transport string     `nl:"6" json:"transport,omitempty"`
	QPN       uint32     `nl:"7" json:"qpn,omitempty"`
	MTU       uint32     `nl:"8" json:"mtu,omitempty"`
	LID       uint16     `nl:"9" json:"lid,omitempty"`
	Router    bool       `nl:"10" json:"router,omitempty"`
	Queued    uint32     `nl:"11" json:"queued,omitempty"`
	// IdleMS is the time since the last use in milliseconds.
	IdleMS uint64 `nl:"12" json:"idle_ms"`
	// LocalQPN is the queue pair that packets are sent from; Connection the
	// state of the connection, empty to neighbours that take none.
	LocalQPN   uint32 `nl:"13" json:"local_qpn,omitempty"`
	Connection string `nl:"14" json:"connection,omitempty"`
}

// Conn is a reliable connection of an interface.
type Conn struct {
	Ifindex uint32 `nl:"1" json:"ifindex"`
	Ifname  string `nl:"2" json:"dev"`
	Addr    []byte `nl:"3" json:"-"` // 20 octets, flags zero; empty when unknown
	// Active: this side asked for it. State is the communication manager's.
	Active    bool   `nl:"4" json:"active"`
	State     string `nl:"5" json:"state"`
	LocalQPN  uint32 `nl:"6" json:"local_qpn"`
	RemoteQPN uint32 `nl:"7" json:"remote_qpn,omitempty"`
	MTU       uint32 `nl:"8" json:"mtu,omitempty"`
}

// Path is a path record of an interface.
type Path struct {
	Ifindex  uint32   `nl:"1" json:"ifindex"`
	Ifname   string   `nl:"2" json:"dev"`
	GID      [16]byte `nl:"3" json:"-"`
	State    string   `nl:"4" json:"state"`
	Complete bool     `nl:"5" json:"complete"`
	DLID     uint16   `nl:"6" json:"dlid"`
	SL       uint8    `nl:"7" json:"sl"`
	RateMbps uint32   `nl:"8" json:"rate_mbps"`
	MTU      uint32   `nl:"9" json:"mtu"`
	HopLimit uint8    `nl:"10" json:"hop_limit"`
}

// Group is a multicast group of an interface.
type Group struct {
	Ifindex   uint32   `nl:"1" json:"ifindex"`
	Ifname    string   `nl:"2" json:"dev"`
	MGID      [16]byte `nl:"3" json:"-"`
	State     string   `nl:"4" json:"state"`
	Complete  bool     `nl:"5" json:"complete"`
	SendOnly  bool     `nl:"6" json:"send_only"`
	NonMember bool     `nl:"7" json:"non_member"`
	Broadcast bool     `nl:"8" json:"broadcast"`
	MLID      uint16   `nl:"9" json:"mlid"`
	QKey      uint32   `nl:"10" json:"qkey"`
	MTU       uint32   `nl:"11" json:"mtu"`
	RateMbps  uint32   `nl:"12" json:"rate_mbps"`
	SL        uint8    `nl:"13" json:"sl"`
	Queued    uint32   `nl:"14" json:"queued"`
	// CreatedMS is when the entry was made, in milliseconds of the Unix epoch.
	CreatedMS uint64 `nl:"15" json:"created_ms"`
}

// Counter is a named value.
type Counter struct {
	Name  string `nl:"1" json:"name"`
	Value uint64 `nl:"2" json:"value"`
}

// Stats are the counters of an interface: the standard ones, then the drops by
// reason.
type Stats struct {
	Ifindex  uint32    `nl:"1" json:"ifindex"`
	Ifname   string    `nl:"2" json:"dev"`
	Counters []Counter `nl:"3" json:"counters"`
	Drops    []Counter `nl:"4" json:"drops"`
}

// FabricPort is a port of a node of the fabric.
type FabricPort struct {
	Num       uint8  `nl:"1" json:"port"`
	GUID      uint64 `nl:"2" json:"-"`
	LID       uint16 `nl:"3" json:"lid"`
	State     uint8  `nl:"4" json:"state"`
	PhysState uint8  `nl:"5" json:"phys_state"`
	// Rate is the nominal rate as text, RateMbps the signalling rate.
	Rate     string `nl:"6" json:"rate"`
	RateMbps uint32 `nl:"7" json:"rate_mbps"`
	MTU      uint32 `nl:"8" json:"mtu"`
	PeerNode string `nl:"9" json:"peer_node,omitempty"`
	PeerPort uint8  `nl:"10" json:"peer_port,omitempty"`
	PKeys    []byte `nl:"11" json:"-"` // 2 bytes each, big endian
}

// Node is a channel adapter or a switch as the subnet manager sees it.
type Node struct {
	GUID  uint64       `nl:"1" json:"-"`
	Type  uint8        `nl:"2" json:"-"` // 1 CA, 2 switch, 3 router
	Desc  string       `nl:"3" json:"desc"`
	Ports []FabricPort `nl:"4" json:"ports"`
}

// PartitionMember is a port in a partition.
type PartitionMember struct {
	GUID uint64 `nl:"1" json:"-"`
	// Membership is "full", "limited" or "both".
	Membership string `nl:"2" json:"membership"`
	Node       string `nl:"3" json:"node"`
	Port       uint8  `nl:"4" json:"port"`
}

// Partition is a partition of the subnet.
type Partition struct {
	PKey    uint16            `nl:"1" json:"-"`
	Name    string            `nl:"2" json:"name"`
	IPoIB   bool              `nl:"3" json:"ipoib"`
	Members []PartitionMember `nl:"4" json:"members"`
}

// GroupMember is a port in a multicast group.
type GroupMember struct {
	GID       [16]byte `nl:"1" json:"-"`
	JoinState uint8    `nl:"2" json:"join_state"`
	Node      string   `nl:"3" json:"node"`
}

// FabricGroup is a multicast group of the subnet.
type FabricGroup struct {
	MGID     [16]byte      `nl:"1" json:"-"`
	MLID     uint16        `nl:"2" json:"mlid"`
	PKey     uint16        `nl:"3" json:"-"`
	QKey     uint32        `nl:"4" json:"qkey"`
	MTU      uint32        `nl:"5" json:"mtu"`
	RateMbps uint32        `nl:"6" json:"rate_mbps"`
	SL       uint8         `nl:"7" json:"sl"`
	Scope    uint8         `nl:"8" json:"scope"`
	Members  []GroupMember `nl:"9" json:"members"`
}

// Manager is the state of the subnet manager.
type Manager struct {
	State    string `nl:"1" json:"state"`
	GUID     uint64 `nl:"2" json:"-"`
	LID      uint16 `nl:"3" json:"lid"`
	Priority uint8  `nl:"4" json:"priority"`
	// Prefix is the subnet prefix.
	Prefix uint64 `nl:"5" json:"-"`
	Ready  bool   `nl:"6" json:"ready"`
	// Paused is set while the SA is kept silent.
	Paused bool `nl:"7" json:"paused"`
	// Sweeps and LightSweeps count; LastSweepUS is the duration of the last
	// heavy sweep in microseconds.
	Sweeps      uint64 `nl:"8" json:"sweeps"`
	LightSweeps uint64 `nl:"9" json:"light_sweeps"`
	LastSweepUS uint64 `nl:"10" json:"last_sweep_us"`
}

// HCA is a channel adapter of the service, and the request to add one.
type HCA struct {
	Name     string `nl:"1" json:"name"`
	NodeGUID uint64 `nl:"2" json:"-"`
	Ports    uint8  `nl:"3" json:"ports"`
	Desc     string `nl:"4" json:"desc"`
	MTU      uint32 `nl:"5" json:"mtu"`
	Speed    string `nl:"6" json:"speed"`
	Width    string `nl:"7" json:"width"`
	Profile  string `nl:"8" json:"profile"`
	// NetNS names the namespace in /run/netns that the interfaces of a new
	// adapter are made in; empty is the service's.
	NetNS string `nl:"9" json:"netns,omitempty"`
	// Ifnames are the names of its parent interfaces, and in a request the
	// name of the first ("ib%d" if empty).
	Ifnames []string `nl:"10" json:"ifnames"`
	Ifname  string   `nl:"11" json:"-"`
	// Owner marks adapters that belong together, such as "lab".
	Owner string `nl:"12" json:"owner,omitempty"`
}

// Capture starts a capture at a port of the fabric: of a channel adapter
// ("soft0/1"), of the port behind an interface, or of a switch
// ("switch/<number>/<port>").
type Capture struct {
	Port   string `nl:"1"`
	Ifname string `nl:"2"`
}

// CaptureData is one captured frame, LRH to VCRC. Dropped counts the frames
// that were lost since the one before because the client was too slow.
type CaptureData struct {
	TimeNS  uint64 `nl:"1"`
	Out     bool   `nl:"2"`
	Frame   []byte `nl:"3"`
	Dropped uint32 `nl:"4"`
}

// Fault changes how the fabric misbehaves, for tests of what runs on it.
type Fault struct {
	// What is "link" or "sm".
	What string `nl:"1"`
	// Port is the fabric port that a link fault applies to, as in Capture.
	Port   string `nl:"2"`
	Ifname string `nl:"3"`
	// Action is "up", "down", "set" (link); "pause", "resume", "restart",
	// "sweep", "reload" of the partition file, "lid" of a port (sm).
	Action string `nl:"4"`
	// LossPPM, DuplicatePPM, CorruptPPM and ReorderPPM are probabilities in
	// parts per million; DelayUS is in microseconds, RateMbps 0 is unlimited.
	LossPPM      uint32 `nl:"5"`
	DuplicatePPM uint32 `nl:"6"`
	CorruptPPM   uint32 `nl:"7"`
	ReorderPPM   uint32 `nl:"8"`
	DelayUS      uint32 `nl:"9"`
	RateMbps     uint32 `nl:"10"`
	// LID is what the port gets.
	LID uint16 `nl:"11"`
}

// Param is a module parameter of the driver.
type Param struct {
	Name string `nl:"1" json:"name"`
	// Value is decimal in answers; in requests it is what would be written
	// to the parameter's file.
	Value    string `nl:"2" json:"value"`
	Writable bool   `nl:"3" json:"writable"`
}

// LogFollow asks for the log.
type LogFollow struct {
	// Lines of the past come first, up to this number.
	Lines uint32 `nl:"1"`
	// End closes the answer behind them.
	End bool `nl:"2"`
}

// LogLine is one line of the log.
type LogLine struct {
	// TimeNS is in nanoseconds of the Unix epoch.
	TimeNS uint64 `nl:"1" json:"time_ns"`
	// Level is "DEBUG", "INFO", "WARN" or "ERROR".
	Level  string `nl:"2" json:"level"`
	Ifname string `nl:"3" json:"ifname,omitempty"`
	Text   string `nl:"4" json:"text"`
	// Lost counts lines that the client did not read in time, so far.
	Lost uint32 `nl:"5" json:"lost,omitempty"`
	// Last marks the end of a log that is not followed; it has no text.
	Last bool `nl:"6" json:"-"`
}
