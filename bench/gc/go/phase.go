// What the workloads share: chance, stalls, pauses, and the line they print (as bench.c does).
package main

import (
	"encoding/json"
	"math"
	"math/bits"
	"os"
	"runtime/metrics"
	"syscall"
	"time"
)

const subBits = 4

// histogram has sixteen buckets an octave.
type histogram struct {
	count [61 << subBits]uint64
	max   uint64
}

func (h *histogram) add(value uint64) {
	shift := 0
	if value >= 1<<subBits {
		shift = 63 - subBits - bits.LeadingZeros64(value)
	}
	h.count[shift<<subBits+int(value>>shift)]++
	if value > h.max {
		h.max = value
	}
}

func (h *histogram) list() [][2]uint64 {
	found := [][2]uint64{}
	for i, n := range h.count {
		if n == 0 {
			continue
		}
		shift := 0
		if i >= 2<<subBits {
			shift = i>>subBits - 1
		}
		upper := uint64(i-shift<<subBits)<<shift + 1<<shift - 1
		if upper > h.max {
			upper = h.max
		}
		found = append(found, [2]uint64{upper, n})
	}
	return found
}

type chance struct{ state uint64 }

func (c *chance) next() uint64 {
	c.state ^= c.state >> 12
	c.state ^= c.state << 25
	c.state ^= c.state >> 27
	return c.state * 0x2545F4914F6CDD1D
}

func (c *chance) below(bound uint32) uint32 {
	return uint32(c.next() >> 32 * uint64(bound) >> 32)
}

// phase is the measured part of a run.
type phase struct {
	start, begin, last time.Time
	stalls             histogram
	cpu                float64
	pauses             []uint64
}

func newPhase() *phase { return &phase{start: time.Now()} }

func cpuSeconds() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

func readPauses() *metrics.Float64Histogram {
	sample := []metrics.Sample{{Name: "/gc/pauses:seconds"}}
	metrics.Read(sample)
	return sample[0].Value.Float64Histogram()
}

func (p *phase) starts() {
	p.pauses = append([]uint64{}, readPauses().Counts...)
	p.cpu = cpuSeconds()
	p.begin = time.Now()
	p.last = p.begin
}

func (p *phase) tick() {
	now := time.Now()
	p.stalls.add(uint64(now.Sub(p.last)))
	p.last = now
}

func (p *phase) elapsed() float64 { return p.last.Sub(p.begin).Seconds() }

// stop ends the phase, and gives what prints it: what is checked in between is not timed.
func (p *phase) stop() func(workload string, ops, live uint64, intact bool) {
	seconds, cpu := time.Since(p.begin).Seconds(), cpuSeconds()-p.cpu
	found, pauses := readPauses(), [][2]uint64{}
	for i, n := range found.Counts {
		upper := found.Buckets[i+1]
		if math.IsInf(upper, 1) {
			upper = found.Buckets[i]
		}
		if n -= p.pauses[i]; n > 0 {
			pauses = append(pauses, [2]uint64{uint64(math.Max(0, upper) * 1e9), n})
		}
	}
	return func(workload string, ops, live uint64, intact bool) {
		_ = json.NewEncoder(os.Stdout).Encode(map[string]interface{}{
			"workload": workload, "ops": ops, "seconds": seconds, "ops_per_s": float64(ops) / seconds,
			"begin_s": p.begin.Sub(p.start).Seconds(), "cpu_s": cpu, "live_bytes": live, "intact": intact,
			"stall_max_ns": p.stalls.max, "stall_ns": p.stalls.list(), "pause_ns": pauses})
	}
}
