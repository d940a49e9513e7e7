// Package offload does in software what a channel adapter does for the
// stateless offloads of UD messages that carry IP packets: it checks an
// rdma.Offload against its message, cuts large sends, completes and verifies
// checksums.
//
// The software HCA uses it as its engines; the datapath uses it for what an
// adapter does not offer. All offsets count from the first octet of the
// message, which is the 4-octet encapsulation header of RFC 4391.
package offload
