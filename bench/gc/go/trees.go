// trees: binary trees, the same work as trees.c.
package main

import "flag"

const leastDepth = 4

type tree struct{ left, right *tree }

var (
	run     = newPhase()
	lasting *tree
	ticks   int
)

func grow(depth uint) *tree {
	t := &tree{}
	if depth > 0 {
		t.left = grow(depth - 1)
		t.right = grow(depth - 1)
	}
	if ticks++; ticks%64 == 0 {
		run.tick()
	}
	return t
}

func (t *tree) count() uint64 {
	if t.left == nil {
		return 1
	}
	return 1 + t.left.count() + t.right.count()
}

func nodesOf(depth uint) uint64 { return 2<<depth - 1 }

func main() {
	deepest := flag.Uint("depth", 18, "")
	flag.Parse()
	run.starts()
	nodes, expected := grow(*deepest+1).count(), nodesOf(*deepest+1)
	lasting = grow(*deepest)
	for d := uint(leastDepth); d <= *deepest; d += 2 {
		times := uint64(1) << (*deepest - d + leastDepth)
		for i := uint64(0); i < times; i++ {
			nodes += grow(d).count()
		}
		expected += times * nodesOf(d)
	}
	nodes += lasting.count()
	expected += nodesOf(*deepest)
	run.stop()("trees", expected, nodesOf(*deepest+1)*16, nodes == expected)
}
