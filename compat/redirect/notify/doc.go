// Package notify is the supervisor's end of seccomp user notification
// (seccomp_unotify(2)): it receives system calls of other processes, which
// wait until they are answered.
package notify
