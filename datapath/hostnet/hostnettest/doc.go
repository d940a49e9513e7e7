// Package hostnettest has the host's network stack in memory: namespaces,
// links, addresses, routes and group memberships that tests change the way an
// administrator would, and TUN devices (package tuntest) as links in them. It
// needs no privilege, and may be used in a testing/synctest bubble.
//
// It follows Linux where the datapath can tell: a link that goes down loses
// its IPv6 addresses, a link that moves is down and has no addresses, each
// link that is up is member of the all-hosts groups, and so on.
package hostnettest
