// Package lro merges received TCP segments and UDP datagrams of a flow into
// large ones before they are written to the host: large receive offload, by
// the rules of the kernel's generic receive offload (net/core/gro.c,
// tcp_gro_receive, udp_gro_receive_segment).
//
// A Merger works on one batch of packets at a time and holds nothing back.
// What it merges can be cut again into the packets that came, so that nothing
// is lost by it:
//
//   - a packet joins the one before it of its flow when the IP headers agree
//     but for length, checksum and a counting identification, the TCP headers
//     but for sequence number, checksum, PSH and FIN, and the options are the
//     same, octet for octet (so that timestamps are);
//   - all parts but the last have one size;
//   - PSH, FIN and a smaller part end a merge; SYN, RST, URG, CWR and an empty
//     segment are never merged;
//   - nothing is merged whose checksum is wrong or, for UDP, missing.
//
// Two things differ from the kernel. A TCP flow whose datagrams all have the
// same identification is not merged, because a virtio-net header cannot say
// so. And what cannot be classified (fragments, IPv4 options, IPv6 extension
// headers, contradictory lengths) ends all merges, so that no later packet
// overtakes it; the kernel lets such packets pass.
//
// Packets of one flow keep their order. A merged packet is where its first part
// was, in front of what other flows had in between, as with the kernel.
package lro
