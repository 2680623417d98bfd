/* Re-arming cards against a concurrent writer: the rounds of a marking cycle over the kernel's dirty tracking
 * (platform/dirty_pages.h: Arm, Fetch with and without rearm).
 *
 * Law: at the end every object that the program reaches, from the root object or its registers, is marked, wherever
 * the only reference to it was moved meanwhile.
 *
 * Objects with one slot each: ROOT on page 0; OLD and YOUNG on page 1; FRESH on page 2, new memory: it is allocated
 * during the cycle, marked. What was marked before the tracking began says nothing about what it refers to now.
 * A write to an armed page faults: the page becomes written, and the write is tried again. A page that was never
 * armed counts as written.
 * The collector arms all pages and scans the marked objects in order of addresses. In each of any number of rounds it
 * fetches and re-arms page by page and scans again the marked objects of those that were written, or leaves such a
 * page un-armed. Then it stops the writer, fetches once more, scans the registers and what is still to be scanned.
 *
 * Broken: SWAPPED fetches, scans again and re-arms then. SPLIT asks whether a page was written, and re-arms it then.
 * ARM_LATE arms after the linear pass. NO_FINAL: the last fetch is left out. NO_REGISTERS: they are not scanned.
 * UNTRACKED: new memory counts as clean. BLIND: rounds scan again only what was marked at first.
 */
#define ROOT 0
#define OLD 1
#define YOUNG 2
#define FRESH 3
#define OBJECTS 4
#define NULL 4
#define PAGES 3
#define PAGE(o) ((o + 1) / 2)
#define BIT(o) (1 << o)

#define ARMED 0
#define WRITTEN 1 /* or never armed */
#define UNKNOWN 2

byte slot[OBJECTS] = NULL;
byte reg[2] = NULL;
byte page[PAGES] = WRITTEN;
byte marked = 1, first = 0, grey = 0; /* sets of objects; grey: marked and still to be scanned */
bool fresh = false, stopped = false;

/* A write that faults is over with that here: it is tried again when the writer next chooses it, if ever. */
#define TO(o, v) if :: page[PAGE(o)] == ARMED -> page[PAGE(o)] = WRITTEN :: else -> slot[o] = v fi

#define LOAD(a, b)                                                  \
  :: atomic { !stopped -> reg[a] = slot[ROOT] }                     \
  :: atomic { !stopped && reg[b] != NULL -> reg[a] = slot[reg[b]] } \
  :: atomic { !stopped -> reg[a] = NULL }
#define STORE(a, b)                                              \
  :: atomic { !stopped -> TO(ROOT, reg[a]) }                     \
  :: atomic { !stopped && reg[a] != NULL -> TO(reg[a], reg[b]) }

active proctype Writer() {
end:
  do
  LOAD(0, 1)
  LOAD(1, 0)
  STORE(0, 1)
  STORE(1, 0)
  :: atomic { !stopped && !fresh -> fresh = true; marked = marked | BIT(FRESH); reg[0] = FRESH }
  od
}

/* Only the collector looks at marks while it runs: to mark is one step with the load. */
inline Show(v) {
  if
  :: v != NULL && (marked & BIT(v)) == 0 -> marked = marked | BIT(v); grey = grey | BIT(v)
  :: else
  fi
}
inline Drain() {
  do
  :: atomic { grey != 0 ->
       o = 0;
       do :: (grey & BIT(o)) == 0 -> o++ :: else -> break od;
       grey = grey & ~BIT(o);
       Show(slot[o]);
       o = 0 }
  :: grey == 0 -> break
  od
}
#ifdef BLIND
#define AGAIN(o) (marked & first & BIT(o))
#else
#define AGAIN(o) (marked & BIT(o))
#endif
inline ScanPage(p) {
  do
  :: atomic {
       do :: o < OBJECTS && !(PAGE(o) == p && AGAIN(o)) -> o++ :: else -> break od;
       if
       :: o < OBJECTS -> Show(slot[o]); o++
       :: else -> o = 0; break
       fi }
  od
}
inline ArmAll() { page[0] = ARMED; page[1] = ARMED }

inline Round() {
  p = 0;
  do
  :: p < PAGES ->
     if
#ifdef SWAPPED
     :: page[p] == WRITTEN -> ScanPage(p); page[p] = ARMED
#elif defined(SPLIT)
     :: was = page[p]; page[p] = ARMED; if :: was == WRITTEN -> ScanPage(p) :: else fi
#else
     :: atomic { page[p] == WRITTEN -> page[p] = ARMED }; ScanPage(p)
     :: page[p] == WRITTEN -> skip /* left for the end */
#endif
#ifndef SPLIT
     :: else
#endif
     fi;
     p++
  :: else -> break
  od;
  Drain()
}

inline Reached() {
  d_step {
    o = BIT(ROOT);
    if :: reg[0] != NULL -> o = o | BIT(reg[0]) :: else fi;
    if :: reg[1] != NULL -> o = o | BIT(reg[1]) :: else fi;
    i = 0;
    do
    :: i < OBJECTS ->
       p = 0;
       do
       :: p < OBJECTS && (o & BIT(p)) && slot[p] != NULL -> o = o | BIT(slot[p]); p++
       :: p < OBJECTS && !((o & BIT(p)) && slot[p] != NULL) -> p++
       :: p == OBJECTS -> break
       od;
       i++
    :: else -> break
    od;
    assert((o & ~marked) == 0)
  }
}

active proctype Collector() {
  byte o, p, i;
#ifdef SPLIT
  byte was;
#endif
  atomic {
    slot[ROOT] = OLD; slot[OLD] = YOUNG;
#ifdef UNTRACKED
    page[PAGE(FRESH)] = UNKNOWN;
#endif
    if :: marked = marked | BIT(OLD) :: skip fi;
    first = marked
  };
#ifndef ARM_LATE
  ArmAll();
#endif
  p = 0;
  do :: p < PAGES -> ScanPage(p); p++ :: else -> break od;
#ifdef ARM_LATE
  ArmAll();
#endif
  Drain();
  do
  :: Round() /* any number of rounds */
  :: break
  od;
  stopped = true;
  p = 0;
  do
  :: p < PAGES ->
#ifndef NO_FINAL
     if :: page[p] == WRITTEN -> ScanPage(p) :: else fi;
#endif
     p++
  :: else -> break
  od;
#ifndef NO_REGISTERS
  Show(reg[0]);
  Show(reg[1]);
#endif
  Drain();
  Reached()
}
