/* Publication of the arena's bounds: Arena::Grow, TakeFrom, Publish, Contains (core/heap/arena), SideTables::MapPart,
 * MapDirectory, EnsureChunk, SetSpan, SpanAt (core/heap/side_tables).
 *
 * Law: whatever page an observer looks up, at whatever moment, it touches nothing that is not readable for it, what
 * lies directly below `used` and directly at `lo` has memory, bits and cards, and a block that it has been told of is
 * found. The arena grows within its reservation, above and below it, and between, where the bounds admit already, in
 * any order, with foreign chunks around.
 *
 * Memory: a store is pending until it becomes visible, in any order, but a release store is made only when all
 * stores before it are visible (those after it may overtake it). Mapping is a store, too: it says "readable". Loads
 * are in program order: each look-up's depend on the ones before, or are acquires.
 *
 * Pages, two to a chunk: 0 foreign, 1 below | 2 3 foreign | 4 5 the reservation | 6 between, 7 foreign |
 * 8 foreign, 9 above.
 *
 * Broken: EARLY publishes before anything is mapped, with FIRST in the first growth, else in the later ones.
 * CARDS_AFTER maps cards behind the bound. RELAXED_USED, RELAXED_LO, RELAXED_CHUNK, RELAXED_SPAN: that bound, the
 * directory's entry, the page's is stored without release. GAP: the directory is readable for the new chunk only, not
 * for what lies between. CACHED: observers keep the bounds. BOUND_ONLY: a barrier takes the card of whatever is within
 * the bounds and in a chunk of ours, without asking whose page it is.
 * ONLY_MORE, ONLY_BELOW, ONLY_ABOVE: that growth alone after the first.
 */
#define PAGES 10
#define NONE 0
#define PENDING 1
#define SEEN 2

/* For each chunk: its piece of the directory is readable, the entry names it, its spans are readable. */
byte directory[5], entry[5], spans[5];
/* For each page: its memory, bits, cards are readable; its span is entered; its block is handed out. */
byte memory[PAGES], bits[PAGES], cards[PAGES], span[PAGES], told[PAGES];
byte lo = PAGES, used = 0;        /* as observers see them */
byte next_lo = PAGES, next_used = 0; /* as the grower stored them */
byte pending = 0;
byte have_lo = 0, have_hi = 0;    /* the directory's readable chunks, for the grower */

inline Relaxed(x) { atomic { if :: x == NONE -> x = PENDING; pending++ :: else fi } }
inline Release(x) { pending == 0; Relaxed(x) }

#define BECOMES_SEEN(x) :: x == PENDING -> x = SEEN; pending--
#define PAGE_SEEN(p) \
  BECOMES_SEEN(memory[p]) BECOMES_SEEN(bits[p]) BECOMES_SEEN(cards[p]) BECOMES_SEEN(span[p]) BECOMES_SEEN(told[p])
#define CHUNK_SEEN(c) BECOMES_SEEN(directory[c]) BECOMES_SEEN(entry[c]) BECOMES_SEEN(spans[c])

active proctype Buffer() {
end:
  do
  :: atomic { pending > 0 ->
       if
       CHUNK_SEEN(0) CHUNK_SEEN(1) CHUNK_SEEN(2) CHUNK_SEEN(3) CHUNK_SEEN(4)
       PAGE_SEEN(1) PAGE_SEEN(4) PAGE_SEEN(5) PAGE_SEEN(6) PAGE_SEEN(9)
       :: lo != next_lo -> lo = next_lo; pending--
       :: used != next_used -> used = next_used; pending--
       fi }
  od
}

inline MapDirectory(c) {
  if
  :: have_hi == 0 -> Relaxed(directory[c]); have_lo = c; have_hi = c + 1
  :: have_hi != 0 && c < have_lo ->
#ifndef GAP
     do :: have_lo > c + 1 -> have_lo--; Relaxed(directory[have_lo]) :: else -> break od;
#endif
     have_lo = c; Relaxed(directory[c])
  :: have_hi != 0 && c >= have_hi ->
#ifndef GAP
     do :: have_hi < c -> Relaxed(directory[have_hi]); have_hi++ :: else -> break od;
#endif
     have_hi = c + 1; Relaxed(directory[c])
  :: else
  fi
}

inline MapChunk(c) {
  MapDirectory(c);
  if
  :: entry[c] == NONE ->
     Relaxed(spans[c]);
#ifdef RELAXED_CHUNK
     Relaxed(entry[c])
#else
     Release(entry[c])
#endif
  :: else
  fi
}

inline Publish(l, h) {
  if
  :: l < next_lo ->
#ifndef RELAXED_LO
     pending == 0;
#endif
     lo == next_lo; atomic { next_lo = l; pending++ }
  :: else
  fi;
  if
  :: h > next_used ->
#ifndef RELAXED_USED
     pending == 0;
#endif
     used == next_used; atomic { next_used = h; pending++ }
  :: else
  fi
}

/* The steps of TakeFrom for one page; then the page heap enters a span and hands out its block. */
inline Grow(p) {
#ifdef EARLY
#ifdef FIRST
  Publish(p, p + 1);
#else
  if :: p != 4 -> Publish(p, p + 1) :: else fi;
#endif
#endif
  Relaxed(memory[p]);
  MapChunk(p / 2);
  Relaxed(bits[p]);
#ifdef CARDS_AFTER
  Publish(p, p + 1);
#endif
  Relaxed(cards[p]);
  Publish(p, p + 1);
#ifdef RELAXED_SPAN
  Relaxed(span[p]);
#else
  Release(span[p]);
#endif
  Release(told[p])
}

active proctype Grower() {
  bool more = false, below = false, above = false, between = false;
  Grow(4);
  do
#if !defined(ONLY_BELOW) && !defined(ONLY_ABOVE)
  :: !more -> more = true; Grow(5)
#endif
#if !defined(ONLY_MORE) && !defined(ONLY_ABOVE)
  :: !below -> below = true; Grow(1)
#endif
#if !defined(ONLY_MORE) && !defined(ONLY_BELOW)
  :: !above -> above = true; Grow(9)
#endif
#if !defined(ONLY_MORE) && !defined(ONLY_BELOW) && !defined(ONLY_ABOVE)
  :: above && !between -> between = true; Grow(6)
#endif
  :: break
  od
}

#define READABLE(p) (memory[p] == SEEN && bits[p] == SEEN && cards[p] == SEEN)

active proctype Observer() {
  byte word, u, l;
  bool known;
end:
  do
  :: select(word : 0 .. 9);
     known = told[word] == SEEN; /* by an acquire: read in a block or a register of the program */
#ifdef CACHED
     if :: u == 0 -> u = used; l = lo :: else fi;
#else
     u = used;
     l = lo;
#endif
     if
     :: word >= u || word < l -> assert(!known)
     :: else ->
        assert(directory[word / 2] == SEEN);
        if
        :: entry[word / 2] != SEEN -> assert(!known)
        :: else ->
           assert(spans[word / 2] == SEEN);
#ifdef BOUND_ONLY
           assert(cards[word] == SEEN);
#endif
           if
           :: span[word] == SEEN -> assert(READABLE(word))
           :: else -> assert(!known)
           fi
        fi
     fi;
     known = false; word = 0;
#ifndef CACHED
     u = 0; l = 0
#endif
  :: atomic { used != 0 -> u = used } assert(READABLE(u - 1)); u = 0
  :: atomic { lo != PAGES -> l = lo } assert(READABLE(l)); l = 0
  od
}
