// graph: a large linked heap in which random nodes are replaced, the same work as graph.c; forest.h
// has the reasons. Go has no prefetch: the loads of a batch overlap as far as the processor sees.
package main

import "flag"

const (
	fanout    = 6
	levels    = 5
	batch     = 16
	treeNodes = 1 + 6 + 36 + 216 + 1296
	stamped   = 2
)

type node struct {
	child     [fanout]*node
	id, stamp uint64
}

type position struct {
	tree, level uint32
	digit       [levels - 1]uint8
}

var (
	run   = newPhase()
	roots []*node
	seen  uint64
)

func shuffled(i, count uint64, half uint) uint64 {
	mask := uint64(1)<<half - 1
	for {
		left, right := i>>half, i&mask
		for round := uint64(1); round <= 4; round++ {
			mixed := (right + round*0x9E3779B97F4A7C15) * 0xD6E8FEB86659FD93
			left, right = right, left^(mixed>>32&mask)
		}
		if i = left<<half | right; i < count {
			return i
		}
	}
}

func find(at *[batch]position, slot *[batch]**node) {
	for j := range at {
		slot[j] = &roots[at[j].tree]
	}
	for step := uint32(0); step+1 < levels; step++ {
		for j := range at {
			if step < at[j].level {
				slot[j] = &(*slot[j]).child[at[j].digit[step]]
			}
		}
	}
}

func build(bytes uint64) {
	trees := bytes / 64 / treeNodes
	if trees < batch {
		trees = batch
	}
	roots = make([]*node, trees)
	firstID, count := uint64(0), trees
	for level := uint32(0); level < levels; level++ {
		half := uint(1)
		for uint64(1)<<(2*half) < count {
			half++
		}
		for i := uint64(0); i < count; i += batch {
			var at [batch]position
			var slot [batch]**node
			var index [batch]uint64
			for j := range at {
				if i+uint64(j) < count {
					index[j] = shuffled(i+uint64(j), count, half)
				} else {
					index[j] = shuffled(0, count, half)
				}
				rest := index[j]
				at[j].level = level
				for d := int(level) - 1; d >= 0; d-- {
					at[j].digit[d] = uint8(rest % fanout)
					rest /= fanout
				}
				at[j].tree = uint32(rest)
			}
			find(&at, &slot)
			for j := 0; j < batch && i+uint64(j) < count; j++ {
				*slot[j] = &node{id: firstID + index[j]}
			}
		}
		firstID += count
		count *= fanout
	}
}

func draw(at *[batch]position, c *chance) {
	for j := range at {
		r := c.next()
		low, high := len(roots)*j/batch, len(roots)*(j+1)/batch
		at[j].tree = uint32(low) + c.below(uint32(high-low))
		n := r >> 40 * treeNodes >> 24
		switch {
		case j%2 == 1:
			at[j].level = at[j-1].level
		case n < 1296:
			at[j].level = 4
		case n < 1512:
			at[j].level = 3
		case n < 1548:
			at[j].level = 2
		case n < 1554:
			at[j].level = 1
		default:
			at[j].level = 0
		}
		for i := range at[j].digit {
			at[j].digit[i] = uint8(r >> (8 * i) & 255 * fanout >> 8)
		}
	}
}

func replace(c *chance) {
	var at [batch]position
	var slot [batch]**node
	var old [batch]*node
	draw(&at, c)
	find(&at, &slot)
	for j := range at {
		old[j] = *slot[j]
	}
	for j := range at {
		fresh := &node{}
		*fresh = *old[j]
		fresh.stamp++
		*slot[j^1] = fresh
	}
	stamp(&at)
}

// stamp writes two neighbours of each position; Go's pointers know no arithmetic, so it walks again,
// through nodes that the caches have.
func stamp(at *[batch]position) {
	var slot [batch]**node
	for i := uint8(1); i <= stamped; i++ {
		for j := range at {
			if l := at[j].level; l > 0 {
				at[j].digit[l-1] = (at[j].digit[l-1] + 1) % fanout
			}
		}
		find(at, &slot)
		for j := range at {
			if at[j].level > 0 {
				(*slot[j]).stamp++
			}
		}
	}
}

func look(c *chance) {
	var at [batch]position
	var slot [batch]**node
	draw(&at, c)
	find(&at, &slot)
	for j := range at {
		seen += (*slot[j]).id
	}
}

func (n *node) visit(level int, count, sum *uint64) {
	*count++
	*sum += n.id
	if level+1 < levels {
		for _, child := range n.child {
			child.visit(level+1, count, sum)
		}
	}
}

func main() {
	size := flag.Float64("size", 1024, "")
	seconds := flag.Float64("seconds", 5, "")
	lookups := flag.Int("lookups", 0, "")
	flag.Parse()
	c := chance{88172645463325252}
	build(uint64(*size * 1048576))
	replaced := uint64(0)
	run.starts()
	for run.elapsed() < *seconds {
		replace(&c)
		replaced += batch
		run.tick()
		for i := 0; i < *lookups; i++ {
			look(&c)
			run.tick()
		}
	}
	show := run.stop()
	var count, sum uint64
	for _, root := range roots {
		root.visit(0, &count, &sum)
	}
	nodes := uint64(len(roots)) * treeNodes
	show("graph", replaced, nodes*64+uint64(len(roots))*8, count == nodes && sum == nodes*(nodes-1)/2)
}
