package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A measurement during which other programs took more than this part of the
// machine is repeated, up to maxRepeats times and roundRepeats in a round, so
// that a machine that never rests bounds the time; the least disturbed counts.
const (
	disturbedShare = 0.1
	maxRepeats     = 2
	roundRepeats   = 12
)

// parseBusy reads the time that the CPUs worked for processes or were taken
// away by a hypervisor from /proc/stat, without interrupts.
func parseBusy(stat string) (time.Duration, error) {
	line, _, _ := strings.Cut(stat, "\n")
	// cpu user nice system idle iowait irq softirq steal ...
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, errors.New("/proc/stat: no line of all CPUs")
	}
	var sum int64
	for _, v := range []string{f[1], f[2], f[3], f[8]} {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		sum += n
	}
	return time.Duration(sum) * (time.Second / userHZ), nil
}

// usage is how far CPU times have come.
type usage struct {
	at        time.Time
	busy, own time.Duration
}

// usage reads the machine's CPU time and that of this program with its
// children and the target's services.
func (t *target) usage() (usage, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return usage{}, err
	}
	u := usage{at: time.Now()}
	if u.busy, err = parseBusy(string(text)); err != nil {
		return u, err
	}
	if u.own, err = t.cpu(); err != nil {
		return u, err
	}
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var ru syscall.Rusage
		if err := syscall.Getrusage(who, &ru); err != nil {
			return u, fmt.Errorf("getrusage: %w", err)
		}
		u.own += time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	return u, nil
}

// others is the part of the machine, 0 to 1, that other programs took since
// an earlier reading.
func (u usage) others(since usage, cpus int) float64 {
	spent := (u.busy - since.busy) - (u.own - since.own)
	all := u.at.Sub(since.at) * time.Duration(cpus)
	if all <= 0 {
		return 0
	}
	return min(max(spent.Seconds()/all.Seconds(), 0), 1)
}

// calm runs an experiment and tells what part of the machine others took
// meanwhile. Repeats are taken from what is left of them.
func (b *bench) calm(ctx context.Context, e experiment, t *target, left *int) (values map[string]float64, others float64, err error) {
	for i := range 1 + maxRepeats {
		before, err := t.usage()
		if err != nil {
			return nil, 0, err
		}
		v, err := e.run(ctx, b, t)
		if err != nil {
			return nil, 0, err
		}
		after, err := t.usage()
		if err != nil {
			return nil, 0, err
		}
		o := after.others(before, runtime.NumCPU())
		if i == 0 || o < others {
			values, others = v, o
		}
		if len(values) == 0 || others <= disturbedShare || !e.repeat || *left == 0 {
			break
		}
		*left--
	}
	return values, others, nil
}
