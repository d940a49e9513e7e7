package datapath

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

// Warnings of one place are limited to warnBurst in warnInterval, as the
// driver's are (printk_ratelimit with the defaults that ipoib_warn uses).
const (
	warnBurst    = 100
	warnInterval = 10 * time.Second
)

// limiter limits warnings by their format, which names the place.
type limiter struct {
	clock clockwork.Clock

	mu    sync.Mutex
	sites map[string]*site // guarded by mu
}

type site struct {
	since  time.Time
	count  int
	missed int
}

// allow reports whether one more warning may be logged, and how many were
// suppressed since the last one that was.
func (l *limiter) allow(format string) (ok bool, missed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	s := l.sites[format]
	if s == nil {
		s = &site{since: now}
		l.sites[format] = s
	}
	if now.Sub(s.since) >= warnInterval {
		s.since, s.count = now, 0
	}
	if s.count >= warnBurst {
		s.missed++
		return false, 0
	}
	s.count++
	missed, s.missed = s.missed, 0
	return true, missed
}

// Log levels of the driver's debug messages: they have switches of their own,
// so they are just below slog.LevelInfo, and a logger that shows that shows
// them as well.
const (
	LevelDebug = slog.LevelInfo - 1
	LevelMcast = slog.LevelInfo - 2
	LevelData  = slog.LevelInfo - 3
)

// warnf logs a message of the driver at warning level.
func (i *Interface) warnf(format string, args ...any) {
	ok, missed := i.drv.limit.allow(format)
	if !ok {
		return
	}
	l := i.log()
	if missed > 0 {
		l.Warn(fmt.Sprintf("%d callbacks suppressed", missed))
	}
	l.Warn(fmt.Sprintf(format, args...))
}

// debugf logs a message that debug_level enables.
func (i *Interface) debugf(format string, args ...any) {
	if i.drv.Debug.Debug.Load() > 0 {
		i.log().Log(context.Background(), LevelDebug, fmt.Sprintf(format, args...))
	}
}

// mcastf logs a message that mcast_debug_level enables.
func (i *Interface) mcastf(format string, args ...any) {
	if i.drv.Debug.Mcast.Load() > 0 {
		i.log().Log(context.Background(), LevelMcast, fmt.Sprintf(format, args...))
	}
}

// dataf logs a message that data_debug_level enables. The packet path asks
// dataOn first, so that arguments are not even made.
func (i *Interface) dataf(format string, args ...any) {
	i.log().Log(context.Background(), LevelData, fmt.Sprintf(format, args...))
}

func (i *Interface) dataOn() bool { return i.drv.Debug.Data.Load() > 0 }

// cmDataOn is dataOn for packets of connections (cm_data_debug_level).
func (i *Interface) cmDataOn() bool { return i.drv.Debug.CMData.Load() > 0 }

// log returns the logger with the interface's present name.
func (i *Interface) log() *slog.Logger { return i.drv.sys.Log.With("ifname", i.Name()) }
