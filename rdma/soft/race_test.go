//go:build race

package soft

// raceFactor shortens the long streams under the race detector, which has to
// see every path but not every message.
const raceFactor = 10
