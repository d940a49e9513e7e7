// Package umad2sim lets programs of the InfiniBand stack work at the ports of a
// software fabric: OpenSM and the tools of infiniband-diags, unmodified. It is
// the server of the protocol that the library libumad2sim of Debian's
// ibsim-utils speaks, which is loaded in place of libibumad's system calls.
//
// The protocol is of datagrams between abstract unix sockets. A program
// connects (ctl), and is served at the port that SIM_HOST names; its management
// datagrams go through agents of that port, as those of any management
// software do.
package umad2sim
