// Package fusefs serves trees of small text files by FUSE with the manners of
// the kernel's sysfs: a read from the start shows the present value, a write is
// one value of at most a page wherever it is placed, modes bind root as well,
// and poll(2) tells of a change.
//
// A tree is made of Dir, File and Link; what they hold is asked of functions at
// the time of the access, so nothing is ever stale. The package knows nothing
// of what the files mean.
//
// Requests are decoded by go-fuse. Two things are done here: mounting, which
// needs no helper program, and FUSE_POLL, which go-fuse does not pass on.
package fusefs
