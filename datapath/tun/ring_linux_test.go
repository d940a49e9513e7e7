package tun

import (
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"ipoib/datapath/encap"
	"ipoib/datapath/internal/netns/netnstest"
	"ipoib/rdma"
)

// pollers are the ways of a Poller, with one thread.
func pollers(t *testing.T, test func(t *testing.T, p *Poller)) {
	t.Helper()
	netnstest.RequireRoot(t)
	t.Run("ring", func(t *testing.T) { test(t, ringPoller(t, 1)) })
	t.Run("epoll", func(t *testing.T) { test(t, newPoller(t, PollerConfig{Threads: 1, NoRing: true})) })
}

// start has a poller read a device and hand over the data of UDP packets.
func start(t *testing.T, p *Poller, d *device, batch int, fn func(data []byte)) {
	t.Helper()
	err := p.Start(d, batch, func(pkts []Packet) {
		for _, pkt := range pkts {
			ip, err := encap.ParseIP(pkt.Buf.Bytes()[encap.HeaderLen:])
			if err != nil {
				t.Error(err)
			} else if ip.Proto == encap.ProtoUDP {
				fn(pkt.Buf.Bytes()[encap.HeaderLen+28:])
			}
			pkt.Buf.Free()
		}
	}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
}

func receive[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(time.Minute):
		t.Fatal("nothing for a minute")
	}
	return v
}

// Packets that waited, many more than there are buffers, come in their order
// and whole, whatever their sizes.
func TestIntegrationPollerOrder(t *testing.T) {
	pollers(t, func(t *testing.T, p *Poller) {
		ns, d := upDevice(t, Config{TxQueueLen: 1000}, "65520")
		c := dialUDP(t, ns)
		const packets = 400
		size := func(n int) int { return 4 + [...]int{0, 100, 4070, 60000, 65000, 1, 4000}[n%7] }
		sent, got := make(chan bool), make(chan int, packets)
		first := true
		start(t, p, d, 64, func(data []byte) {
			if first {
				first = false
				<-sent
			}
			n := int(binary.BigEndian.Uint32(data))
			if len(data) != size(n) {
				t.Errorf("packet %d: %d octets, want %d", n, len(data), size(n))
			}
			for _, b := range data[4:] {
				if b != byte(n) {
					t.Errorf("packet %d has data of another", n)
					break
				}
			}
			got <- n
		})
		b := make([]byte, 65507)
		for n := range packets {
			b := b[:size(n)]
			for i := range b {
				b[i] = byte(n)
			}
			binary.BigEndian.PutUint32(b, uint32(n))
			if _, err := c.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		close(sent)
		for n := range packets {
			if v := receive(t, got); v != n {
				t.Fatalf("packet %d, want %d", v, n)
			}
		}
	})
}

// A device that always has something to read does not keep others from being
// read.
func TestIntegrationPollerShare(t *testing.T) {
	pollers(t, func(t *testing.T, p *Poller) {
		busy, b := upDevice(t, Config{TxQueueLen: 1000}, "2044")
		quiet, q := upDevice(t, Config{}, "2044")
		end, flooded := make(chan bool), make(chan bool, 1)
		start(t, p, b, 64, func([]byte) {
			select {
			case flooded <- true:
			default:
			}
		})
		got := make(chan byte, 1)
		start(t, p, q, 64, func(data []byte) { got <- data[0] })
		c := dialUDP(t, busy)
		done := make(chan bool)
		go func() {
			defer close(done)
			for data := make([]byte, 1000); ; {
				select {
				case <-end:
					return
				default:
					_, _ = c.Write(data)
				}
			}
		}()
		receive(t, flooded)
		s := dialUDP(t, quiet)
		for n := range byte(50) {
			if _, err := s.Write([]byte{n}); err != nil {
				t.Fatal(err)
			}
			if v := receive(t, got); v != n {
				t.Errorf("read %d, want %d", v, n)
			}
		}
		close(end)
		<-done
	})
}

// An interface is gone when Close returns: nobody holds its descriptor. Who
// handles packets may close it, and it is closed after the poller.
func TestIntegrationPollerClose(t *testing.T) {
	pollers(t, func(t *testing.T, p *Poller) {
		gone := func(ns *netnstest.NS) bool {
			return ns.Command(t.Context(), "ip", "link", "show", "ib0").Run() != nil
		}
		for n := range 8 {
			ns, d := upDevice(t, Config{}, "2044")
			got := make(chan bool, 1)
			start(t, p, d, 8, func([]byte) {
				if n%2 == 1 {
					if err := d.Close(); err != nil {
						t.Error(err)
					}
				}
				got <- true
			})
			if _, err := dialUDP(t, ns).Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			receive(t, got)
			if n == 6 {
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if n%2 == 0 && !gone(ns) {
				t.Error("the interface is there after Close")
			}
			for end := time.Now().Add(time.Minute); !gone(ns); {
				if time.Now().After(end) {
					t.Fatal("the interface stays")
				}
			}
			if n == 6 {
				return
			}
		}
	})
}

// Nothing is allocated for a packet.
func TestIntegrationPollerAllocs(t *testing.T) {
	pollers(t, func(t *testing.T, p *Poller) {
		for _, size := range []int{100, 60000} {
			t.Run(fmt.Sprint(size), func(t *testing.T) {
				ns, d := upDevice(t, Config{}, "65520")
				got := make(chan bool, 1)
				start(t, p, d, 64, func([]byte) { got <- true })
				c, data := dialUDP(t, ns), make([]byte, size)
				exchange := func(c *net.UDPConn) {
					for range 500 {
						if _, err := c.Write(data); err != nil {
							t.Fatal(err)
						}
						<-got
					}
				}
				exchange(c) // fills pools
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				exchange(c)
				runtime.ReadMemStats(&after)
				// What else runs allocates now and then.
				if n := after.Mallocs - before.Mallocs; n > 100 {
					t.Errorf("%d allocations for 500 packets", n)
				}
			})
		}
	})
}

// Buffers that are not given back are replaced.
func TestIntegrationPollerKept(t *testing.T) {
	pollers(t, func(t *testing.T, p *Poller) {
		ns, d := upDevice(t, Config{TxQueueLen: 1000}, "65520")
		const packets = 5 * ringBuffers
		kept := make(chan *rdma.Buffer, 2*packets)
		err := p.Start(d, 64, func(pkts []Packet) {
			for _, pkt := range pkts {
				if pkt.Buf.Len() > 60000 {
					kept <- pkt.Buf
				} else {
					pkt.Buf.Free()
				}
			}
		}, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		c, data := dialUDP(t, ns), make([]byte, 65000)
		var all []*rdma.Buffer
		for n := range packets {
			data[0] = byte(n)
			if _, err := c.Write(data); err != nil {
				t.Fatal(err)
			}
			all = append(all, receive(t, kept))
		}
		for n, b := range all {
			if v := b.Bytes()[encap.HeaderLen+28]; v != byte(n) {
				t.Errorf("packet %d was overwritten with %d", n, v)
			}
			b.Free()
		}
	})
}
