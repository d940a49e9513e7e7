// Package tuntest has a tun.Device in memory, with the host's side of it in
// the hands of the test: what it sends is what Read returns, and what Write
// takes is what it receives. It blocks on channels only, so that it may be
// used in a testing/synctest bubble.
package tuntest
