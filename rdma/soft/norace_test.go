//go:build !race

package soft

const raceFactor = 1
