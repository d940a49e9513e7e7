// Package redirecttest has what tests of a supervisor's parts need: a service
// that needs no privilege, memory of a program, and calls that nobody makes.
package redirecttest
