package iproute

import "ipoib/cmd/internal/bashcomp"

// globalOptions are the options in front of link and monitor, in the short
// forms that people type.
var globalOptions = []string{
	"-d", "-s", "-j", "-p", "-o", "-br", "-c", "-t", "-ts", "-h", "-iec", "-N", "-echo", "-force", "-V",
}

// onOff are the values of a switch.
var onOff = []string{"on", "off"}

// linkWords are the words of `link add` and `link set` that take a value, with
// the candidates for it.
var linkWords = []struct {
	word   string
	values []string
	// add and set say which of the two the usage has it for.
	add, set bool
}{
	{"link", []string{bashcomp.Interfaces}, true, false},
	{"name", nil, true, true},
	{"txqueuelen", nil, true, true},
	{"address", nil, true, true},
	{"mtu", nil, true, true},
	{"index", nil, true, false},
	{"numtxqueues", nil, true, false},
	{"numrxqueues", nil, true, false},
	{"netns", []string{bashcomp.Namespaces}, true, true},
	{"alias", nil, true, true},
	{"group", nil, true, true},
	{"arp", onOff, false, true},
	{"dynamic", onOff, false, true},
	{"multicast", onOff, false, true},
	{"allmulticast", onOff, false, true},
	{"promisc", onOff, false, true},
	{"trailers", onOff, false, true},
	{"master", nil, false, true},
	{"vrf", nil, false, true},
	{"state", []string{"up", "down", "dormant", "unknown"}, false, true},
	{"addrgenmode", []string{"eui64", "none", "stable_secret", "random"}, true, true},
	{"gso_max_size", nil, false, true},
	{"gso_max_segs", nil, false, true},
	{"gro_max_size", nil, false, true},
}

// AddGrammar adds the words of link and monitor below the root of g, whose
// nodes /link and /monitor exist.
func AddGrammar(g *bashcomp.Grammar) {
	root := g.Nodes[bashcomp.Root]
	root.Words = append(root.Words, globalOptions...)
	root.Value("-n", bashcomp.Namespaces)
	root.Values["-netns"] = []string{bashcomp.Namespaces}
	root.Value("-batch", bashcomp.Files)
	root.Values["-b"] = []string{bashcomp.Files}
	root.Values["-f"], root.Values["-family"] = []string{"inet", "inet6", "link"}, []string{"inet", "inet6", "link"}

	link := g.Nodes["/link"]
	add := g.Add("/link/add", "up", "down")
	set := g.Add("/link/set/", "up", "down", "nomaster")
	link.Then("add", "/link/add")
	for _, word := range []string{"set", "change"} {
		link.Then(word, "/link/set")
	}
	first := g.Add("/link/set", bashcomp.Interfaces)
	first.Value("dev", bashcomp.Interfaces)
	first.Value("group")
	first.Next["dev"], first.Next["group"], first.Other = "/link/set/", "/link/set/", "/link/set/"
	for _, w := range linkWords {
		if w.add {
			add.Value(w.word, w.values...)
		}
		if w.set {
			set.Value(w.word, w.values...)
		}
	}
	set.Value("mode", "default", "dormant")
	// In the short form the words of the kind follow without a type.
	for _, n := range []*bashcomp.Node{add, set} {
		n.Value("type", "ipoib")
		n.Next["type"] = "/link/ipoib"
	}
	kind := g.Add("/link/ipoib")
	for _, n := range []*bashcomp.Node{kind, add} {
		n.Value("pkey")
		n.Value("mode", "datagram", "connected")
		n.Value("umcast", "0", "1")
	}
	link.Then("delete", "/link/delete")
	link.Next["del"] = "/link/delete"
	del := g.Add("/link/delete", bashcomp.Interfaces)
	del.Value("dev", bashcomp.Interfaces)
	del.Value("group")
	del.Value("type", "ipoib")
	for _, word := range []string{"show", "list"} {
		link.Then(word, "/link/show")
	}
	show := g.Add("/link/show", bashcomp.Interfaces, "up", "nomaster")
	show.Value("dev", bashcomp.Interfaces)
	show.Value("type", "ipoib")
	for _, word := range []string{"group", "master", "vrf"} {
		show.Value(word)
	}
	link.Then("property", "/link/property")
	prop := g.Add("/link/property", "add", "del")
	prop.Next["add"], prop.Next["del"] = "/link/property/", "/link/property/"
	names := g.Add("/link/property/", bashcomp.Interfaces)
	names.Value("dev", bashcomp.Interfaces)
	names.Value("altname")
	link.Then("help", "/link/help")
	g.Add("/link/help", "ipoib")

	monitor := g.Nodes["/monitor"]
	monitor.Words = append(monitor.Words, "link", "all", "label", "all-nsid", "help")
	monitor.Value("file", bashcomp.Files)
	monitor.Value("dev", bashcomp.Interfaces)
}
