// Package hrclock is a real clock whose short timers are exact to a few
// microseconds. The timers of Go's runtime wait in epoll_wait(2), which counts
// milliseconds, on an idle machine: too coarse for interrupt moderation and
// for the delays of links.
package hrclock
