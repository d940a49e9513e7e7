package main

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"ipoib/datapath/encap"
	"ipoib/rdma"
)

func pkeyCommand(e env) *cli.Command {
	return &cli.Command{
		Name: "pkey", Usage: "explain partition keys",
		Subcommands: []*cli.Command{{
			Name: "explain", Usage: "tell what a partition key means: membership, names, groups",
			ArgsUsage: "VALUE",
			Description: "VALUE is a P_Key as the tools take it: 0x8001 is hexadecimal, 32769 decimal, 0100001\n" +
				"octal. A name such as ib0.8001 stands for its P_Key, in hexadecimal, and its parent.",
			Flags: []cli.Flag{
				jsonFlag(),
				&cli.StringFlag{Name: "parent", Usage: "parent `IFNAME` of the names", Value: "ib0"},
			},
			Action: func(c *cli.Context) error {
				if c.NArg() != 1 {
					return fmt.Errorf("Usage: ipoib pkey explain [ -j ] [ --parent IFNAME ] VALUE")
				}
				x, err := explainPKey(c.Args().First(), c.String("parent"))
				if err != nil {
					return err
				}
				if c.Bool("json") {
					return printJSON(e.out, x)
				}
				return x.print(e.out)
			},
		}},
	}
}

// pkeyText is what `pkey explain` says of a P_Key.
type pkeyText struct {
	PKey rdma.PKey `json:"-"`
	Text string    `json:"pkey"`
	// Partition is the number without the membership bit.
	Partition  string `json:"partition"`
	Membership string `json:"membership"`
	// Interface is the P_Key of an interface that is made with it.
	Interface string      `json:"interface_pkey"`
	Notes     []string    `json:"notes,omitempty"`
	Names     []pkeyName  `json:"names"`
	Broadcast string      `json:"broadcast"`
	Groups    []pkeyGroup `json:"groups"`
}

// pkeyName is the name that a tool gives a child.
type pkeyName struct {
	Tool string `json:"tool"`
	How  string `json:"how"`
	Name string `json:"name"`
}

// pkeyGroup is a group that such an interface joins.
type pkeyGroup struct {
	MGID  string `json:"mgid"`
	Group string `json:"group"`
	Why   string `json:"why"`
}

// parsePKey reads a P_Key as iproute2 does, with the base by prefix, or as the
// end of a name such as ib0.8001.
func parsePKey(word, parent string) (rdma.PKey, string, error) {
	if i := strings.LastIndexByte(word, '.'); i > 0 {
		if v, err := strconv.ParseUint(word[i+1:], 16, 16); err == nil && len(word)-i-1 == 4 {
			return rdma.PKey(v), word[:i], nil
		}
	}
	v, err := strconv.ParseUint(word, 0, 64)
	if err != nil || strings.ContainsRune(word, '_') {
		return 0, "", fmt.Errorf("%q is not a P_Key, such as 0x8001", word)
	}
	if v > 0xffff {
		return 0, "", fmt.Errorf("%s is above 0xffff: a P_Key has 16 bits", word)
	}
	return rdma.PKey(v), parent, nil
}

// explainPKey explains the P_Key that a user wrote.
func explainPKey(word, parent string) (*pkeyText, error) {
	p, parent, err := parsePKey(word, parent)
	if err != nil {
		return nil, err
	}
	if !p.IsValid() {
		return nil, fmt.Errorf("P_Key %s is in no partition: number 0 matches nothing, and every tool refuses it (Invalid argument)", p)
	}
	x := &pkeyText{
		PKey: p, Text: p.String(), Partition: p.Base().String(), Membership: "full", Interface: p.Full().String(),
		Names: pkeyNames(p, parent), Broadcast: encap.BroadcastAddr(encap.ScopeLinkLocal, p).String(),
		Groups: pkeyGroups(p),
	}
	if !p.IsFull() {
		x.Membership = "limited"
		x.Notes = append(x.Notes, fmt.Sprintf("An interface sets the membership bit: its pkey is %s, whatever the name says.", p.Full()))
	}
	if p.Full() == rdma.PKeyDefault {
		x.Notes = append(x.Notes, fmt.Sprintf("This is the default partition, as a rule %s's own: create_child refuses it (Name not unique on network), ip link add does not.", parent))
	}
	if hex, ok := looksHex(word); ok {
		x.Notes = append(x.Notes, fmt.Sprintf("%s was read as a decimal number, as all tools do. Hexadecimal is 0x%s.", word, hex))
	}
	return x, nil
}

// looksHex reports whether a decimal number was perhaps meant as hexadecimal:
// it has the four digits that tools print a P_Key with.
func looksHex(word string) (string, bool) {
	if len(word) != 4 || word[0] == '0' {
		return "", false
	}
	for _, c := range []byte(word) {
		if c < '0' || c > '9' {
			return "", false
		}
	}
	return word, true
}

// pkeyNames lists the names of a child by tool. The kernel keeps ten
// characters of the parent's name and writes the P_Key as it was given, the
// others write it with the membership bit set.
func pkeyNames(p rdma.PKey, parent string) []pkeyName {
	name := func(parent string, p rdma.PKey) string { return fmt.Sprintf("%s.%04x", parent, uint16(p)) }
	short := parent[:min(len(parent), 10)]
	return []pkeyName{
		{"ipoib", "ipoib link add " + name(parent, p.Full()), name(parent, p.Full())},
		{"iproute2", fmt.Sprintf("ip link add link %s name NAME type ipoib pkey %s", parent, p), "NAME; ipoib0, ipoib1 ... without one"},
		{"sysfs", fmt.Sprintf("echo %s > /sys/class/net/%s/create_child", p, parent), name(short, p)},
		{"NetworkManager", fmt.Sprintf("infiniband.parent %s infiniband.p-key %s", parent, p), name(parent, p)},
		{"network-scripts", fmt.Sprintf("PHYSDEV=%s PKEY=yes PKEY_ID=%s", parent, p), name(parent, p.Full())},
		{"systemd-networkd", fmt.Sprintf("[NetDev] Name=NAME Kind=ipoib, [IPoIB] PartitionKey=%s", p), "NAME"},
		{"OpenSM", fmt.Sprintf("partitions.conf: NAME=%s, ipoib : GUID=%s;", p.Base(), map[bool]string{true: "full", false: "limited"}[p.IsFull()]), "the port's P_Key table has " + p.String()},
	}
}

// pkeyGroups lists the groups that an interface joins when it comes up, before
// any program asks for more.
func pkeyGroups(p rdma.PKey) []pkeyGroup {
	bcast := encap.BroadcastMGID(encap.ScopeLinkLocal, p)
	out := []pkeyGroup{{bcast.String(), "broadcast", "always and first: carrier waits for it; ARP, IPv4 broadcast"}}
	for _, g := range []struct{ group, why string }{
		{"224.0.0.1", "all hosts, with IPv4"},
		{"ff02::1", "all nodes, with IPv6"},
	} {
		if mgid, ok := encap.MGIDOf(bcast, netip.MustParseAddr(g.group)); ok {
			out = append(out, pkeyGroup{mgid.String(), g.group, g.why})
		}
	}
	// The last three octets are those of the address.
	if mgid, ok := encap.MGIDOf(bcast, netip.MustParseAddr("ff02::1:ff00:1111")); ok {
		text := strings.TrimSuffix(mgid.String(), "ff00:1111") + "ffXX:XXXX"
		out = append(out, pkeyGroup{text, "ff02::1:ffXX:XXXX", "solicited-node group of each IPv6 address"})
	}
	return out
}

// print prints the explanation.
func (x *pkeyText) print(w io.Writer) error {
	other := x.PKey ^ rdma.PKeyFullMember
	reach := "A full member reaches all members; a limited one (%s) only full members.\n"
	if x.Membership == "limited" {
		reach = "A limited member reaches only full members (%s), not other limited ones.\n"
	}
	fmt.Fprintf(w, "P_Key %s (%d): %s member of partition %s.\n", x.PKey, uint16(x.PKey), x.Membership, x.Partition)
	fmt.Fprintf(w, reach, other)
	for _, n := range x.Notes {
		fmt.Fprintln(w, n)
	}
	fmt.Fprintln(w)
	t := newTable(w, "TOOL", "NAME", "HOW")
	for _, n := range x.Names {
		t.row(n.Tool, n.Name, n.How)
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nbroadcast address %s\n\n", x.Broadcast)
	t = newTable(w, "MGID", "GROUP", "JOINED")
	for _, g := range x.Groups {
		t.row(g.MGID, g.Group, g.Why)
	}
	return t.flush()
}
