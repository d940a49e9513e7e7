// Package wire looks into netlink datagrams on their way between a program and
// the kernel: which interface a request is about, and what in the kernel's
// answers has to say what the service knows of it. It does no input or output,
// and takes any bytes.
package wire
