// Package tracee reads and writes what belongs to a thread whose system call
// waits for an answer: its memory, its descriptors, its privileges, its
// network namespace and its pending signals.
//
// A thread is named by number, and numbers are used again. Open proves by the
// notification that the number is still that thread's; what Open opened stays
// with it whatever happens to the number.
package tracee
