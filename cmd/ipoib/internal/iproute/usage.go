package iproute

// The texts of help. ipoibUsage is ip's, whitespace included.
const (
	usage = `Usage: ipoib [ OPTIONS ] link { COMMAND | help }
       ipoib [ OPTIONS ] monitor [ link ]
       ipoib [ -force ] -batch FILE
       OPTIONS := { -s[tatistics] | -d[etails] | -h[uman-readable] | -iec |
                    -j[son] | -p[retty] | -o[neline] | -br[ief] | -c[olor] |
                    -t[imestamp] | -ts[hort] | -n[etns] NAME | -N[umeric] |
                    -echo | -V[ersion] | --run-dir DIR }
The other commands are listed by "ipoib help".
`

	linkUsage = `Usage: ipoib link add PARENT.PKEY [ pkey PKEY ] [ ARGS ]
       ipoib link add [ link PARENT ] [ name ] NAME
		    [ txqueuelen PACKETS ]
		    [ address LLADDR ]
		    [ mtu MTU ] [ index IDX ]
		    [ numtxqueues QUEUE_COUNT ]
		    [ numrxqueues QUEUE_COUNT ]
		    [ netns { PID | NAME } ]
		    type ipoib [ ARGS ]

	ipoib link delete { DEVICE | dev DEVICE | group DEVGROUP } [ type ipoib ]

	ipoib link set { DEVICE | dev DEVICE | group DEVGROUP }
			[ { up | down } ]
			[ type ipoib ARGS ]
		[ arp { on | off } ]
		[ dynamic { on | off } ]
		[ multicast { on | off } ]
		[ allmulticast { on | off } ]
		[ promisc { on | off } ]
		[ trailers { on | off } ]
		[ txqueuelen PACKETS ]
		[ name NEWNAME ]
		[ address LLADDR ]
		[ mtu MTU ]
		[ netns { PID | NAME } ]
		[ alias NAME ]
		[ group DEVGROUP ]
		[ master DEVICE ][ vrf NAME ]
		[ nomaster ]
		[ mode { default | dormant } ]
		[ state { up | dormant | ... } ]
		[ addrgenmode { eui64 | none | stable_secret | random } ]
		[ gso_max_size BYTES ] | [ gso_max_segs PACKETS ]
		[ gro_max_size BYTES ]

	ipoib link show [ DEVICE | group GROUP ] [up] [master DEV] [vrf NAME] [type TYPE]
		[nomaster]

	ipoib link property add dev DEVICE [ altname NAME .. ]
	ipoib link property del dev DEVICE [ altname NAME .. ]

	ipoib link help [ ipoib ]

ARGS := [ pkey PKEY ] [ mode { datagram | connected } ] [ umcast { 0 | 1 } ]
`

	ipoibUsage = "Usage: ... ipoib [ pkey PKEY ]\n" +
		"\t\t [ mode {datagram | connected} ]\n" +
		"\t\t [ umcast {0|1} ]\n" +
		"\n" +
		"PKEY  := 0x8001-0xffff\n"

	monitorUsage = `Usage: ipoib monitor [ all | link ] [ file FILENAME ] [ label ] [ all-nsid ]
                  [ dev DEVICE ]
`
)
