package main

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"ipoib/nl/ipoibnl"
	"ipoib/rdma"
	"ipoib/rdma/mad"
)

func fabricCommand(e env) *cli.Command {
	sub := func(name, usage string, show func(*cli.Context, *ipoibnl.Client) (any, error)) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, Flags: []cli.Flag{jsonFlag()},
			Action: func(c *cli.Context) error {
				cl, err := dial(c)
				if err != nil {
					return err
				}
				defer func() { _ = cl.Close() }()
				v, err := show(c, cl)
				if err != nil || !c.Bool("json") {
					return err
				}
				return printJSON(e.out, v)
			},
		}
	}
	return &cli.Command{
		Name: "fabric", Usage: "show the InfiniBand fabric as its subnet manager sees it, and disturb it",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return fmt.Errorf("fabric has no part %q (manager, nodes, partitions, groups, hcas, link, sm)", c.Args().First())
			}
			return fabricAll(c, e)
		},
		Subcommands: []*cli.Command{
			sub("manager", "the subnet manager", func(c *cli.Context, cl *ipoibnl.Client) (any, error) { return showManager(c, e, cl) }),
			sub("nodes", "nodes, ports, LIDs, links", func(c *cli.Context, cl *ipoibnl.Client) (any, error) { return showNodes(c, e, cl) }),
			sub("partitions", "partitions and their members", func(c *cli.Context, cl *ipoibnl.Client) (any, error) { return showPartitions(c, e, cl) }),
			sub("groups", "multicast groups and their members", func(c *cli.Context, cl *ipoibnl.Client) (any, error) { return showGroups(c, e, cl) }),
			sub("hcas", "channel adapters of this service", func(c *cli.Context, cl *ipoibnl.Client) (any, error) { return showHCAs(c, e, cl) }),
			linkFaultCommand(), smFaultCommand(),
		},
	}
}

// fabricAll shows everything, or one JSON object of it.
func fabricAll(c *cli.Context, e env) error {
	cl, err := dial(c)
	if err != nil {
		return err
	}
	defer func() { _ = cl.Close() }()
	all := make(map[string]any)
	for i, part := range []struct {
		name string
		show func(*cli.Context, env, *ipoibnl.Client) (any, error)
	}{
		{"manager", showManager}, {"nodes", showNodes}, {"partitions", showPartitions}, {"groups", showGroups},
	} {
		if i > 0 && !c.Bool("json") {
			fmt.Fprintln(e.out)
		}
		if all[part.name], err = part.show(c, e, cl); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return printJSON(e.out, all)
	}
	return nil
}

func showManager(c *cli.Context, e env, cl *ipoibnl.Client) (any, error) {
	var m ipoibnl.Manager
	if err := cl.Get(ipoibnl.CmdManagerGet, nil, &m); err != nil {
		return nil, err
	}
	if !c.Bool("json") {
		note := ""
		if m.Paused {
			note = ", SA silent"
		}
		fmt.Fprintf(e.out, "subnet manager: %s%s, LID %s, GUID %v, priority %d\n", m.State, note, lid(m.LID), rdma.GUID(m.GUID), m.Priority)
		fmt.Fprintf(e.out, "sweeps: %d heavy (last took %v), %d light\n", m.Sweeps,
			(time.Duration(m.LastSweepUS) * time.Microsecond).Round(10*time.Microsecond), m.LightSweeps)
	}
	return struct {
		ipoibnl.Manager
		GUID   rdma.GUID `json:"guid"`
		Prefix rdma.GID  `json:"subnet_prefix"`
	}{m, rdma.GUID(m.GUID), rdma.MakeGID(m.Prefix, 0)}, nil
}

// portJSON and nodeJSON are the JSON forms: GUIDs and P_Keys as text.
type portJSON struct {
	ipoibnl.FabricPort
	GUID      *rdma.GUID `json:"guid,omitempty"`
	StateName string     `json:"state_name"`
	PKeys     []string   `json:"pkeys,omitempty"`
}

type nodeJSON struct {
	GUID  rdma.GUID  `json:"guid"`
	Type  string     `json:"type"`
	Desc  string     `json:"desc"`
	Ports []portJSON `json:"ports"`
}

func pkeyList(b []byte) []string {
	var out []string
	for ; len(b) >= 2; b = b[2:] {
		out = append(out, rdma.PKey(binary.BigEndian.Uint16(b)).String())
	}
	return out
}

func showNodes(c *cli.Context, e env, cl *ipoibnl.Client) (any, error) {
	nodes, err := ipoibnl.Dump[ipoibnl.Node](cl, ipoibnl.CmdNodeGet, nil)
	if err != nil {
		return nil, err
	}
	t := newTable(e.out, "NODE", "TYPE", "PORT", "GUID", "LID", "STATE", "RATE", "MTU", "PKEYS", "PEER")
	var out []nodeJSON
	for _, n := range nodes {
		j := nodeJSON{GUID: rdma.GUID(n.GUID), Type: mad.NodeType(n.Type).String(), Desc: n.Desc}
		for _, p := range n.Ports {
			pj := portJSON{FabricPort: p, StateName: rdma.PortState(p.State).String(), PKeys: pkeyList(p.PKeys)}
			guid := "-"
			if p.GUID != 0 {
				g := rdma.GUID(p.GUID)
				pj.GUID, guid = &g, g.String()
			}
			j.Ports = append(j.Ports, pj)
			peer := "-"
			if p.PeerNode != "" {
				peer = fmt.Sprintf("%s/%d", p.PeerNode, p.PeerPort)
			}
			t.row(n.Desc, j.Type, p.Num, guid, lid(p.LID), pj.StateName, p.Rate, p.MTU, strings.Join(pj.PKeys, ","), peer)
		}
		out = append(out, j)
	}
	if c.Bool("json") {
		return out, nil
	}
	return out, t.flush()
}

func showPartitions(c *cli.Context, e env, cl *ipoibnl.Client) (any, error) {
	parts, err := ipoibnl.Dump[ipoibnl.Partition](cl, ipoibnl.CmdPartitionGet, nil)
	if err != nil {
		return nil, err
	}
	type memberJSON struct {
		ipoibnl.PartitionMember
		GUID rdma.GUID `json:"guid"`
	}
	type partitionJSON struct {
		PKey    string       `json:"pkey"`
		Name    string       `json:"name"`
		IPoIB   bool         `json:"ipoib"`
		Members []memberJSON `json:"members"`
	}
	t := newTable(e.out, "PKEY", "PARTITION", "IPOIB", "MEMBER", "PORT", "MEMBERSHIP")
	var out []partitionJSON
	for _, p := range parts {
		j := partitionJSON{PKey: rdma.PKey(p.PKey).String(), Name: p.Name, IPoIB: p.IPoIB}
		for _, m := range p.Members {
			j.Members = append(j.Members, memberJSON{m, rdma.GUID(m.GUID)})
			t.row(j.PKey, p.Name, yes(p.IPoIB), m.Node, m.Port, m.Membership)
		}
		if len(p.Members) == 0 {
			t.row(j.PKey, p.Name, yes(p.IPoIB), "", "", "")
		}
		out = append(out, j)
	}
	if c.Bool("json") {
		return out, nil
	}
	return out, t.flush()
}

// joinStates prints the bits of a JoinState.
func joinStates(v uint8) string {
	var out []string
	for _, s := range []struct {
		bit  mad.JoinState
		name string
	}{
		{mad.JoinFullMember, "full"}, {mad.JoinNonMember, "non-member"},
		{mad.JoinSendOnlyNonMember, "send-only"}, {mad.JoinSendOnlyFullMember, "send-only-full"},
	} {
		if mad.JoinState(v)&s.bit != 0 {
			out = append(out, s.name)
		}
	}
	return strings.Join(out, "+")
}

func showGroups(c *cli.Context, e env, cl *ipoibnl.Client) (any, error) {
	groups, err := ipoibnl.Dump[ipoibnl.FabricGroup](cl, ipoibnl.CmdFabricGroupGet, nil)
	if err != nil {
		return nil, err
	}
	type memberJSON struct {
		ipoibnl.GroupMember
		GID rdma.GID `json:"gid"`
	}
	type groupJSON struct {
		MGID rdma.GID `json:"mgid"`
		PKey string   `json:"pkey"`
		ipoibnl.FabricGroup
		Members []memberJSON `json:"members"`
	}
	t := newTable(e.out, "MGID", "MLID", "PKEY", "QKEY", "MTU", "RATE", "MEMBERS")
	out := []groupJSON{}
	for _, g := range groups {
		j := groupJSON{MGID: rdma.GID(g.MGID), PKey: rdma.PKey(g.PKey).String(), FabricGroup: g, Members: []memberJSON{}}
		var names []string
		for _, m := range g.Members {
			j.Members = append(j.Members, memberJSON{m, rdma.GID(m.GID)})
			name := m.Node
			if name == "" {
				name = rdma.GID(m.GID).String()
			}
			names = append(names, fmt.Sprintf("%s(%s)", name, joinStates(m.JoinState)))
		}
		t.row(j.MGID, lid(g.MLID), j.PKey, rdma.QKey(g.QKey), g.MTU, gbps(g.RateMbps), strings.Join(names, " "))
		out = append(out, j)
	}
	if c.Bool("json") {
		return out, nil
	}
	return out, t.flush()
}

func showHCAs(c *cli.Context, e env, cl *ipoibnl.Client) (any, error) {
	hcas, err := ipoibnl.Dump[ipoibnl.HCA](cl, ipoibnl.CmdHCAGet, nil)
	if err != nil {
		return nil, err
	}
	type hcaJSON struct {
		ipoibnl.HCA
		NodeGUID rdma.GUID `json:"node_guid"`
	}
	t := newTable(e.out, "HCA", "NODE GUID", "PORTS", "LINK", "MTU", "PROFILE", "NETNS", "INTERFACES")
	out := []hcaJSON{}
	for _, h := range hcas {
		out = append(out, hcaJSON{h, rdma.GUID(h.NodeGUID)})
		t.row(h.Name, rdma.GUID(h.NodeGUID), h.Ports, h.Width+" "+h.Speed, h.MTU, h.Profile, h.NetNS, strings.Join(h.Ifnames, ","))
	}
	if c.Bool("json") {
		return out, nil
	}
	return out, t.flush()
}

// doFault sends a fault request.
func doFault(c *cli.Context, f ipoibnl.Fault) error {
	cl, err := dial(c)
	if err != nil {
		return err
	}
	defer func() { _ = cl.Close() }()
	return cl.Do(ipoibnl.CmdFault, f)
}

// ppm turns a percentage into parts per million.
func ppm(c *cli.Context, name string) (uint32, error) {
	v := c.Float64(name)
	if v < 0 || v > 100 {
		return 0, fmt.Errorf("--%s %s is not a percentage", name, strconv.FormatFloat(v, 'g', -1, 64))
	}
	return uint32(v * 1e4), nil
}

// at sets the port that a fault is about: a fabric port, or an interface.
func at(f *ipoibnl.Fault, port string) {
	if strings.Contains(port, "/") {
		f.Port = port
	} else {
		f.Ifname = port
	}
}

func linkFaultCommand() *cli.Command {
	percent := func(name, usage string) cli.Flag {
		return &cli.Float64Flag{Name: name, Usage: usage + ", in percent"}
	}
	return &cli.Command{
		Name: "link", Usage: "pull, plug or disturb the link of a port",
		ArgsUsage: "PORT up|down|set    (PORT: an interface, soft0/1 or switch0/1)",
		Flags: []cli.Flag{
			percent("loss", "packets lost"), percent("duplicate", "packets delivered twice"),
			percent("corrupt", "packets with a flipped bit"), percent("reorder", "packets overtaken by later ones"),
			&cli.DurationFlag{Name: "delay", Usage: "delay of every packet"},
			&cli.UintFlag{Name: "rate", Usage: "data rate in Mb/s, 0 is unlimited"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 2 {
				return fmt.Errorf("Usage: ipoib fabric link [options] PORT up|down|set")
			}
			f := ipoibnl.Fault{
				What: "link", Action: c.Args().Get(1),
				DelayUS: uint32(c.Duration("delay").Microseconds()), RateMbps: uint32(c.Uint("rate")),
			}
			at(&f, c.Args().First())
			for name, dst := range map[string]*uint32{
				"loss": &f.LossPPM, "duplicate": &f.DuplicatePPM, "corrupt": &f.CorruptPPM, "reorder": &f.ReorderPPM,
			} {
				v, err := ppm(c, name)
				if err != nil {
					return err
				}
				*dst = v
			}
			return doFault(c, f)
		},
	}
}

func smFaultCommand() *cli.Command {
	const usage = "pause|resume|restart|sweep|reload|lid PORT LID"
	return &cli.Command{
		Name:  "sm",
		Usage: "keep the SA silent, restart the subnet manager, let it sweep, read the partition file again or give a port another LID",
		// The words of the usage are what completion offers.
		ArgsUsage: usage,
		Action: func(c *cli.Context) error {
			f := ipoibnl.Fault{What: "sm", Action: c.Args().First()}
			want := 1
			if f.Action == "lid" {
				want = 3
			}
			if c.NArg() != want {
				return fmt.Errorf("Usage: ipoib fabric sm %s", usage)
			}
			if want == 3 {
				n, err := strconv.ParseUint(c.Args().Get(2), 0, 16)
				if err != nil {
					return fmt.Errorf("%q is not a LID", c.Args().Get(2))
				}
				at(&f, c.Args().Get(1))
				f.LID = uint16(n)
			}
			return doFault(c, f)
		},
	}
}
